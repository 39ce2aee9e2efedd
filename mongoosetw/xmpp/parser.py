"""The stream parser: bytes in, stanzas cut out of them as bytes.

Expat checks every byte and reports where elements begin and end; a stanza is the slice of
the input between. Nothing is built but the names of a stanza's children.

An expat parser is borrowed from a pool only while a stanza is incomplete. Between stanzas
every stream with the usual header is in the same parser state, so an idle stream holds no
parser, and the one that the busy streams share stays in the processor's cache. A parser is
thrown away after 64 KiB: expat keeps every name it has ever seen, in twenty times its size.
"""

import codecs
from dataclasses import dataclass, field
from typing import Final, NoReturn
from xml.parsers import expat

from twisted.words.xish import domish

from mongoosetw.xmpp import ns
from mongoosetw.xmpp.errors import StreamError
from mongoosetw.xmpp.jid import JID, InvalidJID
from mongoosetw.xmpp.rewriting import declarations, self_contained
from mongoosetw.xmpp.stanza import Name, Stanza
from mongoosetw.xmpp.tags import tag_end
from mongoosetw.xmpp.tree import parse_element

_HEADER: Final = f"<stream:stream xmlns='{ns.CLIENT}' xmlns:stream='{ns.STREAM}'>".encode()
_CLOSING: Final = b"</stream:stream>"
_USUAL_NAMESPACES: Final = {None: ns.CLIENT, "stream": ns.STREAM}
_RETIRE_AFTER: Final = 1 << 16
_POOL_SIZE: Final = 16
# Error codes of expat.h
_INVALID_TOKEN: Final = 4
_UNDEFINED_ENTITY: Final = 11
_LONGEST_CHARACTER: Final = 4
_WHITESPACE: Final = b" \t\r\n"
"""Before a header it is the end of what came before, as of a line with the last step of a login."""
_STREAM: Final = f"{ns.STREAM} stream"
_RESTARTING: Final = frozenset({ns.SASL, ns.TLS})
_utf_8: Final = codecs.getincrementaldecoder("utf-8")
_KINDS: Final = {f"{ns.CLIENT} {kind}": kind for kind in ("message", "presence", "iq")}


@dataclass(frozen=True, slots=True)
class Limits:
    """What a peer may send; exceeded, the stream ends with ``policy-violation``.

    :ivar stanza: bytes of one top-level element.
    :ivar depth: levels of elements inside the stream element.
    :ivar attributes: attributes of one element.
    """

    stanza: int = 262_144
    depth: int = 64
    attributes: int = 64


@dataclass(frozen=True, slots=True)
class StreamOpened:
    """The peer's stream header (RFC 6120 §4.7), attributes by name (``xml:lang`` as ``lang``)."""

    attributes: dict[str, str]


@dataclass(slots=True)
class Nonza:
    """A top-level element that is not a stanza (XEP-0360).

    :ivar attributes: by name; expat's ``namespace name`` where one has a namespace.
    """

    name: Name
    xml: bytes
    attributes: dict[str, str] = field(default_factory=dict, compare=False)

    @property
    def element(self) -> domish.Element:
        """The element as a tree."""
        return parse_element(self.xml)

    @property
    def text(self) -> str:
        """The element's text, as it is before the first child."""
        tags = self.xml.count(b"<")
        if tags > 2 or b"&" in self.xml or b"\r" in self.xml:
            return str(self.element)
        return self.xml[tag_end(self.xml, 0) : self.xml.rindex(b"<")].decode() if tags > 1 else ""


@dataclass(frozen=True, slots=True)
class BadAddress:
    """A stanza whose ``to`` or ``from`` is not a JID (RFC 6120 §8.3.3.8); left out of it."""

    stanza: Stanza
    attribute: str


@dataclass(frozen=True, slots=True)
class StreamClosed:
    """The peer closed its stream (RFC 6120 §4.4)."""


@dataclass(frozen=True, slots=True)
class Rest:
    """What followed an element after which a new stream may begin; not parsed yet.

    It belongs to the stream's parser of the time when the element has been handled.
    """

    data: bytes


Event = StreamOpened | Stanza | Nonza | BadAddress | StreamClosed | StreamError | Rest
_names: dict[str, Name] = {}


def _name(text: str) -> Name:
    """Expat's ``namespace name`` as a pair; the common ones are kept."""
    name = _names.get(text)
    if name is None:
        namespace, _, tag = text.rpartition(" ")
        name = (namespace, tag)
        if len(_names) < 4096:
            _names[text] = name
    return name


