"""Stanzas for the sessions of other nodes."""

from mongoosetw.cluster.sessions import repeats
from mongoosetw.cluster.sessions.remote import RemoteSession
from mongoosetw.hooks.bus import STOP, Outcome
from mongoosetw.hooks.cluster import MessageLeaves
from mongoosetw.testing.client import Client
from mongoosetw.testing.cluster import ClusterTestCase
from mongoosetw.xmpp.jid import JID
from mongoosetw.xmpp.stanza import Stanza

HELLO = "<message to='{}' type='chat' id='{}'><body>hello</body></message>"


class RelayTests(ClusterTestCase):
    """Romeo is at node a, Juliet at node b."""

    modules = {"mod_roster": {}, "mod_presence": {}}

    def setUp(self) -> None:
        """Connects them."""
        super().setUp()
        self.romeo = self.connect("romeo@localhost/orchard", "a")
        self.juliet = self.connect("juliet@localhost/balcony", "b")

    def remote(self, client: Client, node: str) -> RemoteSession:
        """A client's session, as a node sees it."""
        session = self.host(node).sessions.get(client.jid)
        assert isinstance(session, RemoteSession)
        return session

    def test_message(self) -> None:
        """A message reaches the full JID, with all that it had; and the answer comes back."""
        self.romeo.send(
            "<message to='juliet@localhost/balcony' type='chat' id='1' xml:lang='en'>"
            "<body>What light &amp; through</body><x xmlns='urn:example'/></message>"
        )
        got = self.juliet.receives(
            "<message from='romeo@localhost/orchard' to='juliet@localhost/balcony' type='chat' "
            "id='1'><body>What light &amp; through</body><x xmlns='urn:example'/></message>"
        )
        self.assertEqual(got.lang, "en")
        self.juliet.send(HELLO.format("romeo@localhost/orchard", 2))
        self.romeo.receives("<message from='juliet@localhost/balcony' id='2'/>")

    def test_iq(self) -> None:
        """Clients of two nodes ask and answer each other."""
        self.romeo.send("<iq to='juliet@localhost/balcony' type='get' id='q'><q xmlns='a:b'/></iq>")
        self.juliet.receives("<iq from='romeo@localhost/orchard' type='get' id='q'/>")
        self.juliet.send("<iq to='romeo@localhost/orchard' type='result' id='q'/>")
        self.romeo.receives("<iq from='juliet@localhost/balcony' type='result' id='q'/>")

    def test_in_order(self) -> None:
        """Messages of one sender arrive in order."""
        for number in range(50):
            self.romeo.send(HELLO.format("juliet@localhost/balcony", number))
        got = [stanza.id for stanza in self.juliet.received]
        self.assertEqual(got, list(map(str, range(50))))

    def test_written(self) -> None:
        """What a module writes to a session reaches the client wherever it is."""
        session = self.remote(self.juliet, "a")
        stanza = Stanza.make("message", to=self.juliet.jid, id="1", inner="<body>1</body>")
        session.write(stanza, stanza.to_bytes())
        session.send_bytes(b"<message id='2'/>")
        session.send(stanza.copy(id="3"))
        self.settle()
        self.assertEqual([stanza.id for stanza in self.juliet.received], ["1", "2", "3"])

    def test_closed(self) -> None:
        """A session is closed from another node, with its condition; no newer one is."""
        session = self.remote(self.juliet, "a")
        again = self.connect("juliet@localhost/balcony", "b")
        session.close("policy-violation")
        self.settle()
        self.assertFalse(again.transport.closed)
        self.remote(again, "a").close("policy-violation", "enough")
        self.settle()
        self.assertIn(b"<policy-violation", again.output())
        self.assertIn(b"enough", again.output())
        self.assertTrue(again.transport.closed)

    def test_flag(self) -> None:
        """A flag is set by the node that has the session, and known to both."""
        session = self.remote(self.juliet, "a")
        session.flag("starred")
        self.settle()
        mine = self.host("b").sessions.get(self.juliet.jid)
        assert mine is not None
        self.assertEqual(("starred" in mine.flags, "starred" in session.flags), (True, True))
        session.flag("starred", False)
        self.settle()
        self.assertNotIn("starred", mine.flags)

    def test_no_way(self) -> None:
        """While a link is full, a message or a request comes back."""
        self.cut("a", "b")
        self.cluster.network.queue_size = 0
        for xml in (
            HELLO.format("juliet@localhost/balcony", 1),
            "<iq to='juliet@localhost/balcony' type='get' id='2'><q xmlns='a:b'/></iq>",
        ):
            self.romeo.send(xml)
            error = self.romeo.take()
            self.assertEqual(error.type, "error")
            self.assertIn(b"<error type='wait'><internal-server-error", error.inner)

    def test_later(self) -> None:
        """While a link is full, presence waits, in order, and so does what is to be done there."""
        session = self.remote(self.juliet, "a")
        self.cluster.network.queue_size = 0
        for number in range(3):
            self.romeo.send(f"<presence to='{self.juliet.jid}' id='{number}'/>")
        session.flag("starred")
        self.run_for(1)
        self.juliet.nothing()
        self.cluster.network.queue_size = 1 << 24
        self.romeo.send(f"<presence to='{self.juliet.jid}' type='unavailable' id='3'/>")
        self.run_for(1)
        self.assertEqual([stanza.id for stanza in self.juliet.received], ["0", "1", "2", "3"])
        self.assertIn("starred", session.flags)
        self.cluster.network.queue_size = 0
        session.close("policy-violation")
        self.run_for(1)
        self.assertFalse(self.juliet.transport.closed)
        self.cluster.network.queue_size = 1 << 24
        self.run_for(2)
        self.assertTrue(self.juliet.transport.closed)

    def test_nobody_asks_again(self) -> None:
        """So does what nobody would know the lack of: answers, and what modules write."""
        session = self.remote(self.juliet, "a")
        self.cluster.network.queue_size = 0
        self.romeo.send(f"<iq to='{self.juliet.jid}' type='result' id='1'/>")
        push = Stanza.make("iq", to=self.juliet.jid, type="set", id="2")
        session.send(push)
        session.write(push.copy(id="3"), b"")
        session.send_bytes(b"<message id='4'/>")
        self.run_for(1)
        self.juliet.nothing()
        self.cluster.network.queue_size = 1 << 24
        session.send(push.copy(id="5"))
        self.run_for(1)
        self.assertEqual([stanza.id for stanza in self.juliet.received], list("12345"))

    def test_lost(self) -> None:
        """A client for which too much has waited has to come back, and sees how things are then;
        nobody else has."""
        self.patch(repeats, "MOST", 2)
        tybalt = self.connect("tybalt@localhost/sword", "b")
        pushes = [Stanza.make("iq", to=self.juliet.jid, type="set", id=n) for n in "123"]
        self.cluster.network.queue_size = 0
        for push in pushes:
            self.remote(self.juliet, "a").send(push)
        self.cluster.network.queue_size = 1 << 24
        self.run_for(1)
        self.assertEqual([stanza.id for stanza in self.juliet.received], ["1", "2"])
        self.assertIn(b"<resource-constraint", self.juliet.output())
        self.assertEqual((self.juliet.transport.closed, tybalt.transport.closed), (True, False))

    def test_too_much_for_later(self) -> None:
        """What waits for a full link has a bound, and goes with the link."""
        self.patch(repeats, "MOST", 2)
        self.cluster.network.queue_size = 0
        for number in range(3):
            self.romeo.send(f"<presence to='{self.juliet.jid}' id='{number}'/>")
        self.cluster.network.queue_size = 1 << 24
        self.run_for(1)
        self.assertEqual([stanza.id for stanza in self.juliet.received], ["0", "1"])
        self.juliet.events.clear()
        self.cluster.network.queue_size = 0
        self.romeo.send(f"<presence to='{self.juliet.jid}' id='4'/>")
        self.cut("a", "b")
        self.run_for(15)
        self.cluster.network.queue_size = 1 << 24
        self.heal()
        self.run_for(15)
        self.assertNotIn("4", [stanza.id for stanza in self.juliet.received])

    def test_paused(self) -> None:
        """Who sends more than a link carries is paused until it has been carried."""
        self.cut("a", "b")
        big = HELLO.format("juliet@localhost/balcony", 1).replace("hello", "x" * 200_000)
        for _ in range(40):
            self.romeo.send(big)
            if self.romeo.transport.paused:
                break
        self.assertTrue(self.romeo.transport.paused)
        self.heal()
        self.run_for(1)
        self.assertFalse(self.romeo.transport.paused)

    def test_hook(self) -> None:
        """A module sees what leaves for another node, and may change or keep it."""
        seen: list[str] = []

        def leaves(event: MessageLeaves) -> Outcome:
            seen.append(str(event.session.jid))
            event.stanza = event.stanza.copy(id="changed")
            return STOP if event.stanza.has("urn:example", "keep") else None

        hooks = self.host("a").hooks
        hooks.add(MessageLeaves, 50, "test", leaves)
        hooks.publish()
        self.romeo.send(HELLO.format("juliet@localhost/balcony", 1))
        self.juliet.receives("<message id='changed'/>")
        keep = "<keep xmlns='urn:example'/>"
        self.romeo.send(f"<message to='juliet@localhost/balcony'>{keep}</message>")
        self.juliet.nothing()
        self.assertEqual(seen, ["juliet@localhost/balcony"] * 2)

    def test_servers_own_request(self) -> None:
        """The answer to a request of the server's comes to the node that has asked."""
        answers: list[Stanza | None] = []
        request = Stanza.make(
            "iq", to=self.juliet.jid, type="get", inner="<ping xmlns='urn:xmpp:ping'/>"
        )
        self.host("a").send_iq(request, 10, answers.append)
        self.settle()
        asked = self.juliet.receives("<iq type='get' from='localhost'/>")
        self.juliet.send(f"<iq type='result' id='{asked.id}' to='localhost'/>")
        assert answers[0] is not None
        self.assertEqual((len(answers), answers[0].from_), (1, self.juliet.jid))

    def test_somebody_elses_answer(self) -> None:
        """Nobody answers for another client, whatever node is asked."""
        answers: list[Stanza | None] = []
        request = Stanza.make("iq", to=self.juliet.jid, type="get", inner="<q xmlns='a:b'/>")
        self.host("a").send_iq(request, 10, answers.append)
        self.settle()
        asked = self.juliet.take()
        for client in (self.romeo, self.connect("mallory@localhost/x", "b")):
            client.send(f"<iq type='result' id='{asked.id}' to='localhost'/>")
            client.send("<iq type='result' id='localhost-99-x' to='localhost'/>")
        self.assertEqual(answers, [])
        self.run_for(10)
        self.assertEqual(answers, [None])


