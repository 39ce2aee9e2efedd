"""Sessions that count their stanzas, and sessions that outlive their stream (XEP-0198)."""

from twisted.internet.defer import Deferred

from mongoosetw.c2s.session import Session
from mongoosetw.hooks.bus import STOP, Outcome
from mongoosetw.hooks.c2s import (
    SessionClosed,
    SessionDisconnected,
    UnboundNonza,
    UserSendMessage,
    UserSendNonza,
)
from mongoosetw.testing.client import Client
from mongoosetw.testing.server import ServerTestCase
from mongoosetw.xmpp import ns, sm
from mongoosetw.xmpp.stanza import Stanza


class Counts(sm.StreamLedger):
    """A ledger that counts, and does nothing else."""

    def farewell(self) -> bytes:
        """The last count."""
        return sm.ack(self.tell())


class CountedTests(ServerTestCase):
    """What counts as a stanza, and when it counts as handled."""

    def setUp(self) -> None:
        """A client whose session counts."""
        super().setUp()
        self.romeo = self.connect("romeo@localhost/a")
        session = self.host.sessions.get(self.romeo.jid)
        assert isinstance(session, Session)
        self.session = session
        self.counts = session.ledger = Counts()

    def on(self, hook: type, handler: object) -> None:
        """Registers a handler."""
        self.host.hooks.add(hook, 50, "test", handler)  # type: ignore[arg-type]
        self.host.hooks.publish()

    def test_every_stanza_counts(self) -> None:
        """Refused, bounced and misaddressed ones count, and so do all answers; nonzas do not."""

        def taken(event: UserSendNonza) -> Outcome:
            return STOP

        self.on(UserSendNonza, taken)
        self.romeo.send("<message to='nobody@localhost' id='1'><body>x</body></message>")
        self.romeo.send("<message to='@@' id='2'/>")
        self.romeo.send(f"<iq type='set' id='3'><bind xmlns='{ns.BIND}'/></iq>")
        self.romeo.send("<iq type='get' id='4'/>")
        self.romeo.send(f"<iq type='set' id='5'><session xmlns='{ns.SESSION}'/></iq>")
        self.romeo.send("<foo xmlns='urn:bar'/>")
        self.assertEqual([stanza.id for stanza in self.romeo.received], list("12345"))
        self.assertEqual((self.counts.handled, self.counts.sent), (5, 5))

    def test_waiting_stanza_is_not_handled(self) -> None:
        """A stanza whose handling has to wait counts when that is over."""
        waiting: Deferred[Outcome] = Deferred()

        async def wait(event: UserSendMessage) -> Outcome:
            return await waiting

        self.on(UserSendMessage, wait)
        self.romeo.send("<message to='romeo@localhost/a' id='1'/><message id='2'/>")
        self.assertEqual(self.counts.handled, 0)
        waiting.callback(STOP)
        self.assertEqual(self.counts.handled, 2)

    def test_only_stanzas_to_the_client_count(self) -> None:
        """What a module writes beside stanzas is not counted."""
        self.session.send_bytes(b"<r xmlns='urn:xmpp:sm:3'/>")
        self.romeo.send("<message to='romeo@localhost/a'><body>x</body></message>")
        self.assertEqual(self.counts.sent, 1)

    def test_last_count_before_the_end(self) -> None:
        """A client that closes its stream is told how much was handled (§4)."""
        self.romeo.send("<message to='romeo@localhost/a'/></stream:stream>")
        end = b"<a xmlns='urn:xmpp:sm:3' h='1'/></stream:stream>"
        self.assertTrue(self.romeo.output().endswith(end), self.romeo.output())


class ResumedTests(ServerTestCase):
    """A session that goes from one stream to another."""

    def setUp(self) -> None:
        """Keeps lost sessions, and gives them to the next client that says ``<mine/>``."""
        super().setUp()
        self.closed: list[str] = []

        def kept(event: SessionDisconnected) -> Outcome:
            return STOP

        def closed(event: SessionClosed) -> None:
            self.closed.append(event.reason)

        async def mine(event: UnboundNonza) -> Outcome:
            if event.nonza.name != ("urn:x", "mine"):
                return None
            session = self.host.sessions.of(event.stream.user)[0] if event.stream.user else None
            assert isinstance(session, Session)
            session.detach("conflict", "Replaced by new connection")
            event.stream.bound(session)
            return STOP

        self.host.hooks.add(SessionDisconnected, 50, "test", kept)
        self.host.hooks.add(SessionClosed, 50, "test", closed)
        self.host.hooks.add(UnboundNonza, 50, "test", mine)
        self.host.hooks.publish()
        self.romeo = self.connect("romeo@localhost/a")

    def come_back(self) -> Client:
        """The client on a new connection, in its old session."""
        client = self.connect(str(self.romeo.jid), bind=False)
        client.send("<mine xmlns='urn:x'/>")
        return client

    def test_lost(self) -> None:
        """A session whose connection was lost takes stanzas and goes on with the next one."""
        self.romeo.lose()
        session = self.host.sessions.get(self.romeo.jid)
        assert session is not None
        self.assertFalse(session.connected)
        again = self.come_back()
        again.send("<message to='romeo@localhost/a'><body>x</body></message>")
        again.receives("<message from='romeo@localhost/a'><body>x</body></message>")
        self.assertEqual(self.closed, [])

    def test_taken_over(self) -> None:
        """A session that is taken over ends its old stream with conflict, and lives."""
        again = self.come_back()
        self.assertIn(b"<conflict", self.romeo.output())
        self.romeo.lose()
        self.host.route(Stanza.parse("<message to='romeo@localhost/a' from='localhost'/>"))
        again.receives("<message from='localhost'/>")
        self.assertEqual((self.closed, self.host.sessions.count()), ([], 1))

    def test_closed_without_a_stream(self) -> None:
        """A session without a stream can be ended, by a new one of the same address too."""
        self.romeo.lose()
        self.connect("romeo@localhost/a")
        self.assertEqual((self.closed, self.host.sessions.count()), (["conflict"], 1))

    def test_timeout_is_a_lost_connection(self) -> None:
        """A client that does not answer is not held to have left."""
        session = self.host.sessions.get(self.romeo.jid)
        assert session is not None
        session.close("connection-timeout")
        self.assertEqual((self.closed, self.host.sessions.count()), ([], 1))

    def test_unknown_element_before_binding(self) -> None:
        """An element that nobody takes ends the stream."""
        client = self.connect(str(self.romeo.jid), bind=False)
        client.send("<other xmlns='urn:x'/>")
        self.assertIn(b"<unsupported-stanza-type", client.output())
