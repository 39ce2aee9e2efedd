"""What nodes send one another for their sessions, as bytes.

A stanza travels in its parts, so that nobody parses XML again::

    op (1)  hops (1)  kind (1)  bits (1)  sid (8)  length of the texts, names and content (4 each)
    the session's full JID, to, from, type, id, lang: separated by NUL, which no XML has
    the names of the children, likewise
    its place in the message log, if it has one: id (8)  for whom it is held (8)  bits (1)
    node that wrote it (1)
    the content

Everything else is a few words: op (1), hops (1), a number (8), length of the words (4), and the
words, separated by NUL.
"""

import struct
from enum import IntEnum
from typing import Final, TypeVar

from mongoosetw.messagelog import Entry
from mongoosetw.xmpp.jid import JID, InvalidJID
from mongoosetw.xmpp.stanza import Name, Stanza

_HEAD: Final = struct.Struct("!BBBBQIII")
_LOG: Final = struct.Struct("!QQBB")
_WORDS: Final = struct.Struct("!BBQI")
_TEXTS: Final = 6
_KINDS: Final = ("message", "presence", "iq")
_KIND_NUMBERS: Final = {kind: number for number, kind in enumerate(_KINDS)}
_CACHED_ROWS: Final = 4096
_CACHED_LENGTH: Final = 512
_rows: dict[tuple[Name, ...], bytes] = {}
_names: dict[bytes, tuple[Name, ...]] = {}
K = TypeVar("K")
V = TypeVar("V")

# Bits of a stanza.
_TO_TARGET: Final = 1
_LANG: Final = 2
_NAMES: Final = 4
_LOGGED: Final = 8
_SHARED: Final = 16
# Bits of its place in the log.
_SHOWN: Final = 1


class BadEnvelope(ValueError):
    """What another node has sent is nothing that a node sends."""


class Op(IntEnum):
    """What is to be done; the first four carry a stanza."""

    DELIVER = 0
    SEND = 1
    WRITE = 2
    ANSWER = 3
    BYTES = 4
    CLOSE = 5
    FLAG = 6
    SHOW = 7
    HIDE = 8
    FENCE = 9
    FENCED = 10
    MISSED = 11
    ROUND = 12


_OPS: Final = tuple(Op)
_LAST_STANZA: Final = Op.ANSWER


class Envelope:
    """A stanza on its way.

    :ivar hops: over how many links it has come.
    :ivar shared: other sessions get it, too.
    :ivar sid: of the session that it is for.
    :ivar target: the session's full JID.
    """

    __slots__ = ("hops", "op", "shared", "sid", "stanza", "target")

    def __init__(
        self, op: Op, hops: int, sid: int, target: JID, stanza: Stanza, *, shared: bool = False
    ) -> None:
        self.op = op
        self.hops = hops
        self.sid = sid
        self.target = target
        self.stanza = stanza
        self.shared = shared


class Words:
    """Anything else.

    :ivar number: a session's sid, or a fence's number.
    """

    __slots__ = ("hops", "number", "op", "words")

    def __init__(self, op: Op, hops: int, number: int, words: tuple[str, ...]) -> None:
        self.op = op
        self.hops = hops
        self.number = number
        self.words = words


def pack_stanza(
    op: Op, hops: int, sid: int, target: JID, stanza: Stanza, node: int, *, shared: bool = False
) -> bytes:
    """A stanza for a session.

    :param node: the number of this node: the writer of the stanza's entry in the log, unless the
        entry names another.
    """
    to, from_, lang, names = stanza.to, stanza.from_, stanza.lang, stanza.known_children
    bits = _SHARED if shared else 0
    if to == target:
        bits |= _TO_TARGET
        to = None
    if lang is not None:
        bits |= _LANG
    row = b""
    if names is not None:
        bits |= _NAMES
        row = _packed_names(names)
    log = b""
    if stanza.log is not None:
        bits |= _LOGGED
        log = _packed_log(stanza.log, node)
    texts = (
        f"{target}\0{to or ''}\0{from_ or ''}\0{stanza.type}\0{stanza.id}\0{lang or ''}".encode()
    )
    kind = _KIND_NUMBERS[stanza.kind]
    inner = stanza.inner
    head = _HEAD.pack(op, hops, kind, bits, sid, len(texts), len(row), len(inner))
    return b"".join((head, texts, row, log, inner))