class _Expat:
    """One expat parser and its place in the stream that has borrowed it."""

    __slots__ = (
        "attributes",
        "children",
        "content",
        "data",
        "depth",
        "events",
        "fed",
        "last_end",
        "limits",
        "namespaces",
        "offset",
        "parser",
        "start",
        "top",
    )  # fmt: skip

    def __init__(self) -> None:
        self.parser = expat.ParserCreate("UTF-8", " ")
        if hasattr(self.parser, "SetReparseDeferralEnabled"):
            self.parser.SetReparseDeferralEnabled(False)
        self.parser.StartElementHandler = self._start
        self.parser.EndElementHandler = self._end
        self.parser.CommentHandler = _restricted
        self.parser.ProcessingInstructionHandler = _restricted
        self.parser.StartDoctypeDeclHandler = _restricted
        self.parser.EntityDeclHandler = _restricted
        self.parser.XmlDeclHandler = _xml_declaration
        self.parser.StartNamespaceDeclHandler = self._namespace
        self.namespaces: dict[str | None, str] | None = {}
        self.limits = Limits()
        self.depth = 0
        self.fed = 0  # bytes given to expat so far
        self.offset = 0  # expat's index of data[0]
        self.data = b""  # all bytes from the last stanza's end on
        self.last_end = 0  # index behind the last complete top-level element
        self.start = 0
        self.content = -1
        self.top = ""
        self.attributes: dict[str, str] = {}
        self.children: list[str] = []
        self.events: list[Event] = []

    def retire(self) -> None:
        """Frees expat's memory at once: it refers to this object, and this one to it."""
        del self.parser

    def feed(self, data: bytes) -> None:
        """Parses ``data``; appends to ``events``. Raises StreamError."""
        pending = self.fed - self.last_end
        self.data = self.data[-pending:] + data if pending else data
        self.offset = self.fed - pending
        self.fed += len(data)
        try:
            self.parser.Parse(data, False)
        except expat.ExpatError as error:
            raise self._error(error) from None
        if self.depth <= 1:
            self._check_gap()
        elif self.top == _STREAM:
            self.events.append(StreamOpened({}))  # within a stream: whoever drives it refuses it
        if self.fed - self.last_end > self.limits.stanza:
            raise StreamError("policy-violation", "stanza too large")

    def _check_gap(self) -> None:
        """Takes whitespace between stanzas (RFC 6120 §4.6.1), refuses text there (§11.7)."""
        gap = self.data[self.last_end - self.offset :]
        if gap.isspace():
            self.last_end = self.fed
        elif gap and (first := gap.lstrip()[:1]) != b"<":
            if self.depth:
                raise StreamError("bad-format", "text outside of a stanza")
            # Before the header: a byte order mark of UTF-8, of something else, or no XML at all.
            if first in (b"\xff", b"\xfe", b"\x00"):
                raise StreamError("unsupported-encoding")
            if not codecs.BOM_UTF8.startswith(gap[:3]):
                raise StreamError("not-well-formed", "no XML")

    def _error(self, error: expat.ExpatError) -> StreamError:
        if error.code == _UNDEFINED_ENTITY:
            return StreamError("restricted-xml")
        if error.code == _INVALID_TOKEN:
            end = self.parser.ErrorByteIndex - self.offset + _LONGEST_CHARACTER
            try:
                _utf_8().decode(self.data[:end])
            except UnicodeDecodeError:
                return StreamError("unsupported-encoding")  # RFC 6120 §4.9.3.22
        return StreamError("not-well-formed", expat.ErrorString(error.code))

    def _start(self, name: str, attributes: dict[str, str]) -> None:
        depth = self.depth
        self.depth = depth + 1
        if len(attributes) > self.limits.attributes:
            raise StreamError("policy-violation", "too many attributes")
        if depth == 2:
            if not self.children:
                self.content = self.parser.CurrentByteIndex
            self.children.append(name)
        elif depth == 1:
            self.start = self.parser.CurrentByteIndex
            self.top = name
            self.attributes = attributes
            self.children = []
            if self.start != self.last_end:
                self._between(self.start)
        elif depth == 0:
            self._header(name, attributes)
        elif depth > self.limits.depth:
            raise StreamError("policy-violation", "elements nested too deep")

    def _end(self, name: str) -> None:
        self.depth -= 1
        if self.depth == 1:
            self._top_level_end()
        elif self.depth == 0:
            self._between(self.parser.CurrentByteIndex)
            self.events.append(StreamClosed())

    def _between(self, end: int) -> None:
        """Only whitespace may stand between stanzas (RFC 6120 §11.7)."""
        gap = self.data[self.last_end - self.offset : end - self.offset]
        if gap and not gap.isspace():
            raise StreamError("bad-format", "text outside of a stanza")

    def _namespace(self, prefix: str | None, uri: str) -> None:
        if self.depth == 0 and self.namespaces is not None:
            self.namespaces[prefix] = uri

    def _header(self, name: str, attributes: dict[str, str]) -> None:
        self.parser.StartNamespaceDeclHandler = None
        namespace, tag = _name(name)
        if namespace != ns.STREAM:
            raise StreamError("invalid-namespace")
        if tag != "stream":
            raise StreamError("bad-format", "not a stream header")
        assert self.namespaces is not None
        if ns.CLIENT not in self.namespaces.values():
            raise StreamError("invalid-namespace")  # RFC 6120 §4.8.1
        plain = {_name(key)[1]: value for key, value in attributes.items()}
        index = self.parser.CurrentByteIndex - self.offset
        end = tag_end(self.data, index)
        if b"\x00" in self.data[:end]:
            raise StreamError("unsupported-encoding")  # UTF-16, which expat finds out by itself
        self.last_end = self.offset + end
        self.events.append(StreamOpened(plain))

    def _top_level_end(self) -> None:
        offset = self.offset
        index = self.parser.CurrentByteIndex - offset
        start = self.start - offset
        end, content_end = self._ends(start, index)
        self.last_end = offset + end
        if end - start > self.limits.stanza:
            raise StreamError("policy-violation", "stanza too large")
        raw = self.data[start:end]
        if self.content >= 0 and self.children:
            content = self._content_start(raw, self.content - offset - start)
        else:
            content = content_end - start if content_end == end else tag_end(raw, 0)
        self._emit(raw, (content, content_end - start))

    def _content_start(self, raw: bytes, first_child: int) -> int:
        """Where the start tag ends: at the first child, but for text before it."""
        simple = raw[first_child - 1] == 0x3E and raw.count(b">", 0, first_child) == 1
        return first_child if simple else tag_end(raw, 0)

    def _ends(self, start: int, index: int) -> tuple[int, int]:
        """Where the element ends, and where its content does.

        Expat's index is at the end tag, or, for an empty-element tag, behind it.
        """
        data = self.data
        if data[index - 2 : index] == b"/>" and (
            not self.children and tag_end(data, start) == index
        ):
            return index, index
        return data.index(b">", index) + 1, index

    def _emit(self, raw: bytes, span: tuple[int, int]) -> None:
        own = self.namespaces
        # A prefix that the stanza's own tag declares would be missing around its content.
        if (own is not None and own != _USUAL_NAMESPACES) or raw.find(b"xmlns:", 0, span[0]) >= 0:
            raw, span = self_contained(raw, own or _USUAL_NAMESPACES)
        kind = _KINDS.get(self.top)
        if kind is None:
            name = _name(self.top)
            self.events.append(Nonza(name, raw, self.attributes))
            if name[0] in _RESTARTING and self.last_end < self.fed:
                raise _Cut
            return
        attributes = self.attributes
        to, from_, bad = None, None, ""
        if (text := attributes.get("to")) is not None:
            try:
                to = JID.parse(text)
            except InvalidJID:
                bad = "to"
        if (sender := attributes.get("from")) is not None:
            try:
                from_ = JID.parse(sender)
            except InvalidJID:
                bad = "from"
        names = tuple([_names.get(child) or _name(child) for child in self.children])
        stanza = Stanza.received(kind, to, from_, attributes, names, raw, span)
        if (to is not None and str(to) != text) or (from_ is not None and str(from_) != sender):
            stanza._raw = None  # an address was not in its canonical form: serialise it anew
            stanza._inner = raw[span[0] : span[1]]
        self.events.append(BadAddress(stanza, bad) if bad else stanza)


