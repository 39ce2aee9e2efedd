"""Romeo and Juliet on different nodes, and Juliet's client that changes nodes."""

from mongoosetw.c2s.session import Session
from mongoosetw.testing.client import Client
from mongoosetw.testing.cluster import ClusterTestCase
from mongoosetw.xmpp import ns
from mongoosetw.xmpp.jid import JID

STEP = 0.02
JULIET = "juliet@localhost/balcony"
RESUME = f"<resume xmlns='{ns.SM}' previd='{{}}' h='{{}}'/>"
REQUEST = f"<r xmlns='{ns.SM}'/>"


class MovesTestCase(ClusterTestCase):
    """Romeo on node a, and Juliet on b, whose client can resume; they see each other."""

    nodes = ("a", "b", "c")
    modules = {
        "mod_roster": {},
        "mod_presence": {},
        "mod_offline": {},
        "mod_carboncopy": {},
        "mod_csi": {},
        "mod_privacy": {},
        "mod_stream_management": {"stale_h": {"enabled": True}},
    }

    def setUp(self) -> None:
        """Logs both in."""
        super().setUp()
        self.romeo = self.connect("romeo@localhost/orchard", "a")
        self.juliet = self.connect(JULIET, "b")
        self.befriend(self.romeo, self.juliet)
        self.juliet.enable_sm()
        for client in (self.romeo, self.juliet):
            client.send("<presence><priority>5</priority></presence>")
        self.run_for(0.1)
        self.forget(self.romeo, self.juliet)

    def configuration(self) -> str:
        """As usual; TOML writes an inner table another way."""
        return super().configuration().replace('{"enabled": true}', "{enabled = true}")

    def befriend(self, one: Client, other: Client) -> None:
        """Each is subscribed to the other."""
        for asks, agrees in ((one, other), (other, one)):
            asks.send(f"<presence type='subscribe' to='{agrees.jid.bare}'/>")
            self.run_for(0.1)
            agrees.send(f"<presence type='subscribed' to='{asks.jid.bare}'/>")
            self.run_for(0.1)

    def forget(self, *clients: Client) -> None:
        """What has arrived so far is of no interest."""
        for client in clients:
            client.pump()
            client.events.clear()

    def say(self, *bodies: str, to: str = JULIET, by: Client | None = None) -> None:
        """Romeo sends messages, all at once."""
        (by or self.romeo).send(
            "".join(f"<message to='{to}' type='chat'><body>{b}</body></message>" for b in bodies)
        )

    def heard(self, client: Client) -> list[str | None]:
        """Takes the bodies of all messages that have arrived."""
        self.run_for(0.2)
        found = [stanza.body for stanza in client.received if stanza.kind == "message"]
        client.events.clear()
        return found

    def session(self, node: str) -> Session | None:
        """Juliet's session, if it is on a node."""
        found = self.host(node).sessions.get(JID.parse(JULIET))
        return found if isinstance(found, Session) else None

    def refused(self, node: str, resume_id: str, h: int = 0, jid: str = JULIET) -> bytes:
        """The answer to a client that cannot resume."""
        client = self.connect(jid, node, bind=False)
        client.send(RESUME.format(resume_id, h))
        self.run_for(0.2)
        return client.take_nonza("failed").xml

    def waiting(self) -> int:
        """How many messages wait for Juliet in the log."""
        self.run_for(3)
        log = next(iter(self.servers.values())).message_log
        assert log is not None
        return self.await_(log.pending_count(JID.parse("juliet@localhost"), 1000))


class SlowMovesTestCase(MovesTestCase):
    """Juliet's session moves from b to c, which takes several messages of 50 ms each."""

    latency = (0.05, 0.05)
    peer_timeout = 2.0

    def setUp(self) -> None:
        """Some messages are on their way."""
        super().setUp()
        self.run_for(1)
        self.said: list[str | None] = []
        self.go_on_saying(2)
        self.run_for(0.5)
        self.forget(self.romeo, self.juliet)

    def go_on_saying(self, number: int) -> None:
        """Romeo says some more."""
        for _ in range(number):
            body = str(len(self.said))
            self.said.append(body)
            self.say(body)

    def begin(self, h: int = 0) -> Client:
        """Juliet's client comes to c."""
        self.juliet.lose()
        client = self.connect(JULIET, "c", bind=False)
        client.resume_id = self.juliet.resume_id
        client.send(RESUME.format(self.juliet.resume_id, h))
        return client

    def talk_for(self, steps: int) -> None:
        """Time passes, and Romeo talks."""
        for _ in range(steps):
            self.go_on_saying(1)
            self.run_for(STEP)

    def come_back(self, resume_id: str, nodes: str) -> Client:
        """Juliet's client resumes where it can, or begins anew."""
        for node in nodes:
            client = self.connect(JULIET, node, bind=False)
            client.send(RESUME.format(resume_id, 0))
            self.run_for(20)
            client.pump()
            if any(nonza.name[1] == "resumed" for nonza in client.nonzas):
                return client
        client.bind()
        client.enable_sm()
        client.send("<presence/>")
        self.run_for(1)
        return client

    def check_heard(self, client: Client) -> None:
        """All that Romeo has said has arrived, each once or with the same id."""
        self.run_for(10)
        bodies: list[str | None] = []
        ids: dict[str | None, str | None] = {}
        for stanza in client.received:
            if stanza.kind == "message":
                element = stanza.child(ns.STANZA_ID, "stanza-id")
                assert element is not None
                self.assertEqual(ids.setdefault(stanza.body, element["id"]), element["id"])
                bodies.append(stanza.body)
        self.assertEqual(sorted(ids, key=str), sorted(self.said, key=str))
        client.ack()
        self.assertEqual(self.waiting(), 0)

    def check_presence(self) -> None:
        """Romeo sees Juliet now; if he saw her leave, then once, and back."""
        self.run_for(1)
        types = [s.type for s in self.romeo.received if s.kind == "presence"]
        self.assertLessEqual(types.count("unavailable"), 1)
        self.assertIn(types, ([], ["unavailable", ""]))

    def check_alone(self) -> None:
        """All nodes agree on one session of hers."""
        places = {self.node_of(name) for name in self.servers}
        self.assertEqual(len(places), 1, places)

    def node_of(self, name: str) -> str:
        """Where a node believes Juliet to be."""
        found = self.host(name).sessions.of(self.juliet.jid.bare)
        self.assertEqual(len(found), 1)
        return name if found[0].local else found[0].node  # type: ignore[attr-defined, no-any-return]
