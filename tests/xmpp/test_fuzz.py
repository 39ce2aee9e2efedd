"""Streams that somebody has tampered with: whatever comes, there are only events."""

from itertools import pairwise

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from mongoosetw.xmpp import ns
from mongoosetw.xmpp.errors import StreamError
from mongoosetw.xmpp.jid import JID
from mongoosetw.xmpp.parser import BadAddress, Event, Limits, Nonza, StreamParser
from mongoosetw.xmpp.stanza import Stanza, escape

SENDER = JID.parse("romeo@example.net/orchard")
HEAD = f"<{{}} from='{SENDER}'"
HEADERS = st.sampled_from(
    [
        f"<stream:stream xmlns='{ns.CLIENT}' xmlns:stream='{ns.STREAM}'>",
        f"<?xml version='1.0'?><s:stream xmlns:s='{ns.STREAM}' xmlns='{ns.CLIENT}' xmlns:q='q:r'>",
        f"<stream xmlns='{ns.STREAM}' xmlns:c='{ns.CLIENT}' xmlns:q=\"a'b&lt;\">",
    ]
)
PREFIXES = st.sampled_from(["", "", "", "q:", "c:", "stream:", "xml:"])
NAMES = st.sampled_from(["message", "presence", "iq", "body", "x", "query", "é"])
SPACES = st.sampled_from(["", " ", "\n", "\t "])
NAMESPACES = st.sampled_from([ns.CLIENT, "jabber:server", "a:b", "", "it's", "x&y", "q:r"])
TEXT = st.text(st.characters(min_codepoint=32, exclude_categories=["Cs"]), max_size=12)
VALUES = st.one_of(TEXT, st.sampled_from(["/>", "a@b/c", "@", "xmlns:q='x'", "\n", "juliet@x"]))


@st.composite
def attributes(draw: st.DrawFn) -> str:
    """Attributes and namespace declarations of a tag."""
    found = {}
    for name in draw(st.lists(st.sampled_from(["to", "from", "id", "type", "xml:lang", "q:a"]))):
        found[name] = draw(VALUES)
    for prefix in draw(st.lists(st.sampled_from(["xmlns", "xmlns:q", "xmlns:c"]))):
        found[prefix] = draw(NAMESPACES)
    quoted = [f'{name}{draw(SPACES)}="{escape(value)}"' for name, value in found.items()]
    return "".join(f" {item}" for item in quoted) + draw(SPACES)


@st.composite
def elements(draw: st.DrawFn, depth: int = 0) -> str:
    """An element, well-formed but perhaps for prefixes that nobody declared."""
    name = draw(PREFIXES) + draw(NAMES)
    head = name + draw(attributes())
    if draw(st.booleans()):
        return f"<{head}/>"
    inner = st.one_of(TEXT.map(escape), st.just("<![CDATA[]>]]>"), st.just("&#13;"))
    if depth < 3:
        inner = st.one_of(inner, elements(depth + 1))
    content = "".join(draw(st.lists(inner, max_size=3)))
    return f"<{head}>{content}</{name}{draw(SPACES)}>"


@st.composite
def streams(draw: st.DrawFn) -> bytes:
    """A stream, sometimes with a few bytes of it changed."""
    data = draw(HEADERS) + draw(SPACES)
    data += "".join(draw(elements()) + draw(SPACES) for _ in range(draw(st.integers(0, 4))))
    tampered = bytearray((data + draw(st.sampled_from(["", "</stream:stream>"]))).encode())
    for _ in range(draw(st.sampled_from([0, 0, 1, 1, 3]))):
        place = draw(st.integers(0, len(tampered) - 1))
        cut = draw(st.integers(0, 3))
        scrap = st.sampled_from([b"<", b">", b"'", b"&", b"\xff", b"\0", b"/>", b"<!--", b"x"])
        tampered[place : place + cut] = draw(scrap)
    return bytes(tampered)


def fed(data: bytes, cuts: list[int]) -> list[Event]:
    """The events of a stream that arrives in portions."""
    parser = StreamParser(Limits(2000, 8, 8))
    found: list[Event] = []
    for begin, end in pairwise([0, *sorted(min(cut, len(data)) for cut in cuts), len(data)]):
        if begin == end:
            continue
        found += parser.feed(data[begin:end])
        if found and isinstance(found[-1], StreamError):
            break
    parser.close()
    return found


class TamperedStreamTests(SynchronousTestCase):
    """The parser, and what it makes."""

    @settings(max_examples=80)
    @given(streams(), st.lists(st.integers(0, 300), max_size=6))
    def test_only_events(self, data: bytes, cuts: list[int]) -> None:
        """Every input gives the same stanzas in every portioning, and an error only at the end."""
        whole = fed(data, [])
        for portions in (cuts, list(range(len(data)))):
            events = fed(data, portions)
            self.assertEqual(self.shown(events), self.shown(whole))

    def shown(self, events: list[Event]) -> list[object]:
        """Events as values; an error counts as one, whichever it is."""
        for event in events[:-1]:
            self.assertNotIsInstance(event, StreamError)
        return [
            event.to_bytes()
            if isinstance(event, Stanza)
            else "error"
            if isinstance(event, StreamError)
            else repr(event)
            for event in events
        ]

    @settings(max_examples=80)
    @given(streams())
    def test_what_is_sent_on(self, data: bytes) -> None:
        """Whatever a client got through, what others receive of it is one well-formed stanza."""
        for event in fed(data, []):
            if isinstance(event, Nonza):
                self.assertEqual(event.element.name, event.name[1])
            stanza = event.stanza if isinstance(event, BadAddress) else event
            if isinstance(stanza, Stanza):
                self.check(stanza, forwarded=isinstance(event, Stanza))

    def check(self, stanza: Stanza, *, forwarded: bool) -> None:
        """Writes the stanza in all the ways in which it may be written."""
        self.assert_same(stanza, stanza.error("bad-request").to_bytes(), 1)
        if not forwarded:
            return
        stanza.stamp(HEAD.format(stanza.kind).encode(), SENDER)
        self.assert_same(stanza, stanza.to_bytes())
        self.assert_same(stanza, stanza.copy(to=SENDER).to_bytes())
        extended = stanza.with_child(("a:b", "added"), b"<added xmlns='a:b'/>")
        self.assert_same(stanza, extended.to_bytes(), 1)
        wrapped = Stanza.make("message", inner=b"<f xmlns='f:f'>" + stanza.forwarded() + b"</f>")
        again = Stanza.parse(wrapped.to_bytes()).child("f:f", "f")
        assert again is not None
        self.assertEqual([child.name for child in again.elements()], [stanza.kind])

    def assert_same(self, stanza: Stanza, written: bytes, added: int = 0) -> None:
        """Compares what was written with the stanza, but for elements added at its end."""
        again = Stanza.parse(written)
        self.assertEqual(again.children[: len(again.children) - added], stanza.children)
        self.assertEqual(again.kind, stanza.kind)
        tree = [child.name for child in again.element.elements()]
        self.assertEqual(tree, [name for _, name in again.children])
