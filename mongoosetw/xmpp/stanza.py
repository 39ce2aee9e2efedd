"""A stanza as bytes: what routing needs is noted, the rest stays unparsed until asked for.

The content of a stanza (``inner``) is self-contained XML in the default namespace
``jabber:client``: it declares every prefix that it uses, so it can be wrapped, forwarded
and written to any client's stream by concatenating bytes.
"""

from html import escape as _escape
from typing import Any, Final, Protocol, Self, cast

from twisted.words.xish import domish

from mongoosetw.xmpp import ns
from mongoosetw.xmpp.errors import StanzaError
from mongoosetw.xmpp.jid import JID

Name = tuple[str, str]
"""A qualified XML name: namespace (empty when there is none) and local name."""

_UNSET: Final[Any] = object()
_XML_LANG: Final = f"{ns.XML} lang"
_SPECIAL: Final = frozenset("&<>\"'")


def escape(text: str) -> str:
    """Returns ``text`` fit for character data and for attribute values in either quotes."""
    return text if _SPECIAL.isdisjoint(text) else _escape(text)


def serialise(payload: "bytes | str | domish.Element | None") -> bytes:
    """Returns a payload, in any form that the API accepts, as UTF-8 bytes."""
    if payload is None:
        return b""
    if isinstance(payload, bytes):
        return payload
    if isinstance(payload, str):
        return payload.encode()
    return cast(str, payload.toXml(defaultUri=ns.CLIENT)).encode()


class Receipt(Protocol):
    """Holds back the acknowledgement of one stanza until what is owed to it is settled."""

    def hold(self) -> None:
        """Something has begun that must be done before the stanza counts as handled."""

    def release(self) -> None:
        """It is done."""


