"""The stream parser: stanzas as bytes, in any portions, and input of all kinds."""

import tracemalloc
from itertools import pairwise

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from mongoosetw.xmpp import ns
from mongoosetw.xmpp.errors import StreamError
from mongoosetw.xmpp.jid import JID
from mongoosetw.xmpp.parser import (
    Event,
    Limits,
    Nonza,
    Rest,
    StreamClosed,
    StreamOpened,
    StreamParser,
)
from mongoosetw.xmpp.stanza import Stanza, escape

HEADER = f"<stream:stream xmlns='{ns.CLIENT}' xmlns:stream='{ns.STREAM}'>".encode()
TEXT = st.text(st.characters(min_codepoint=32, exclude_categories=["Cs", "Cn"]), max_size=30)


def shown(events: list[Event]) -> list[object]:
    """Events as values that can be compared."""
    return [
        (e.to_bytes(), e.inner, e.children) if isinstance(e, Stanza) else str(e) for e in events
    ]


def parse(*portions: bytes) -> list[Event]:
    """What comes of a stream after its header."""
    parser = StreamParser()
    events = list(parser.feed(HEADER))[1:]
    for portion in portions:
        events += parser.feed(portion)
    return events


class ParserTests(SynchronousTestCase):
    """Cutting stanzas out of a stream."""

    def test_kinds(self) -> None:
        """Stanzas, other elements and the end are told apart."""
        request = b"<iq type='get' id='1'><q xmlns='a:b'/></iq>"
        events = parse(request + b" <r xmlns='c'/></stream:stream>")
        stanza, nonza, end = events
        assert isinstance(stanza, Stanza)
        self.assertEqual((stanza.kind, stanza.type, stanza.id), ("iq", "get", "1"))
        self.assertEqual(stanza.children, (("a:b", "q"),))
        self.assertEqual(stanza.inner, b"<q xmlns='a:b'/>")
        self.assertEqual(nonza, Nonza(("c", "r"), b"<r xmlns='c'/>"))
        self.assertEqual(end, StreamClosed())

    def test_addresses(self) -> None:
        """Addresses are passed on in their canonical form, whatever was sent."""
        for name in ("to", "from"):
            (stanza,) = parse(
                f"<message {name}='Romeo@LOCALHOST/A'><body>x</body></message>".encode()
            )
            assert isinstance(stanza, Stanza)
            canonical = f"<message {name}='romeo@localhost/A'><body>x</body></message>"
            self.assertEqual(stanza.to_bytes(), canonical.encode())

    def test_awkward_ends(self) -> None:
        """Tag ends in values and text are no tag ends."""
        cases = {
            b"<message id='/>'></message>": b"",
            b"<message id='>'>a /></message>": b"a />",
            b"<message id=\"'>\"><body>x</body></message>": b"<body>x</body>",
            b"<message>x><b/></message>": b"x><b/>",
            b"<message />": b"",
        }
        for xml, inner in cases.items():
            (stanza,) = parse(xml)
            assert isinstance(stanza, Stanza)
            self.assertEqual(stanza.inner, inner, xml)

    def test_prefixes_of_the_header(self) -> None:
        """A stanza that uses a prefix of the stream header is made self-contained."""
        header = f"<s:stream xmlns:s='{ns.STREAM}' xmlns='{ns.CLIENT}' xmlns:q='q:q'>"
        events = StreamParser().feed(header.encode() + b"<message><q:x>1</q:x></message>")
        stanza = events[1]
        assert isinstance(stanza, Stanza)
        again = Stanza.parse(stanza.to_bytes())
        self.assertEqual(again.children, (("q:q", "x"),))

    def test_limits_hold_while_bytes_arrive(self) -> None:
        """A stanza that is too long is refused before it has ended."""
        parser = StreamParser(Limits(stanza=1000))
        parser.feed(HEADER)
        parser.feed(b"<message><body>" + b"a" * 900)
        (error,) = parser.feed(b"a" * 200)
        assert isinstance(error, StreamError)
        self.assertEqual(error.condition, "policy-violation")

    def test_streams_do_not_disturb_one_another(self) -> None:
        """Streams whose portions come by turns are parsed each by itself."""
        parsers = [StreamParser() for _ in range(40)]
        for parser in parsers:
            parser.feed(HEADER)
        for number, parser in enumerate(parsers):
            parser.feed(f"<message id='{number}'><bo".encode())
        for number, parser in enumerate(parsers):
            (stanza,) = parser.feed(b"dy>x</body></message>")
            assert isinstance(stanza, Stanza)
            self.assertEqual((stanza.id, stanza.body), (str(number), "x"))

    def test_prefix_declared_by_the_stanza(self) -> None:
        """The content of a stanza needs no prefix of the stanza's tag, so it can be copied."""
        for xml in (
            b"<message xmlns:x='a:b'><x:y/></message>",
            b"<c:message xmlns:c='jabber:client'><y xmlns='a:b'/></c:message>",
        ):
            (stanza,) = parse(xml)
            assert isinstance(stanza, Stanza)
            stanza.stamp(b"<message from='r@d/x'", JID.parse("r@d/x"))
            for copy in (stanza.to_bytes(), stanza.copy(to=JID.parse("a@b")).to_bytes()):
                again = Stanza.parse(copy)
                self.assertEqual(again.children, (("a:b", "y"),))
                self.assertEqual(str(again.from_), "r@d/x")

    def test_quote_in_a_namespace_of_the_header(self) -> None:
        """A namespace with a quote is kept as it is, wherever it is declared."""
        header = f"<stream:stream xmlns='{ns.CLIENT}' xmlns:stream='{ns.STREAM}' xmlns:q=\"'\">"
        stanza = StreamParser().feed(header.encode() + b"<message><q:x/></message>")[1]
        assert isinstance(stanza, Stanza)
        self.assertEqual(Stanza.parse(stanza.to_bytes()).children, (("'", "x"),))

    def test_text_is_refused_at_once(self) -> None:
        """Text between stanzas is an error as soon as it is there."""
        for text in (b"x", b" x", b"&amp;", b"<![CDATA[x]]><a/>"):
            self.assert_error(text, "bad-format")

    def test_header_within_a_stream(self) -> None:
        """A second header is reported when its tag is complete, not when it ends."""
        self.assertEqual(parse(HEADER), [StreamOpened({})])

    def test_encoding(self) -> None:
        """Bytes that are no UTF-8 are told from XML that is not well-formed."""
        latin = "<ä/>".encode("latin-1")
        for bad in (b"<a>\xff</a>", b"<a>\xc3(</a>", b"<a b='\xed\xa0\x80'/>", latin):
            self.assert_error(bad, "unsupported-encoding")
        for bad in (b"<a>\x00</a>", b"<a b='\x01'/>", b"<a><\xc3\x97/></a>"):
            self.assert_error(bad, "not-well-formed")
        for encoding in ("utf-16", "utf-16-le", "utf-16-be", "utf-32"):
            error = StreamParser().feed(HEADER.decode().encode(encoding))[-1]
            assert isinstance(error, StreamError)
            self.assertEqual(error.condition, "unsupported-encoding")

    def assert_error(self, xml: bytes, condition: str) -> None:
        """Asserts that an input is refused."""
        error = parse(xml)[-1]
        assert isinstance(error, StreamError), xml
        self.assertEqual(error.condition, condition, xml)

    def test_many_tag_ends_in_a_value(self) -> None:
        """A value of many ``>`` is read in a time that is linear in its length."""
        value = b">" * 250_000
        for xml in (b"<message id='%b'/>", b"<message id='%b'><b/></message>"):
            (stanza,) = parse(xml % value)
            assert isinstance(stanza, Stanza)
            self.assertEqual(len(stanza.id), len(value))

    def test_element_after_which_a_stream_may_begin(self) -> None:
        """What follows an element of SASL or STARTTLS is handed back unparsed."""
        header = f"<stream:stream xmlns='{ns.CLIENT}' xmlns:stream='{ns.STREAM}' xmlns:q='q'>"
        for first in (HEADER, header.encode()):
            parser = StreamParser()
            auth = b"<auth xmlns='%b'/>" % ns.SASL.encode()
            _, nonza, rest = parser.feed(first + auth + b"<?xml version='1.0'?><a")
            assert isinstance(nonza, Nonza)
            self.assertEqual(rest, Rest(b"<?xml version='1.0'?><a"))
            (stanza,) = parser.feed(b"<message><body/></message>")
            assert isinstance(stanza, Stanza)

    def test_names_are_forgotten(self) -> None:
        """Names that a client makes up do not fill the memory, however it cuts what it sends."""
        header = f"<stream:stream xmlns='{ns.CLIENT}' xmlns:stream='{ns.STREAM}' xmlns:q='q'>"
        for first, cut in ((HEADER, 1), (header.encode(), 0)):
            parser = StreamParser()
            parser.feed(first)
            tracemalloc.start()
            self.addCleanup(tracemalloc.stop)
            before, left = tracemalloc.get_traced_memory()[0], b""
            for n in range(120):
                names = "".join(f"<a{n}-{i} b{n}-{i}=''/>" for i in range(300))
                data = left + f"<message>{names}</message>".encode()
                left = data[len(data) - cut :]
                self.assertEqual(len(parser.feed(data[: len(data) - cut])), 1 - cut if not n else 1)
            grown = tracemalloc.get_traced_memory()[0] - before
            tracemalloc.stop()
            self.assertLess(grown, 4_000_000)

    @settings(max_examples=60)
    @given(TEXT, TEXT, st.lists(st.integers(0, 200), max_size=8))
    def test_any_text_in_any_portions(self, body: str, ident: str, cuts: list[int]) -> None:
        """What is sent is what is read, however it was cut."""
        xml = f"<message id='{escape(ident)}'><body>{escape(body)}</body></message>".encode()
        places = [0, *sorted(min(cut, len(xml)) for cut in cuts), len(xml)]
        portions = [xml[a:b] for a, b in pairwise(places)]
        (stanza,) = parse(*portions)
        assert isinstance(stanza, Stanza)
        self.assertEqual(shown([stanza]), shown(parse(xml)))
        self.assertEqual(stanza.body, body)
        bytewise = parse(*(xml[i : i + 1] for i in range(len(xml))))
        self.assertEqual(shown(bytewise), shown([stanza]))

    @settings(max_examples=100)
    @given(st.binary(max_size=200))
    def test_no_input_raises(self, data: bytes) -> None:
        """Whatever arrives, the parser answers with events, the last perhaps an error."""
        for event in parse(data)[:-1]:
            self.assertNotIsInstance(event, StreamError)