class _Cut(Exception):
    """Parsing ends here, because what follows may belong to another stream."""


_pool: list[_Expat] = []
_known_headers: dict[bytes, dict[str, str]] = {}
"""Headers that came before, byte for byte and by themselves: most users of a client program
send the same one, each time. They are not parsed again."""
_HEADERS_KNOWN: Final = 256
_LONGEST_KNOWN: Final = 512


def _remember_header(data: bytes, events: list[Event]) -> None:
    if len(data) <= _LONGEST_KNOWN and len(events) == 1 and isinstance(events[0], StreamOpened):
        if len(_known_headers) >= _HEADERS_KNOWN:
            _known_headers.clear()
        _known_headers[data] = dict(events[0].attributes)


def _borrow() -> _Expat:
    if _pool:
        return _pool.pop()
    core = _Expat()
    core.feed(_HEADER)
    core.events.clear()
    core.namespaces = None
    return core


def _ended() -> _Expat:
    """A parser of a stream that has been closed: it takes nothing more."""
    core = _borrow()
    core.feed(_CLOSING)
    core.events.clear()
    return core


def _opened_with(namespaces: dict[str | None, str] | None) -> _Expat:
    """A parser of a stream that is open, with these namespaces declared in its header."""
    if namespaces is None or namespaces == _USUAL_NAMESPACES:
        return _borrow()
    prefix = next(prefix for prefix, uri in namespaces.items() if uri == ns.STREAM)
    name = f"{prefix}:stream" if prefix else "stream"
    core = _Expat()
    core.feed(f"<{name}{declarations(namespaces)}>".encode())
    core.events.clear()
    return core


