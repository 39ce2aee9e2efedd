"""Resources and sessions: binding, its errors, conflicts, and what old clients expect."""

from mongoosetw.testing.client import Connection
from mongoosetw.testing.server import ServerTestCase
from mongoosetw.xmpp import ns
from mongoosetw.xmpp.jid import JID

ROMEO = JID.parse("romeo@localhost")


class BindingTestCase(ServerTestCase):
    """Clients that have logged in and have no resource yet."""

    def logged_in(self) -> Connection:
        """A client before its binding; it has been offered the features."""
        client = self.connect_raw()
        client.open()
        stream = client.protocol.stream
        assert stream is not None
        self.register(str(ROMEO))
        stream.authenticated(ROMEO)
        client.open()
        return client

    def answer(self, client: Connection, sent: str) -> str:
        """What the server says to something."""
        before = len(client.output())
        client.send(sent)
        return client.output()[before:].decode()

    def bind(self, client: Connection, inner: str = "") -> str:
        """The answer to a request to bind."""
        return self.answer(
            client, f"<iq type='set' id='b'><bind xmlns='{ns.BIND}'>{inner}</bind></iq>"
        )


class BindingTests(BindingTestCase):
    """RFC 6120 §7."""

    def test_resource_of_the_client(self) -> None:
        """The client gets the resource that it asks for, prepared."""
        answer = self.bind(self.logged_in(), "<resource>a b</resource>")
        self.assertIn("<jid>romeo@localhost/a b</jid>", answer)

    def test_resource_of_the_server(self) -> None:
        """Who asks for none gets one that nobody can guess, each time another."""
        for inner in ("", "<resource/>", "<resource></resource>"):
            self.assertRegex(
                self.bind(self.logged_in(), inner), "<jid>romeo@localhost/[0-9a-f]{16,}</jid>"
            )
        self.assertEqual(len(self.host.sessions.of(ROMEO)), 3)

    def test_malformed_resource(self) -> None:
        """A resource that is not allowed is a bad request, and the client may try again."""
        client = self.logged_in()
        for bad in ("&#x85;", "a" * 1024, "\t"):
            self.assertIn("<bad-request", self.bind(client, f"<resource>{bad}</resource>"))
        self.assertIn("<jid>romeo@localhost/a</jid>", self.bind(client, "<resource>a</resource>"))

    def test_no_id(self) -> None:
        """A request without an id is a bad one, like every other (§8.2.3)."""
        answer = self.answer(self.logged_in(), f"<iq type='set'><bind xmlns='{ns.BIND}'/></iq>")
        self.assertIn("<bad-request", answer)

    def test_no_set(self) -> None:
        """Binding is a request of type set; before it nothing else is served."""
        client = self.logged_in()
        answer = self.answer(client, f"<iq type='get' id='b'><bind xmlns='{ns.BIND}'/></iq>")
        self.assertIn("<not-authorized", answer)

    def test_second_resource(self) -> None:
        """A second binding on the same stream is not allowed and changes nothing."""
        client = self.logged_in()
        self.bind(client, "<resource>a</resource>")
        self.assertIn("<not-allowed", self.bind(client, "<resource>b</resource>"))
        self.assertEqual([str(s.jid) for s in self.host.sessions], ["romeo@localhost/a"])

    def test_conflict(self) -> None:
        """The newer session stays; the older one is told conflict (§7.7.2.2)."""
        first, second = self.logged_in(), self.logged_in()
        self.bind(first, "<resource>a</resource>")
        self.assertIn("<jid>romeo@localhost/a</jid>", self.bind(second, "<resource>a</resource>"))
        self.assertIn(b"<conflict", first.output())
        self.assertTrue(first.transport.closed)
        self.assertFalse(second.transport.closed)
        self.assertEqual(self.host.sessions.count(), 1)


class LimitTests(BindingTestCase):
    """Access rule ``max_user_sessions``."""

    extra = "[access]\nmax_user_sessions = [{acl = 'all', value = 2}]"

    def test_oldest_goes(self) -> None:
        """One session more than a user may have closes the oldest with conflict."""
        clients = [self.logged_in() for _ in range(3)]
        for number, client in enumerate(clients):
            self.bind(client, f"<resource>{number}</resource>")
        self.assertEqual([c.transport.closed for c in clients], [True, False, False])
        self.assertIn(b"<conflict", clients[0].output())


class SessionTests(BindingTestCase):
    """The session request of RFC 3921, for clients that insist on it."""

    REQUEST = f"<iq type='set' id='s'><session xmlns='{ns.SESSION}'/></iq>"

    def test_offered_as_optional(self) -> None:
        """It is offered as optional, and answered with an empty result."""
        client = self.logged_in()
        self.assertIn(
            f"<session xmlns='{ns.SESSION}'><optional/></session>", client.output().decode()
        )
        self.bind(client)
        answer = self.answer(client, self.REQUEST)
        self.assertIn("type='result'", answer)
        self.assertIn("id='s'", answer)

    def test_before_the_resource(self) -> None:
        """Before a resource is bound it is too early."""
        self.assertIn("<not-authorized", self.answer(self.logged_in(), self.REQUEST))


class NoSessionTests(BindingTestCase):
    """Option ``backwards_compatible_session`` off."""

    listener_options = "backwards_compatible_session = false"

    def test_not_offered(self) -> None:
        """It is not offered."""
        self.assertNotIn(ns.SESSION.encode(), self.logged_in().output())


class KeepaliveTests(BindingTestCase):
    """Whitespace between stanzas (RFC 6120 §4.6.1)."""

    def test_in_every_state(self) -> None:
        """It is taken in every state, answered with nothing, and holds no parser."""
        client = self.logged_in()
        for _ in range(2):
            for space in (" ", "\n", "\r\n\t "):
                self.assertEqual(self.answer(client, space), "")
            self.bind(client)
        stream = client.protocol.stream
        assert stream is not None
        self.assertIsNone(stream.parser._core)
        self.assertFalse(client.transport.closed)
