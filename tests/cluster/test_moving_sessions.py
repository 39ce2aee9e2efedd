"""What comes for a session while it moves to another node."""

from unittest.mock import patch

from mongoosetw.cluster.sessions import moving
from mongoosetw.testing.client import Client
from mongoosetw.xmpp import ns
from tests.cluster.moves import JULIET, RESUME, STEP, SlowMovesTestCase


class ArrivingTests(SlowMovesTestCase):
    """Stanzas of all kinds, sent at every moment of a move."""

    def moved(self, client: Client) -> Client:
        """The client when its session has moved."""
        self.run_for(2)
        client.pump()
        self.assertIn("resumed", [nonza.name[1] for nonza in client.nonzas])
        return client

    def test_presence(self) -> None:
        """Whatever a contact shows meanwhile is seen, in its order."""
        client = self.begin(self.juliet.handled)
        for number in range(20):
            self.romeo.send(f"<presence><status>{number}</status></presence>")
            self.run_for(STEP)
        shown = [
            stanza.child_text(ns.CLIENT, "status")
            for stanza in self.moved(client).received
            if stanza.kind == "presence"
        ]
        self.assertEqual(shown, [str(number) for number in range(20)])

    def test_requests(self) -> None:
        """Requests arrive, and their answers come back."""
        client = self.begin()
        for number in range(20):
            xml = f"<iq type='get' id='{number}' to='{JULIET}'><q xmlns='urn:x'/></iq>"
            self.romeo.send(xml)
            self.run_for(STEP)
        asked = [s.id for s in self.moved(client).received if s.kind == "iq"]
        self.assertEqual(asked, [str(number) for number in range(20)])
        self.romeo.nothing()

    def test_pushes(self) -> None:
        """What is for the session alone arrives: pushes of the roster, and copies."""
        self.juliet.request(f"<iq type='get' id='r'><query xmlns='{ns.ROSTER}'/></iq>")
        self.juliet.send(f"<iq type='set' id='c'><enable xmlns='{ns.CARBONS}'/></iq>")
        tablet = self.connect("juliet@localhost/tablet", "a")
        self.run_for(1)
        self.forget(self.juliet)
        self.juliet.ack()
        client = self.begin(self.juliet.handled)
        for number in range(20):
            item = f"<item jid='x{number}@localhost'/>"
            tablet.send(
                f"<iq type='set' id='{number}'><query xmlns='{ns.ROSTER}'>{item}</query></iq>"
                f"<message to='{self.romeo.jid}' type='chat'><body>{number}</body></message>"
            )
            self.run_for(STEP)
        got = self.moved(client).received
        self.assertEqual(len([s for s in got if s.kind == "iq"]), 20)
        self.assertEqual(len([s for s in got if (ns.CARBONS, "sent") in s.children]), 20)

    def test_from_the_new_node(self) -> None:
        """The order is kept, too, of what somebody on the new node has sent to the old one."""
        nurse = self.connect("nurse@localhost/house", "c")
        for start in range(6):
            body = f"<message to='{JULIET}' type='chat'><body>n{start}</body></message>"
            nurse.send(body)
            self.run_for(STEP)
        client = self.begin()
        for number in range(6, 40):
            body = f"<message to='{JULIET}' type='chat'><body>n{number}</body></message>"
            nurse.send(body)
            self.run_for(STEP)
        heard = [s.body for s in self.moved(client).received if str(s.from_) == str(nurse.jid)]
        self.assertEqual(heard, [f"n{number}" for number in range(40)])

    def test_from_the_old_node(self) -> None:
        """So it is of what somebody on the old one sends."""
        nurse = self.connect("nurse@localhost/house", "b")
        client = self.begin()
        for number in range(30):
            body = f"<message to='{JULIET}' type='chat'><body>n{number}</body></message>"
            nurse.send(body)
            self.run_for(STEP)
        heard = [s.body for s in self.moved(client).received if str(s.from_) == str(nurse.jid)]
        self.assertEqual(heard, [f"n{number}" for number in range(30)])

    def test_acknowledged_when_handled(self) -> None:
        """Who sends something to a session that moves hears that it is handled when it is."""
        nurse = self.connect("nurse@localhost/house", "b")
        nurse.enable_sm()
        client = self.begin()
        self.run_for(4 * STEP)
        body = f"<message to='{JULIET}' type='chat'><body>1</body></message>"
        nurse.send(f"{body}<r xmlns='{ns.SM}'/>")
        self.assertIsNone(nurse.acknowledged())
        self.moved(client)
        self.assertEqual(nurse.acknowledged(), 1)

    def test_closed_meanwhile(self) -> None:
        """A session that is closed by the operator while it moves is closed where it has gone."""
        client = self.begin()
        self.run_for(4 * STEP)
        found = self.host("b").sessions.get(self.juliet.jid)
        assert isinstance(found, moving.MovingSession)
        found.close("policy-violation", "out")
        self.run_for(2)
        self.assertIn(b"<policy-violation", client.output())
        self.assertEqual(self.host("a").sessions.of(self.juliet.jid.bare), ())
        self.romeo.receives(f"<presence type='unavailable' from='{JULIET}'/>")

    def test_too_much(self) -> None:
        """There is a bound to what is kept; what does not fit is refused, or waits in the log."""
        with patch.object(moving, "ROOM", 100):
            client = self.begin()
            self.run_for(4 * STEP)
            for number in range(4):
                self.said.append(f"x{number}")
                self.say(f"x{number}")
                self.run_for(STEP)
        self.moved(client)
        self.run_for(5)
        client.ack()
        self.run_for(5)
        heard = {stanza.body for stanza in client.received if stanza.kind == "message"}
        refused = {s.body for s in self.romeo.received if s.type == "error"}
        self.assertEqual(heard | refused, set(self.said))


class WaitingTests(SlowMovesTestCase):
    """What begins to wait for a user whose only session is just moving."""

    def test_device_lost(self) -> None:
        """What another device was not given comes when the session has moved, however much."""
        bodies = [f"m{number}" for number in range(120)]
        for steps in range(0, 20, 3):
            with self.subTest(steps=steps):
                tablet = self.connect("juliet@localhost/tablet", "c")
                tablet.enable_sm(resume=False)
                tablet.send("<presence><priority>9</priority></presence>")
                self.run_for(1)
                self.say(*bodies, to="juliet@localhost")
                self.run_for(1)
                client = self.begin(self.juliet.handled)
                client.handled = self.juliet.handled
                self.run_for(steps * STEP)
                tablet.lose()
                self.assertEqual(self.all_heard(client), bodies)
                self.go_back(client)

    def all_heard(self, client: Client) -> list[str | None]:
        """What arrives at a client that acknowledges as it goes."""
        heard: list[str | None] = []
        for _ in range(20):
            heard += self.heard(client)
            client.ack()
        return heard

    def go_back(self, client: Client) -> None:
        """The client is on node b again, as in the beginning."""
        client.lose()
        self.juliet = self.connect(JULIET, "b", bind=False)
        self.juliet.handled, self.juliet.resume_id = client.handled, client.resume_id
        self.juliet.send(RESUME.format(client.resume_id, client.handled))
        self.run_for(5)
        self.forget(self.juliet)