def _renewed(core: _Expat) -> _Expat:
    """Another parser in the same place, without the names that expat never forgets."""
    pending = core.fed - core.last_end
    if core.depth == 0 or 2 * pending > core.fed:
        return core  # it would cost more than it saves
    other = _opened_with(core.namespaces)
    other.limits = core.limits
    if pending:
        other.feed(core.data[-pending:])
    core.retire()
    return other


class StreamParser:
    """Parses one stream of one peer.

    >>> parser = StreamParser()
    >>> events = parser.feed(b"<stream:stream xmlns='jabber:client' ")
    """

    __slots__ = ("_core", "_opened", "_shared", "limits")

    def __init__(self, limits: Limits = Limits()) -> None:
        self.limits = limits
        self._core: _Expat | None = None
        self._opened = False
        self._shared = False

    def feed(self, data: bytes) -> list[Event]:
        """Takes what arrived, in any portions, and returns what became complete.

        Never raises for bad input: the last event is then a :class:`StreamError`, and
        nothing may be fed after it.
        """
        core = self._core
        if core is None:
            if not self._opened and not (data := data.lstrip(_WHITESPACE)):
                return []
            if not self._opened and (known := _known_headers.get(data)) is not None:
                if len(known) <= self.limits.attributes:
                    self._opened = self._shared = True
                    return [StreamOpened(dict(known))]
            elif self._shared and data == _CLOSING:  # spares a parser that nobody could use again
                self._shared = False
                return [StreamClosed()]
            core = _Expat() if not self._opened else _borrow() if self._shared else _ended()
            core.limits = self.limits
            self._core = core
        elif core.fed > _RETIRE_AFTER:
            core = self._core = _renewed(core)
        try:
            core.feed(data)
        except StreamError as error:
            self.close()
            core.events.append(error)
            return core.events
        except _Cut:
            core.events.append(Rest(core.data[core.last_end - core.offset :]))
            self._note_header(core)
            self.close()
            if not self._shared:
                self._core = _opened_with(core.namespaces)
                self._core.limits = self.limits
            return core.events
        events, core.events = core.events, []
        if core.last_end == core.fed and core.depth == 1:
            self._release(core, data, events)
        return events

    def close(self) -> None:
        """Lets go of what is incomplete; nothing may be fed any more."""
        core, self._core = self._core, None
        if core is not None:
            core.retire()

    def _release(self, core: _Expat, data: bytes, events: list[Event]) -> None:
        if not self._opened:
            self._note_header(core)
            if self._shared:
                if core.fed == len(data):
                    _remember_header(data, events)
                self.close()
        elif self._shared:
            self._core = None
            if core.fed < _RETIRE_AFTER and len(_pool) < _POOL_SIZE:
                core.data = b""
                _pool.append(core)
            else:
                core.retire()

    def _note_header(self, core: _Expat) -> None:
        self._opened = True
        self._shared = core.namespaces is None or core.namespaces == _USUAL_NAMESPACES


def _restricted(*_: object) -> NoReturn:
    raise StreamError("restricted-xml")  # RFC 6120 §11.1


def _xml_declaration(version: str, encoding: str | None, standalone: int) -> None:
    if encoding is not None and encoding.upper() != "UTF-8":
        raise StreamError("unsupported-encoding")  # RFC 6120 §11.6
