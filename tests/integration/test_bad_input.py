"""Bad input on real sockets: each gets its error, and nobody else notices."""

import contextlib
import ssl

from mongoosetw.xmpp import ns
from tests.integration.live import LiveTestCase, threaded
from tests.integration.raw import RawClient, header

BOMB = (
    "<?xml version='1.0'?><!DOCTYPE b [<!ENTITY a0 'ha'>"
    + "".join(f"<!ENTITY a{n + 1} '&a{n};&a{n};&a{n};&a{n};'>" for n in range(20))
    + "]>"
    + header().partition("?>")[2]
    + "<message><body>&a20;</body></message>"
)
STREAM = f"<stream:stream to='localhost' version='1.0' xmlns='{ns.CLIENT}'"
OPEN = f"{STREAM} xmlns:stream='{ns.STREAM}'>"
# Before the stream header.
FIRST: dict[str | bytes, str] = {
    "hello": "not-well-formed",
    "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n": "not-well-formed",
    b"\x00": "unsupported-encoding",
    b"\x16\x03\x01\x00\xf4\x01\x00\x00\xf0\x03\x03": "not-well-formed",
    "</stream:stream>": "not-well-formed",
    f"{STREAM}>": "not-well-formed",
    "<!-- comment -->": "restricted-xml",
    "<?php echo 1 ?>": "restricted-xml",
    "<!DOCTYPE a>": "restricted-xml",
    "<!DOCTYPE a SYSTEM 'file:///etc/passwd'>": "restricted-xml",
    BOMB: "restricted-xml",
    "<?xml version='1.0' encoding='ISO-8859-1'?>": "unsupported-encoding",
    "<?xml version='1.0' encoding='UTF-16'?>": "unsupported-encoding",
    OPEN.encode("utf-16"): "unsupported-encoding",
    OPEN.encode("utf-16-be"): "unsupported-encoding",
    b"<stream:stream x='\xff'>": "unsupported-encoding",
    f"{STREAM} xmlns:stream='urn:wrong'>": "invalid-namespace",
    OPEN.replace(ns.CLIENT, "jabber:server"): "invalid-namespace",
    f"<stream:stream version='1.0' to='localhost' xmlns:stream='{ns.STREAM}'>": "invalid-namespace",
    f"<message xmlns='{ns.CLIENT}'/>": "invalid-namespace",
    f"<stream:features xmlns:stream='{ns.STREAM}'>": "bad-format",
    OPEN.replace("'1.0'", "'0.9'"): "unsupported-version",
    OPEN.replace(" version='1.0'", ""): "unsupported-version",
    OPEN.replace("'localhost'", "'elsewhere.example'"): "host-unknown",
    OPEN.replace("'localhost'", "'a b'"): "host-unknown",
    f"{STREAM} a='{'a' * 70_000}'>": "policy-violation",
    f"{OPEN[:-1]} {' '.join(f'a{n}=__' for n in range(100))}>".replace(
        "__", "''"
    ): "policy-violation",
}
# Within a stream, whether authenticated or not.
ALWAYS: dict[str | bytes, str] = {
    "<a></b>": "not-well-formed",
    "<a <": "not-well-formed",
    "<a b='1' b='2'/>": "not-well-formed",
    "<a b=1/>": "not-well-formed",
    "<a b='<'/>": "not-well-formed",
    "<a>&#0;</a>": "not-well-formed",
    "<a>&#xD800;</a>": "not-well-formed",
    "<a>]]></a>": "not-well-formed",
    "<a>&</a>": "not-well-formed",
    "<a>\x01</a>": "not-well-formed",
    "<?xml version='1.0'?>": "not-well-formed",
    "<x:a/>": "not-well-formed",
    "<a x:b=''/>": "not-well-formed",
    "<a xmlns:x=''/>": "not-well-formed",
    "<a xmlns:xml='urn:wrong'/>": "not-well-formed",
    "<!DOCTYPE a>": "not-well-formed",
    b"<a>\xc3\x28</a>": "unsupported-encoding",
    b"<a>\xff\xfe</a>": "unsupported-encoding",
    "<!-- c -->": "restricted-xml",
    "<a><!-- c --></a>": "restricted-xml",
    "<?pi?>": "restricted-xml",
    "<a><?pi?></a>": "restricted-xml",
    "<message>&bomb;</message>": "restricted-xml",
    "<a b='&bomb;'/>": "restricted-xml",
    "text": "bad-format",
    "&amp;": "bad-format",
    "<![CDATA[ ]]><a/>": "bad-format",
    "<a>" * 1000: "policy-violation",
    "<a>" * 65: "policy-violation",
    f"<a {' '.join(f'a{n}=__' for n in range(65))}/>".replace("__", "''"): "policy-violation",
    f"<stream:error><reset xmlns='{ns.STREAMS}'/></stream:error>": "",
}
UNAUTHENTICATED: dict[str | bytes, str] = {
    "<message to='bob@localhost'><body>x</body></message>": "not-authorized",
    "<presence/>": "not-authorized",
    "<iq type='get' id='1'><query xmlns='jabber:iq:roster'/></iq>": "not-authorized",
    f"<iq type='set' id='1'><bind xmlns='{ns.BIND}'/></iq>": "not-authorized",
    "<message to='@@'/>": "not-authorized",
    "<message from='bob@localhost'/>": "not-authorized",
    "<unknown xmlns='urn:unknown'/>": "not-authorized",
    f"<response xmlns='{ns.SASL}'>AAAA</response>": "not-authorized",
    OPEN: "not-authorized",
    "<auth xmlns='x'>" + "a" * 70_000: "policy-violation",
}
BOUND: dict[str | bytes, str] = {
    "<message from='bob@localhost' to='bob@localhost'/>": "invalid-from",
    "<message from='alice@localhost/other' to='bob@localhost'/>": "invalid-from",
    "<presence from='@'/>": "invalid-from",
    "<message xmlns='jabber:server' to='bob@localhost'/>": "unsupported-stanza-type",
    "<unknown xmlns='urn:unknown'/>": "unsupported-stanza-type",
    "<message/>hello": "bad-format",
    OPEN: "unsupported-stanza-type",
    "<message><body>" + "a" * 300_000: "policy-violation",
    f"<message id='{'>' * 200_000}'><body>{'a' * 100_000}": "policy-violation",
    "<message>" + "<a/>" * 100_000: "policy-violation",
    f"<message><body>{'a' * 300_000}</body></message>": "policy-violation",
}
# Answered by an error stanza; the stream goes on.
STANZAS = {
    "<message to='@@' id='e'/>": "jid-malformed",
    "<message to='a@' id='e'/>": "jid-malformed",
    f"<message to='{'a' * 1024}@localhost' id='e'/>": "jid-malformed",
    "<iq to='a b@localhost' type='get' id='e'><q xmlns='a:b'/></iq>": "jid-malformed",
    "<iq type='get' id='e'/>": "bad-request",
    "<iq type='other' id='e'><q xmlns='a:b'/></iq>": "bad-request",
    "<iq type='set' id='e'><q xmlns='a:b'/><q xmlns='a:b'/></iq>": "bad-request",
    "<iq type='get'><q xmlns='a:b'/></iq>": "bad-request",
    "<iq type='get' id='e'><q xmlns='a:b'/></iq>": "service-unavailable",
    "<message to='bob@elsewhere.example' id='e'/>": "remote-server-not-found",
    f"<iq type='set' id='e'><bind xmlns='{ns.BIND}'/></iq>": "not-allowed",
}


