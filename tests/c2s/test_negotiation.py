"""Every step of the negotiation in every state: the table of RFC 6120, legal and illegal."""

import base64
from typing import Final

from mongoosetw.testing.client import Connection
from mongoosetw.testing.server import ServerTestCase
from mongoosetw.xmpp import ns
from mongoosetw.xmpp.negotiation import Input, State

PLAIN: Final = base64.b64encode(b"\0romeo\0secret").decode()
HEADER: Final = (
    f"<stream:stream to='localhost' version='1.0' xmlns='{ns.CLIENT}' xmlns:stream='{ns.STREAM}'>"
)
BIND: Final = f"<iq type='set' id='b'><bind xmlns='{ns.BIND}'><resource>r</resource></bind></iq>"
SENT: Final = {
    Input.HEADER: HEADER,
    Input.STARTTLS: f"<starttls xmlns='{ns.TLS}'/>",
    Input.AUTH: f"<auth xmlns='{ns.SASL}' mechanism='PLAIN'>{PLAIN}</auth>",
    Input.RESPONSE: f"<response xmlns='{ns.SASL}'>{PLAIN}</response>",
    Input.ABORT: f"<abort xmlns='{ns.SASL}'/>",
    Input.IQ: "<iq type='get' id='i'><ping xmlns='urn:xmpp:ping'/></iq>",
    Input.STANZA: "<message to='romeo@localhost/r' id='m'/>",
    Input.NONZA: "<r xmlns='urn:xmpp:sm:3'/>",
    Input.CLOSE: "</stream:stream>",
}
EARLY: Final = "<not-authorized xmlns="
LATE: Final = "<unsupported-stanza-type xmlns="
NO_STREAM: Final = "<invalid-namespace xmlns="
# What is answered, in the order of the inputs.
TABLE: Final = {
    State.CONNECTED: (
        "<stream:features>", NO_STREAM, NO_STREAM, NO_STREAM, NO_STREAM,
        NO_STREAM, NO_STREAM, NO_STREAM, "<not-well-formed xmlns=",
    ),
    State.OPEN: (
        EARLY, "<proceed ", "<success ", EARLY, "<aborted/>",
        EARLY, EARLY, EARLY, "</stream:stream>",
    ),
    State.SASL: (
        EARLY, EARLY, EARLY, "<success ", "<aborted/>",
        EARLY, EARLY, EARLY, "</stream:stream>",
    ),
    State.PROVEN: (
        "<bind ", NO_STREAM, NO_STREAM, NO_STREAM, NO_STREAM,
        NO_STREAM, NO_STREAM, NO_STREAM, "<not-well-formed xmlns=",
    ),
    State.BINDING: (
        LATE, LATE, LATE, LATE, LATE,
        EARLY, EARLY, LATE, "</stream:stream>",
    ),
    State.BOUND: (
        LATE, LATE, LATE, LATE, LATE,
        "<iq ", "<message ", LATE, "</stream:stream>",
    ),
}  # fmt: skip
LEGAL: Final = "<stream:features> <proceed <success <aborted/> <bind <iq <message".split()


class TableTests(ServerTestCase):
    """One connection for each pair of a state and an input."""

    listener_options = "allow_plain_without_tls = true\ntls.mode = 'starttls'"

    def setUp(self) -> None:
        """One account."""
        super().setUp()
        self.register("romeo@localhost", "secret")

    def in_state(self, state: State) -> Connection:
        """A connection whose stream is in a state."""
        client = self.connect_raw()
        client.transport.start_tls = lambda context: None  # type: ignore[attr-defined]
        steps = [HEADER, SENT[Input.AUTH], HEADER, BIND]
        reached = [State.CONNECTED, State.OPEN, State.PROVEN, State.BINDING, State.BOUND]
        if state is State.SASL:
            steps[1] = f"<auth xmlns='{ns.SASL}' mechanism='PLAIN'/>"
            reached[2] = State.SASL
        for step in steps[: reached.index(state)]:
            client.send(step)
        stream = client.protocol.stream
        assert stream is not None
        self.assertIs(stream.state_, state)
        return client

    def test_every_pair(self) -> None:
        """Each input is answered as the table says, and only an error ends the stream."""
        for state, row in TABLE.items():
            for received, wanted in zip(SENT, row, strict=True):
                client = self.in_state(state)
                before = len(client.output())
                client.send(SENT[received])
                answer = client.output()[before:].decode()
                where = f"{received} in {state}: {answer}"
                self.assertIn(wanted, answer, where)
                ends = wanted.strip() not in LEGAL
                self.assertEqual(client.transport.closed, ends, where)
                self.assertEqual(answer.endswith("</stream:stream>"), ends, where)

    def test_errors_come_within_a_stream(self) -> None:
        """Whenever an error is sent, a header of ours was sent before (RFC 6120 §4.9.1.1)."""
        for state in (State.CONNECTED, State.PROVEN):
            client = self.in_state(state)
            before = len(client.output())
            client.send("<message/>")
            answer = client.output()[before:].decode()
            self.assertRegex(answer, "^<[?]xml version='1.0'[?]><stream:stream .*><stream:error>")

    def test_complete_header_within_a_stream(self) -> None:
        """A second header is illegal also when it ends at once."""
        client = self.in_state(State.OPEN)
        client.send(HEADER + "</stream:stream>")
        self.assertIn(EARLY.encode(), client.output())