class KnownHeaderTests(SynchronousTestCase):
    """Headers that came before."""

    def test_again(self) -> None:
        """A header that came before is understood again, with and without what comes behind it."""
        header = HEADER.replace(b">", b" to='localhost' version='1.0'>")
        message = b"<message id='1'/>"
        for portions in ([header, message], [header + message], [header, message]):
            parser = StreamParser()
            opened, stanza = (event for portion in portions for event in parser.feed(portion))
            assert isinstance(opened, StreamOpened) and isinstance(stanza, Stanza)
            self.assertEqual(opened.attributes, {"to": "localhost", "version": "1.0"})
            self.assertEqual(stanza.id, "1")

    def test_end(self) -> None:
        """A stream ends with its closing tag, however it arrives; nothing may follow."""
        end = b"</stream:stream>"
        for portions in ([end], [end + b"\n"], [end[:9], end[9:]]):
            parser = StreamParser()
            parser.feed(HEADER)
            events = [event for portion in portions for event in parser.feed(portion)]
            self.assertEqual(events, [StreamClosed()])
            for late in (b"<message/>", HEADER, b"</stream:stream>"):
                parser = StreamParser()
                for portion in (HEADER, *portions):
                    parser.feed(portion)
                self.assertIsInstance(parser.feed(late)[-1], StreamError)

    def test_limits_hold(self) -> None:
        """A header with more attributes than allowed is refused where others accept it."""
        header = HEADER.replace(b">", b" a='1' b='2' c='3'>")
        self.assertIsInstance(StreamParser().feed(header)[0], StreamOpened)
        self.assertIsInstance(StreamParser(Limits(attributes=2)).feed(header)[0], StreamError)

    def test_kept_apart(self) -> None:
        """What is done to one stream's attributes does not show in another's."""
        for _ in range(3):
            opened = StreamParser().feed(HEADER.replace(b">", b" id='x'>"))[0]
            assert isinstance(opened, StreamOpened)
            self.assertEqual(opened.attributes.pop("id"), "x")


class NonzaTextTests(SynchronousTestCase):
    """The text of elements that are no stanzas."""

    def test_text(self) -> None:
        """It is the same whether it can be cut out or has to be parsed."""
        for xml, text in (
            (b"<a xmlns='x'>YQ==</a>", "YQ=="),
            (b"<a xmlns='x' b='>'>YQ==</a >", "YQ=="),
            (b"<a xmlns='x'/>", ""),
            (b"<a xmlns='x'></a>", ""),
            (b"<a xmlns='x'>&#89;Q==</a>", "YQ=="),
            (b"<a xmlns='x'><![CDATA[YQ==]]></a>", "YQ=="),
            (b"<a xmlns='x'>YQ==<b/></a>", "YQ=="),
        ):
            (nonza,) = parse(xml)
            assert isinstance(nonza, Nonza)
            self.assertEqual(nonza.text, text)