class BadInputTests(LiveTestCase):
    """Alice and Bob talk, a third client misbehaves."""

    users = ("alice", "bob", "mallory")

    def setUp(self) -> object:
        """Counts the exchanges."""
        self.count = 0
        return super().setUp()

    def connect_friends(self) -> None:
        """Alice and Bob log in."""
        self.alice, self.bob = self.client(), self.client()
        self.alice.login("alice")
        self.to = self.bob.login("bob")

    def talk(self, case: object) -> None:
        """Alice says something, and Bob hears that and nothing else."""
        self.count += 1
        self.alice.send(f"<message to='{self.to}' id='{self.count}'/>")
        heard = self.bob.until(f"id='{self.count}'")
        self.assertEqual(heard.count("<"), 1, f"{heard} after {case!r}"[:1000])
        self.bob.until("/>")

    def assert_refused(self, client: RawClient, sent: str | bytes, condition: str) -> None:
        """Sends something and asserts how the stream ends."""
        with contextlib.suppress(OSError):
            client.send(sent)
        answer = client.rest()
        shown = f"{answer[-300:]} after {sent!r}"[:1000]
        if condition:
            error = f"<stream:error><{condition} xmlns='{ns.STREAMS}'/>"
            self.assertIn(error, answer, shown)
        self.assertTrue(answer.endswith("</stream:stream>"), shown)
        self.talk(sent)

    @threaded
    def test_before_the_stream(self) -> None:
        """What is no stream header."""
        self.connect_friends()
        for sent, condition in FIRST.items():
            client = self.client()
            self.assert_refused(client, sent, condition)

    @threaded
    def test_unauthenticated(self) -> None:
        """What nobody may send before the login."""
        self.connect_friends()
        for sent, condition in {**ALWAYS, **UNAUTHENTICATED}.items():
            client = self.client()
            client.open()
            self.assert_refused(client, sent, condition)

    @threaded
    def test_bound(self) -> None:
        """What nobody may send in a session."""
        self.connect_friends()
        for sent, condition in {**ALWAYS, **BOUND}.items():
            client = self.client()
            client.login("mallory")
            self.assert_refused(client, sent, condition)

    @threaded
    def test_error_stanzas(self) -> None:
        """What is wrong with one stanza does not end the stream."""
        self.connect_friends()
        client = self.client()
        client.login("mallory")
        for sent, condition in STANZAS.items():
            client.send(sent)
            answer = client.until("</error>")
            self.assertIn(f"<{condition} xmlns='{ns.STANZAS}'", answer, sent)
            self.talk(sent)

    @threaded
    def test_byte_by_byte(self) -> None:
        """A session whose every byte arrives by itself is like any other."""
        self.connect_friends()
        client = self.client()
        send = client.send
        client.send = lambda data: [  # type: ignore[method-assign, assignment]
            send(bytes([byte])) for byte in (data.encode() if isinstance(data, str) else data)
        ]
        client.login("mallory")
        client.send(f"<message to='{self.to}' id='slow'><body>é</body></message>")
        self.assertIn("<body>é</body>", self.bob.until("</message>"))
        client.send("<message from='bob@localhost'/>")
        self.assertIn("<invalid-from", client.rest())
        self.talk("bytes")

    @threaded
    def test_what_others_receive(self) -> None:
        """Prefixes that a stanza's own tag declares do not break what others receive of it."""
        self.connect_friends()
        client = self.client()
        client.login("mallory")
        for xml in (
            "<message xmlns:x='a:b' to='{}' id='p'><x:y/></message>",
            "<c:message xmlns:c='jabber:client' to='{}' id='p'><c:body>x</c:body></c:message>",
        ):
            client.send(xml.format(self.to))
            received = self.bob.until("</message>")
            self.assertNotIn("<x:", received)
            self.assertNotIn("c:", received.replace("xmlns", ""))
            client.send(xml.format("nobody@localhost"))
            self.assertIn("<service-unavailable", client.until("</message>"))
            self.talk(xml)