class GoneTests(ClusterTestCase):
    """A stanza is under way to a session that has just ended, or has moved on."""

    nodes = ("a", "b", "c")
    modules = {"mod_roster": {}, "mod_presence": {}}
    latency = (0.01, 0.01)

    def setUp(self) -> None:
        """Romeo is at a, Juliet at b with one and at c with another resource."""
        super().setUp()
        self.romeo = self.connect("romeo@localhost/orchard", "a")
        self.phone = self.connect("juliet@localhost/phone", "b")
        self.laptop = self.connect("juliet@localhost/laptop", "c")

    def appear(self, client: Client, priority: int) -> None:
        """A client becomes available."""
        client.send(f"<presence><priority>{priority}</priority></presence>")
        self.run_for(1)
        for other in (self.phone, self.laptop, self.romeo):
            other.pump()
            other.events.clear()

    def ids(self, client: Client) -> list[str]:
        """The ids of the messages that a client has got."""
        return [stanza.id for stanza in client.received if stanza.kind == "message"]

    def late(self, client: Client, to: str) -> None:
        """A message that is on its way when the client goes."""
        self.romeo.send(HELLO.format(to, 1))
        client.send("</stream:stream>")
        self.run_for(1)

    def test_full_jid(self) -> None:
        """RFC 6121 §8.5.3.2.1: a chat message goes to the other resource."""
        self.appear(self.laptop, 0)
        self.late(self.phone, "juliet@localhost/phone")
        self.assertEqual(self.ids(self.laptop), ["1"])

    def test_full_jid_request(self) -> None:
        """RFC 6121 §8.5.3.2.3: a request comes back."""
        self.romeo.send("<iq to='juliet@localhost/phone' type='get' id='q'><q xmlns='a:b'/></iq>")
        self.phone.send("</stream:stream>")
        self.run_for(1)
        self.assertIn(b"<service-unavailable", self.romeo.take().inner)

    def test_account_with_others(self) -> None:
        """A message for the account that another resource has got is not delivered twice."""
        self.appear(self.phone, 0)
        self.appear(self.laptop, 0)
        self.late(self.phone, "juliet@localhost")
        self.assertEqual(self.ids(self.laptop), ["1"])

    def test_account_with_lesser_ones(self) -> None:
        """One that was for the resource of the highest priority alone goes to the next."""
        self.appear(self.phone, 5)
        self.appear(self.laptop, 0)
        self.late(self.phone, "juliet@localhost")
        self.assertEqual(self.ids(self.laptop), ["1"])

    def test_nobody_left(self) -> None:
        """If nobody is left and nothing is stored it comes back."""
        self.appear(self.phone, 0)
        self.late(self.phone, "juliet@localhost")
        self.assertIn(b"<service-unavailable", self.romeo.take().inner)

    def test_unknown_session(self) -> None:
        """Two nodes that believe of each other that it has a session give up soon."""
        jid = JID.parse("juliet@localhost/ghost")
        for name, other in ("ab", "bc", "ca"):
            host = self.host(name)
            relay = self.servers[name].cluster.relay  # type: ignore[union-attr]
            host.sessions.add(RemoteSession(host, relay, other, 1, jid, 0, frozenset(), False))
        before = self.cluster.network.payloads["stanza"]
        self.romeo.send(HELLO.format(jid, 1))
        self.run_for(20)
        self.assertIn(b"<internal-server-error", self.romeo.take().inner)
        self.assertLess(self.cluster.network.payloads["stanza"] - before, 10)