class PipelinedTests(ServerTestCase):
    """Clients that do not wait for answers."""

    listener_options = "allow_plain_without_tls = true\ntls.mode = 'starttls'"

    def test_login_in_one_packet(self) -> None:
        """Header, login, second header and binding are handled in order when they come at once."""
        self.register("romeo@localhost", "secret")
        message = "<message to='romeo@localhost/r'><body>me</body></message>"
        client = self.connect_raw()
        client.send(HEADER + SENT[Input.AUTH] + "<?xml version='1.0'?>" + HEADER + BIND + message)
        self.assertIn(b"<jid>romeo@localhost/r</jid>", client.output())
        self.assertIn(b"<body>me</body>", client.output())

    def test_login_in_one_packet_that_waits(self) -> None:
        """The same when the login's answer is delayed, and more comes meanwhile."""
        self.register("romeo@localhost", "secret")
        for _ in range(6):
            client = self.connect_raw()
            client.send(HEADER + SENT[Input.AUTH].replace(PLAIN, "AHJvbWVvAHdyb25n"))
        client = self.connect_raw()
        client.send(HEADER + SENT[Input.AUTH] + HEADER[:50])
        client.send(HEADER[50:] + BIND)
        self.assertNotIn(b"<success", client.output())
        self.clock.advance(30)
        self.assertIn(b"<jid>romeo@localhost/r</jid>", client.output())

    def test_failed_login_in_one_packet(self) -> None:
        """After a login that fails, what was sent on trust is refused."""
        client = self.connect_raw()
        client.send(HEADER + SENT[Input.AUTH] + HEADER + BIND)
        self.assertIn(b"<failure", client.output())
        self.assertIn(EARLY.encode(), client.output())

    def test_nothing_is_carried_into_tls(self) -> None:
        """What came in the clear behind STARTTLS is forgotten (RFC 6120 §5.4.3.3)."""
        self.register("romeo@localhost", "secret")
        client = self.connect_raw()
        client.transport.start_tls = lambda context: None  # type: ignore[attr-defined]
        client.send(HEADER + SENT[Input.STARTTLS] + HEADER + SENT[Input.AUTH])
        self.assertTrue(client.output().endswith(b"<proceed xmlns='%b'/>" % ns.TLS.encode()))
        client.send(HEADER)
        self.assertTrue(client.output().endswith(b"</stream:features>"))


class HeaderTests(ServerTestCase):
    """What a client's header says (RFC 6120 §4.7)."""

    hosts = ("localhost", "other.example")
    listener_options = "allow_plain_without_tls = true"

    def header(self, attributes: str) -> str:
        """The server's answer to a header with these attributes."""
        client = self.connect_raw()
        client.send(HEADER.replace("to='localhost' version='1.0'", attributes))
        return client.output().decode()

    def test_version(self) -> None:
        """1.0 and later are answered with 1.0; what is older, missing or no version is refused."""
        for version in ("1.0", "1.1", "2.0", "10.3", "01.0"):
            answer = self.header(f"to='localhost' version='{version}'")
            self.assertIn("version='1.0'", answer)
            self.assertIn("<stream:features>", answer, version)
        for version in ("version='0.9'", "", "version=''", "version='x'", "version='1'"):
            answer = self.header(f"to='localhost' {version}")
            self.assertIn("<unsupported-version", answer, version)

    def test_addresses(self) -> None:
        """The answer comes from the domain that was named, to the one who named it."""
        answer = self.header("to='Other.Example' from='a@b' version='1.0'")
        self.assertIn("from='other.example' to='a@b'", answer)
        self.assertRegex(answer, "id='[0-9a-f]{20}'")

    def test_no_domain(self) -> None:
        """A client that names no domain gets the default one."""
        self.assertIn("from='localhost'", self.header("version='1.0'"))

    def test_unknown_domain(self) -> None:
        """A domain that is not served, or is none, is host-unknown."""
        for domain in ("elsewhere.example", "a b", "", "romeo@localhost"):
            self.assertIn("<host-unknown", self.header(f"to='{domain}' version='1.0'"), domain)

    def second_header(self, attributes: str) -> str:
        """The answer to a header after the login of romeo@localhost."""
        self.register("romeo@localhost", "secret")
        client = self.connect_raw()
        client.send(HEADER + SENT[Input.AUTH])
        before = len(client.output())
        client.send(HEADER.replace("to='localhost'", attributes))
        return client.output()[before:].decode()

    def test_sender_after_login(self) -> None:
        """After the login the header may name its sender, who has to be the one logged in."""
        for claimed in ("", "from='romeo@localhost'", "from='Romeo@localhost/x'"):
            self.assertIn("<bind ", self.second_header(f"to='localhost' {claimed}"))
        for claimed in ("from='juliet@localhost'", "from='romeo@other.example'", "from='@'"):
            self.assertIn("<invalid-from", self.second_header(f"to='localhost' {claimed}"))

    def test_machine_as_sender(self) -> None:
        """A header that names the client's machine, as Perl's clients do, names nobody else."""
        for claimed in ("from='localhost'", "from='desk.example'", "from=''"):
            self.assertIn("<bind ", self.second_header(f"to='localhost' {claimed}"))

    def test_other_domain_after_login(self) -> None:
        """A login is for one domain."""
        self.assertIn("<host-unknown", self.second_header("to='other.example'"))


class HiddenNameTests(ServerTestCase):
    """Option ``hide_service_name``."""

    def configuration(self) -> str:
        """With the option."""
        return super().configuration().replace("[general]", "[general]\nhide_service_name = true")

    def test_unknown_domain(self) -> None:
        """Whoever names no domain of ours is not told one."""
        client = self.connect_raw()
        client.open("elsewhere.example")
        self.assertIn(b"<host-unknown", client.output())
        self.assertNotIn(b"localhost", client.output())
        client = self.connect_raw()
        client.open("localhost")
        self.assertIn(b"from='localhost'", client.output())