def pack_words(op: Op, number: int, *words: str, hops: int = 0) -> bytes:
    """Anything else."""
    text = "\0".join(words).encode()
    return _WORDS.pack(op, hops, number, len(text)) + text


def unpack(payload: bytes) -> Envelope | Words:
    """What another node has sent.

    :raises BadEnvelope: it is nothing that a node sends.
    """
    try:
        if payload[0] <= _LAST_STANZA:
            return _unpack_stanza(payload)
        op, hops, number, length = _WORDS.unpack_from(payload)
        text = payload[_WORDS.size :]
        if len(text) != length:
            raise BadEnvelope("it is not as long as it says")
        return Words(_OPS[op], hops, number, tuple(text.decode().split("\0")))
    except (struct.error, IndexError, UnicodeDecodeError, InvalidJID) as error:
        raise BadEnvelope(str(error)) from error


def _unpack_stanza(payload: bytes) -> Envelope:
    op, hops, kind, bits, sid, text_length, names_length, length = _HEAD.unpack_from(payload)
    end = _HEAD.size + text_length
    texts = payload[_HEAD.size : end].decode().split("\0")
    names_end = end + names_length
    inner = len(payload) - length
    if len(texts) != _TEXTS or inner != names_end + (_LOG.size if bits & _LOGGED else 0):
        raise BadEnvelope("its parts are not as long as it says")
    address, to, from_, type_, identifier, lang = texts
    target = JID.parse(address)
    names = _unpacked_names(payload[end:names_end]) if bits & _NAMES else None
    stanza = Stanza(
        _KINDS[kind],
        target if bits & _TO_TARGET else JID.parse(to) if to else None,
        JID.parse(from_) if from_ else None,
        type_,
        identifier,
        lang if bits & _LANG else None,
        names,
        payload[inner:],
    )
    if bits & _LOGGED:
        stanza.log = _unpacked_log(payload, names_end)
    return Envelope(_OPS[op], hops, sid, target, stanza, shared=bits & _SHARED > 0)


def _packed_log(entry: Entry, node: int) -> bytes:
    bits = _SHOWN if entry.shown else 0
    origin = node if entry.origin is None else entry.origin
    return _LOG.pack(entry.id, entry.holder, bits, origin)


def _unpacked_log(payload: bytes, start: int) -> Entry:
    identifier, holder, bits, origin = _LOG.unpack_from(payload, start)
    entry = Entry(identifier, shown=bits & _SHOWN > 0)
    entry.origin = origin
    entry.holder = holder
    return entry


def _packed_names(names: tuple[Name, ...]) -> bytes:
    row = _rows.get(names)
    if row is None:
        row = "\0".join(part for name in names for part in name).encode()
        _keep(_rows, names, row, row)
    return row


def _unpacked_names(row: bytes) -> tuple[Name, ...]:
    names = _names.get(row)
    if names is None:
        parts = row.decode().split("\0") if row else []
        if len(parts) % 2:
            raise BadEnvelope("a name without its namespace")
        names = tuple(zip(parts[::2], parts[1::2], strict=True))
        _keep(_names, row, names, row)
    return names


def _keep(cache: dict[K, V], key: K, value: V, row: bytes) -> None:
    """Remembers a row of names; strangers must not fill the memory with them."""
    if len(row) <= _CACHED_LENGTH:
        if len(cache) >= _CACHED_ROWS:
            cache.clear()
        cache[key] = value
