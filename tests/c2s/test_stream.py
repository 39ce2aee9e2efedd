"""A client's stream: every legal and illegal step of the negotiation, and bad input."""

import base64

from mongoosetw.storage.work import DatabaseUnavailable
from mongoosetw.testing.server import ServerTestCase
from mongoosetw.xmpp import ns

AUTH = f"<auth xmlns='{ns.SASL}' mechanism='PLAIN'>{{}}</auth>"
BIND = f"<iq type='set' id='b'><bind xmlns='{ns.BIND}'/></iq>"


def plain(user: str, password: str) -> str:
    """The client's first message of SASL PLAIN (RFC 4616 §2)."""
    return base64.b64encode(f"\0{user}\0{password}".encode()).decode()


async def unavailable(*_: object) -> bool:
    """A database that is away."""
    raise DatabaseUnavailable("gone")


class NegotiationTests(ServerTestCase):
    """Header, features, SASL, binding (RFC 6120 §4 to §7)."""

    listener_options = "allow_plain_without_tls = true\ntls.mode = 'starttls'"

    def test_login_and_bind(self) -> None:
        """A client that proves its password gets a full JID of its account."""
        self.register("romeo@localhost", "secret")
        client = self.connect_raw()
        client.open()
        client.send(AUTH.format(plain("romeo", "secret")))
        self.assertIn(b"<success", client.output())
        client.open()
        self.assertIn(b"<bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'/>", client.output())
        client.send(BIND)
        self.assertIn(b"<jid>romeo@localhost/", client.output())

    def test_byte_by_byte(self) -> None:
        """The negotiation is the same when every byte arrives alone."""
        self.register("romeo@localhost", "secret")
        client = self.connect_raw()
        for part in (None, AUTH.format(plain("romeo", "secret")), None, BIND):
            if part is None:
                client.open()
            else:
                for byte in part.encode():
                    client.send(bytes([byte]))
        self.assertIn(b"<jid>romeo@localhost/", client.output())

    def test_wrong_password(self) -> None:
        """A wrong password is not-authorized, and the client may try again."""
        self.register("romeo@localhost", "secret")
        client = self.connect_raw()
        client.open()
        client.send(AUTH.format(plain("romeo", "wrong")))
        self.assertIn(b"<not-authorized/>", client.output())
        client.send(AUTH.format(plain("romeo", "secret")))
        self.assertIn(b"<success", client.output())

    def test_third_failure_ends_the_stream(self) -> None:
        """Three failed logins close the stream with policy-violation."""
        client = self.connect_raw()
        client.open()
        for _ in range(3):
            client.send(AUTH.format(plain("nobody", "x")))
        self.assertIn(b"<policy-violation", client.output())
        self.assertTrue(client.transport.closed)

    def test_delayed_answer(self) -> None:
        """After some failed logins of a user the answer to the next one takes its time."""
        self.register("romeo@localhost", "secret")
        for _ in range(5):
            client = self.connect_raw()
            client.open()
            client.send(AUTH.format(plain("romeo", "wrong")))
        client = self.connect_raw()
        client.open()
        client.send(AUTH.format(plain("romeo", "secret")))
        self.assertNotIn(b"<success", client.output())
        self.clock.advance(1)
        self.assertIn(b"<success", client.output())

    def test_without_database(self) -> None:
        """Without the database a login fails for now, and does not count as an attempt."""
        self.register("romeo@localhost", "secret")
        accounts = self.host.accounts
        (backend,) = accounts.backends
        check = backend.check_password
        self.patch(backend, "check_password", unavailable)
        for _ in range(10):
            client = self.connect_raw()
            client.open()
            client.send(AUTH.format(plain("romeo", "secret")))
            self.assertIn(b"<temporary-auth-failure/>", client.output())
        self.patch(backend, "check_password", check)
        client.send(AUTH.format(plain("romeo", "secret")))
        self.assertIn(b"<success", client.output())

    def test_gone_while_waiting(self) -> None:
        """A client that leaves before its delayed answer leaves nothing behind."""
        for _ in range(6):
            client = self.connect_raw()
            client.open()
            client.send(AUTH.format(plain("nobody", "wrong")))
        client.lose()  # and the end of the test looks for calls that nobody cancelled
        self.assertNotIn(b"<failure", client.output())

    def test_unknown_mechanism(self) -> None:
        """A mechanism that was not offered is invalid-mechanism."""
        client = self.connect_raw()
        client.open()
        client.send(f"<auth xmlns='{ns.SASL}' mechanism='X-NONE'/>")
        self.assertIn(b"<invalid-mechanism/>", client.output())

    def test_bad_base64(self) -> None:
        """Data that is not base64 is incorrect-encoding."""
        client = self.connect_raw()
        client.open()
        client.send(AUTH.format("!!!"))
        self.assertIn(b"<incorrect-encoding/>", client.output())

    def test_abort(self) -> None:
        """A client that aborts gets aborted."""
        client = self.connect_raw()
        client.open()
        client.send(f"<auth xmlns='{ns.SASL}' mechanism='SCRAM-SHA-1'/>")
        client.send(f"<abort xmlns='{ns.SASL}'/>")
        self.assertIn(b"<aborted/>", client.output())

    def test_abort_of_a_failed_login(self) -> None:
        """A client that aborts what has failed already may try again as often as any other."""
        self.register("romeo@localhost", "secret")
        client = self.connect_raw()
        client.open()
        for _ in range(2):
            client.send(AUTH.format(plain("romeo", "wrong")))
            client.send(f"<abort xmlns='{ns.SASL}'/>")
        client.send(AUTH.format(plain("romeo", "secret")))
        self.assertIn(b"<success", client.output())

    def test_newline_after_a_step_of_the_login(self) -> None:
        """Whitespace behind the login, in the same packet or not, is none before the new header."""
        self.register("romeo@localhost", "secret")
        for ending in (("\n",), ("", "\r\n"), ("\n", " \t")):
            client = self.connect_raw()
            client.open()
            login = AUTH.format(plain("romeo", "secret"))
            for part in (login + ending[0], *ending[1:]):
                client.send(part)
            client.open()
            client.send(BIND)
            self.assertIn(b"<jid>romeo@localhost/", client.output())

    def test_silence_before_login_times_out(self) -> None:
        """A client that does not log in within state_timeout gets connection-timeout."""
        client = self.connect_raw()
        client.open()
        self.clock.advance(61)
        self.assertIn(b"<connection-timeout", client.output())

    def test_unknown_host(self) -> None:
        """A header to a domain that is not served ends with host-unknown."""
        client = self.connect_raw()
        client.open("elsewhere.example")
        self.assertIn(b"<host-unknown", client.output())

    def assert_refused(self, sent: str, condition: str, *, header: bool = True) -> None:
        """Asserts the stream error that an input gets before authentication."""
        client = self.connect_raw()
        if header:
            client.open()
        client.send(sent)
        self.assertIn(f"<{condition} xmlns='{ns.STREAMS}'".encode(), client.output())
        self.assertIn(b"</stream:stream>", client.output())
        self.assertTrue(client.transport.closed)

    def test_stanzas_before_authentication(self) -> None:
        """Stanzas before authentication are not-authorized (RFC 6120 §4.9.3.12)."""
        for stanza in ("<message/>", "<presence/>", BIND):
            self.assert_refused(stanza, "not-authorized")

    def test_second_header(self) -> None:
        """A response out of turn is not-authorized."""
        self.assert_refused(f"<response xmlns='{ns.SASL}'/>", "not-authorized")

    def test_not_well_formed(self) -> None:
        """Input that is no XML is not-well-formed."""
        self.assert_refused("<a></b>", "not-well-formed")
        self.assert_refused("hello <a/>", "not-well-formed", header=False)

    def test_unbound_prefix(self) -> None:
        """A prefix that was not declared is not-well-formed (RFC 6120 §4.9.3.13)."""
        self.assert_refused("<x:auth/>", "not-well-formed")

    def test_restricted_xml(self) -> None:
        """Comments, instructions, DTDs and entities are restricted-xml (RFC 6120 §11.1)."""
        for bad in ("<!-- c -->", "<?pi?>", "<message>&bomb;</message>"):
            self.assert_refused(bad, "restricted-xml")
        dtd = "<?xml version='1.0'?><!DOCTYPE a [<!ENTITY b 'bbbb'>]>"
        self.assert_refused(dtd, "restricted-xml", header=False)

    def test_wrong_namespace(self) -> None:
        """A header without the streams namespace is invalid-namespace."""
        self.assert_refused(
            "<stream:stream xmlns='jabber:client' xmlns:stream='urn:wrong' to='localhost'>",
            "invalid-namespace",
            header=False,
        )

    def test_other_encoding(self) -> None:
        """Only UTF-8 is spoken (RFC 6120 §11.6)."""
        self.assert_refused(
            "<?xml version='1.0' encoding='ISO-8859-1'?><a/>", "unsupported-encoding", header=False
        )

    def test_old_version(self) -> None:
        """A header without version 1.x is unsupported-version."""
        self.assert_refused(
            "<stream:stream xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams'"
            " to='localhost'>",
            "unsupported-version",
            header=False,
        )

    def test_too_many_bytes_before_authentication(self) -> None:
        """Whoever sends megabytes before logging in is cut off while they arrive."""
        client = self.connect_raw()
        client.open()
        client.send("<auth xmlns='x'>" + "a" * 70_000)
        self.assertIn(b"<policy-violation", client.output())