class Stanza:
    """A message, presence or iq (RFC 6120 §8).

    Treat a stanza as a value: never change one that was handed to you, make a :meth:`copy`.
    The server alone changes one: at the beginning of its way it sets the sender (:meth:`stamp`),
    and at the end it may add a message's id (:meth:`extend`).

    :ivar known_children: the names of the direct children, None while nobody has looked for them;
        read :attr:`children`, or this one first where every call counts.
    :ivar receipt: what must be settled before the sender's stream counts the stanza as handled
        (XEP-0198 §4), None when nobody counts; copies share it.
    :ivar log: the entry in the message log where the message is kept, if it is; copies share it.
    """

    __slots__ = (
        "_element",
        "_inner",
        "_raw",
        "_span",
        "_xml",
        "from_",
        "id",
        "kind",
        "known_children",
        "lang",
        "log",
        "receipt",
        "to",
        "type",
    )  # fmt: skip

    def __init__(
        self,
        kind: str,
        to: JID | None,
        from_: JID | None,
        type: str,
        id: str,
        lang: str | None,
        children: tuple[Name, ...] | None,
        inner: bytes,
    ) -> None:
        self.kind = kind
        self.to = to
        self.from_ = from_
        self.type = type
        self.id = id
        self.lang = lang
        self.known_children: tuple[Name, ...] | None = children
        self._inner: bytes | None = inner
        self._raw: bytes | None = None
        self._span = (0, 0)
        self._element: domish.Element | None = None
        self._xml: bytes | None = None
        self.receipt: Receipt | None = None
        self.log: Any = None

    @classmethod
    def received(
        cls,
        kind: str,
        to: JID | None,
        from_: JID | None,
        attributes: dict[str, str],
        children: tuple[Name, ...],
        raw: bytes,
        span: tuple[int, int],
    ) -> "Stanza":
        """A stanza cut out of a stream; ``span`` is where its content lies in ``raw``."""
        stanza = cls.__new__(cls)
        stanza.kind = kind
        stanza.to = to
        stanza.from_ = from_
        get = attributes.get
        stanza.type = get("type", "")
        stanza.id = get("id", "")
        stanza.lang = get(_XML_LANG)
        stanza.known_children = children
        stanza._inner = None
        stanza._raw = raw
        stanza._span = span
        stanza._element = None
        stanza._xml = None
        stanza.receipt = None
        stanza.log = None
        return stanza

    @classmethod
    def written(
        cls,
        kind: str,
        to: JID,
        from_: JID,
        children: tuple[Name, ...],
        xml: bytes,
        span: tuple[int, int],
    ) -> "Stanza":
        """A stanza of the server's own that is serialised; ``span`` is where its content lies."""
        stanza = cls.received(kind, to, from_, {}, children, xml, span)
        stanza._xml = xml
        return stanza

    @property
    def children(self) -> tuple[Name, ...]:
        """The names of the direct children, in order."""
        if self.known_children is None:
            self.known_children = _child_names(self.inner)
        return self.known_children

    @property
    def inner(self) -> bytes:
        """The content between the stanza's tags, as bytes."""
        if self._inner is None:
            assert self._raw is not None
            start, end = self._span
            self._inner = self._raw[start:end]
        return self._inner

    def stamp(self, head: bytes, sender: JID) -> None:
        """Sets the sender of a stanza just received (RFC 6120 §8.1.2.1).

        :param head: the beginning of the start tag, ``<message from='…'``; put before
            what the client wrote, so that nothing is serialised again.
        """
        raw = self._raw
        if self.from_ is None and raw is not None:
            behind = len(self.kind) + 1
            start, end = self._span
            self._xml = self._raw = head + raw[behind:]
            self._span = (start + len(head) - behind, end + len(head) - behind)
        self.from_ = sender

    @classmethod
    def make(
        cls,
        kind: str,
        *,
        to: JID | None = None,
        from_: JID | None = None,
        type: str = "",
        id: str = "",
        inner: bytes | str | domish.Element = b"",
        lang: str | None = None,
    ) -> Self:
        """Builds a stanza of the server's own."""
        return cls(kind, to, from_, type, id, lang, None, serialise(inner))

    @classmethod
    def parse(cls, xml: bytes | str) -> "Stanza":
        """Reads one whole stanza; without a namespace it is taken to be ``jabber:client``.

        :raises ValueError: it is not one well-formed stanza.
        :raises InvalidJID: an address is malformed.
        """
        from mongoosetw.xmpp.whole import parse_stanza  # the parser makes stanzas

        return parse_stanza(xml.encode() if isinstance(xml, str) else xml)

    def has(self, namespace: str, tag: str) -> bool:
        """Whether a direct child has this name."""
        return (namespace, tag) in self.children

    def child(self, namespace: str, tag: str) -> domish.Element | None:
        """The first direct child of this name, or ``None``."""
        if (namespace, tag) not in self.children:
            return None
        for element in self.element.elements():
            if element.name == tag and (element.uri or "") == namespace:
                return cast(domish.Element, element)
        return None

    def child_text(self, namespace: str, tag: str) -> str | None:
        """The text of the first direct child of this name, ``None`` without one."""
        if (namespace, tag) not in self.children:
            return None
        if (plain := _only_text(self.inner, tag.encode())) is not None:
            return plain
        element = self.child(namespace, tag)
        return None if element is None else str(element)

    @property
    def element(self) -> domish.Element:
        """The stanza as a tree, parsed on first use. Read it, do not change it."""
        if self._element is None:
            from mongoosetw.xmpp.tree import parse_element

            self._element = parse_element(self.to_bytes())
        return self._element

    @property
    def payload(self) -> domish.Element | None:
        """The first child element (of an iq request: the only one)."""
        return self.element.firstChildElement() if self.children else None

    @property
    def body(self) -> str | None:
        """The text of a message's ``<body/>`` (RFC 6121 §5.2.3), ``None`` without one."""
        return self.child_text(ns.CLIENT, "body")

    def to_bytes(self) -> bytes:
        """The stanza as UTF-8 XML for a stream whose default namespace is ``jabber:client``."""
        if self._xml is None:
            self._xml = self._serialised("")
        return self._xml

    def shrink(self) -> None:
        """Drops what can be made again, for a stanza that is kept for long."""
        self._inner = self.inner
        self._raw = self._element = self._xml = None

    def forwarded(self) -> bytes:
        """The stanza with its namespace declared, to be put into another (XEP-0297)."""
        return self._serialised(" xmlns='jabber:client'")

    def _serialised(self, declaration: str) -> bytes:
        kind = self.kind
        head = f"<{kind}{declaration}"
        if self.from_ is not None:
            head += f" from='{escape(str(self.from_))}'"
        if self.to is not None:
            head += f" to='{escape(str(self.to))}'"
        if self.type:
            head += f" type='{escape(self.type)}'"
        if self.id:
            head += f" id='{escape(self.id)}'"
        if self.lang is not None:
            head += f" xml:lang='{escape(self.lang)}'"
        if not self.inner:
            return f"{head}/>".encode()
        return b"%b>%b</%b>" % (head.encode(), self.inner, kind.encode())

    def copy(
        self,
        *,
        to: JID | None = _UNSET,
        from_: JID | None = _UNSET,
        type: str = _UNSET,
        id: str = _UNSET,
        lang: str | None = _UNSET,
        inner: bytes | str = _UNSET,
    ) -> "Stanza":
        """The same stanza with some of it replaced."""
        same_content = inner is _UNSET
        stanza = Stanza(
            self.kind,
            self.to if to is _UNSET else to,
            self.from_ if from_ is _UNSET else from_,
            self.type if type is _UNSET else type,
            self.id if id is _UNSET else id,
            self.lang if lang is _UNSET else lang,
            self.known_children if same_content else None,
            self.inner if same_content else serialise(inner),
        )
        stanza.receipt = self.receipt
        stanza.log = self.log
        return stanza

    def serialised_copy(self, to: JID | None, xml: bytes) -> "Stanza":
        """The same stanza with another address; ``xml`` is what :meth:`to_bytes` answers."""
        stanza = Stanza.__new__(Stanza)
        stanza.kind = self.kind
        stanza.to = to
        stanza.from_ = self.from_
        stanza.type = self.type
        stanza.id = self.id
        stanza.lang = self.lang
        stanza.known_children = self.known_children
        stanza._inner = self._inner
        stanza._raw = self._raw
        stanza._span = self._span
        stanza._element = None
        stanza._xml = xml
        stanza.receipt = self.receipt
        stanza.log = self.log
        return stanza

    def with_child(self, name: Name, xml: bytes) -> "Stanza":
        """The same stanza with one element more at its end.

        :param name: of the element ``xml``, which declares its namespace.
        """
        return self._extended((*self.children, name), xml)

    def extend(self, children: tuple[Name, ...], xml: bytes) -> "Stanza":
        """This stanza with one element more at its end, or where that is dear, a copy.

        For the server itself, at the end of a stanza's way: whoever has it sees the change.

        :param children: the names of all children together.
        """
        whole, (start, end) = self._xml, self._span
        if whole is None or whole is not self._raw or start >= end:
            return self._extended(children, xml)
        self._xml = self._raw = whole[:end] + xml + whole[end:]
        self._span = (start, end + len(xml))
        self._inner = self._element = None
        self.known_children = children
        return self

    def _extended(self, children: tuple[Name, ...], xml: bytes) -> "Stanza":
        whole = self._xml
        stanza = self.copy(inner=self.inner + xml)
        if whole is not None and self.inner:
            end = whole.rfind(b"</")
            stanza._xml = whole[:end] + xml + whole[end:]
        stanza.known_children = children
        return stanza

    def result(self, payload: bytes | str | domish.Element | None = b"") -> "Stanza":
        """The answer to this iq request (RFC 6120 §8.2.3)."""
        return Stanza.make(
            "iq",
            to=self.from_,
            from_=self.to,
            type="result",
            id=self.id,
            inner=serialise(payload),
        )

    def error(self, error: StanzaError | str) -> "Stanza":
        """The error reply to this stanza, with its payload (RFC 6120 §8.3.1)."""
        if isinstance(error, str):
            error = StanzaError(error)
        return Stanza(
            self.kind,
            self.from_,
            self.to,
            "error",
            self.id,
            None,
            (*self.children, (ns.CLIENT, "error")),
            self.inner + error_element(error),
        )

    def __repr__(self) -> str:
        return f"<Stanza {self.kind} {self.type or '-'} from {self.from_} to {self.to}>"


def error_element(error: StanzaError) -> bytes:
    """The ``<error/>`` child of an error stanza (RFC 6120 §8.3.2)."""
    text = ""
    if error.text:
        text = f"<text xmlns='{ns.STANZAS}' xml:lang='en'>{escape(error.text)}</text>"
    head = f"<error type='{error.type}'><{error.condition} xmlns='{ns.STANZAS}'/>{text}"
    return head.encode() + error.app + b"</error>"


def _only_text(inner: bytes, tag: bytes) -> str | None:
    """The text of the child ``<tag>`` if it can be cut out without parsing, else ``None``."""
    # Another element of this name, with or without a prefix, might be the one that is meant
    if inner.count(b"<" + tag) != 1 or b":" + tag in inner or b"<!" in inner:
        return None
    opening = b"<%b>" % tag
    start = inner.find(opening)
    if start < 0:
        return None
    start += len(opening)
    end = inner.find(b"<", start)
    text = inner[start:end]
    if b"&" in text or b"\r" in text or not inner.startswith(b"</%b>" % tag, end):
        return None
    return text.decode()


def _child_names(inner: bytes) -> tuple[Name, ...]:
    if not inner:
        return ()
    from mongoosetw.xmpp.whole import child_names

    return child_names(inner)