class BadInputOverTLSTests(LiveTestCase):
    """Within and around TLS."""

    listener_options = "tls.mode = 'starttls'"

    @threaded
    def test_garbage_within_tls(self) -> None:
        """Bytes that are no TLS record end the connection; other connections go on."""
        good, bad = self.client(), self.client()
        good.secure()
        bad.secure()
        bad.socket.sendall(b"<message/>" * 100)
        with contextlib.suppress(ConnectionResetError):
            while bad.socket.recv(65536):
                pass
        self.assertIn("<success", good.plain("alice"))

    @threaded
    def test_no_handshake_after_proceed(self) -> None:
        """A client that goes on in the clear after <proceed/> is cut off."""
        client = self.client()
        client.open()
        client.send(f"<starttls xmlns='{ns.TLS}'/>")
        client.until("/>")
        client.send(header())
        with contextlib.suppress(ConnectionResetError, UnicodeDecodeError):
            self.assertNotIn("stream:features", client.rest())

    @threaded
    def test_errors_within_tls(self) -> None:
        """Errors and ends arrive within TLS as they do without."""
        client = self.client()
        client.secure()
        client.send("<message/>")
        self.assertIn("<not-authorized", client.rest())
        client = self.client()
        client.secure()
        client.send("<auth>" + "a" * 1_000_000)
        self.assertIn("<policy-violation", client.rest())

    @threaded
    def test_clean_end_of_tls(self) -> None:
        """The server ends TLS with a close_notify, so that nobody can cut a stream short."""
        client = self.client()
        client.open()
        client.send(f"<starttls xmlns='{ns.TLS}'/>")
        client.until("/>")
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        connection = context.wrap_socket(client.socket, suppress_ragged_eofs=False)
        connection.sendall((header() + "</stream:stream>").encode())
        received = b""
        while chunk := connection.recv(65536):  # a missing close_notify would raise
            received += chunk
        self.assertTrue(received.endswith(b"</stream:stream>"))
        connection.close()