class BoundTests(ServerTestCase):
    """What a client with a session may send."""

    def assert_ends(self, sent: str, condition: str) -> None:
        """Asserts the stream error that an input gets in a session."""
        client = self.connect("romeo@localhost/a")
        client.send(sent)
        self.assertIn(f"<{condition} xmlns='{ns.STREAMS}'".encode(), client.output())
        self.assertEqual(self.host.sessions.count(), 0)

    def test_wrong_from(self) -> None:
        """A stanza in somebody else's name ends the stream with invalid-from."""
        self.assert_ends("<message from='juliet@localhost' to='a@localhost'/>", "invalid-from")

    def test_huge_stanza(self) -> None:
        """A stanza over the limit is cut off before its end has come."""
        self.assert_ends("<message><body>" + "a" * 300_000, "policy-violation")

    def test_deep_stanza(self) -> None:
        """Elements nested too deep are policy-violation."""
        self.assert_ends("<message>" + "<a>" * 100, "policy-violation")

    def test_text_between_stanzas(self) -> None:
        """Text outside of a stanza is bad-format."""
        self.assert_ends("hello<message/>", "bad-format")

    def test_unknown_element(self) -> None:
        """A top-level element that nobody knows is unsupported-stanza-type."""
        self.assert_ends("<foo xmlns='urn:bar'/>", "unsupported-stanza-type")

    def test_whitespace_keepalive(self) -> None:
        """Whitespace between stanzas is ignored."""
        client = self.connect("romeo@localhost/a")
        client.send("   \n ")
        client.send("<message to='romeo@localhost/a'><body>x</body></message>")
        client.receives("<message><body>x</body></message>")

    def test_malformed_address(self) -> None:
        """A stanza to an address that is no JID comes back with jid-malformed."""
        client = self.connect("romeo@localhost/a")
        client.send("<message to='@@' id='1'/>")
        self.assertIn("jid-malformed", client.take().to_bytes().decode())

    def test_conflict(self) -> None:
        """A second session of the same full JID replaces the first with conflict."""
        first = self.connect("romeo@localhost/a")
        self.connect("romeo@localhost/a")
        self.assertIn(b"<conflict", first.output())
        self.assertEqual(self.host.sessions.count(), 1)

    def test_clean_close(self) -> None:
        """A client that closes its stream gets the closing tag."""
        client = self.connect("romeo@localhost/a")
        client.send("</stream:stream>")
        self.assertTrue(client.output().endswith(b"</stream:stream>"))
        self.assertEqual(self.host.sessions.count(), 0)

    def test_lost_connection(self) -> None:
        """A lost connection ends the session."""
        client = self.connect("romeo@localhost/a")
        client.lose()
        self.assertEqual(self.host.sessions.count(), 0)
