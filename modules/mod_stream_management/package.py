"""A session as bytes, on its way to another node; and what nodes say to one another about it.

A package is a head, the lengths of its texts and the texts, and then each stanza that the client
has not acknowledged: when it was sent (8), its place in the message log (8, 0 for none), bits (1),
length (4), bytes.
"""

import json
import struct
from dataclasses import dataclass, field
from typing import Any, Final

from mongoosetw.xmpp.errors import StreamError
from mongoosetw.xmpp.jid import JID, InvalidJID
from mongoosetw.xmpp.sm import Counts

_VERSION: Final = 1
_HEAD: Final = struct.Struct("!BBbQQQQIddd6I")
_ITEM: Final = struct.Struct("!dQBI")
_REFUSAL: Final = struct.Struct("!Bq")
_SECURE: Final = 1
_INACTIVE: Final = 2
_SHOWN: Final = 1
_PACKAGE: Final = b"\0"
_REFUSED: Final = 1
_ENDED: Final = 2


class BadPackage(ValueError):
    """What another node has sent is no session."""


class Refused(Exception):
    """A session is not resumed.

    :ivar condition: why, as a stanza error has it.
    :ivar h: how many of the client's stanzas were handled, if that is known.
    :ivar node: where the session has gone; empty if it has not.
    """

    def __init__(self, condition: str, h: int | None = None, node: str = "") -> None:
        super().__init__(condition)
        self.condition = condition
        self.h = h
        self.node = node


@dataclass(frozen=True, slots=True)
class Item:
    """A stanza that the client has not acknowledged.

    :ivar at: when it was sent, in seconds since 1970.
    :ivar log: its id in the message log, 0 if it is not there.
    :ivar shown: see :class:`mongoosetw.messagelog.Entry`.
    """

    data: bytes
    at: float
    log: int = 0
    shown: bool = False


@dataclass(frozen=True, slots=True)
class Package:
    """All that a node has to know of a session to go on with it.

    :ivar age: seconds since it began, and ``silent`` since its client has sent something.
    :ivar left: seconds that it waits for its client.
    :ivar timeout: seconds that it waits each time.
    :ivar state: what modules have put into it.
    """

    jid: JID
    sid: int
    resume_id: str
    counts: Counts
    timeout: int
    left: float
    age: float = 0.0
    silent: float = 0.0
    presence: bytes = b""
    priority: int | None = None
    flags: frozenset[str] = frozenset()
    secure: bool = False
    inactive: bool = False
    address: str = ""
    queue: tuple[Item, ...] = ()
    state: dict[str, Any] = field(default_factory=dict)

    def pack(self) -> bytes:
        """As bytes."""
        flags = "\0".join(sorted(self.flags))
        words = (str(self.jid), self.resume_id, flags, self.address, json.dumps(self.state))
        texts = (*(word.encode() for word in words), self.presence)
        bits = _SECURE * self.secure | _INACTIVE * self.inactive
        counts = self.counts.received, self.counts.sent, self.counts.acknowledged
        times = self.timeout, self.left, self.age, self.silent
        head = _HEAD.pack(
            _VERSION, bits, self.priority or 0, self.sid, *counts, *times, *map(len, texts)
        )
        return b"".join((head, *texts, *map(_packed, self.queue)))


def _packed(item: Item) -> bytes:
    bits = _SHOWN * item.shown
    return _ITEM.pack(item.at, item.log, bits, len(item.data)) + item.data


def unpack(payload: bytes) -> Package:
    """The session that another node has sent.

    :raises BadPackage: it is none.
    """
    try:
        return _unpack(payload)
    except (struct.error, UnicodeDecodeError, InvalidJID, json.JSONDecodeError) as error:
        raise BadPackage(str(error)) from error


def _unpack(payload: bytes) -> Package:
    version, bits, priority, sid, *numbers = _HEAD.unpack_from(payload)
    if version != _VERSION:
        raise BadPackage(f"version {version}")
    received, sent, acknowledged, timeout, left, age, silent, *lengths = numbers
    texts: list[bytes] = []
    position = _HEAD.size
    for length in lengths:
        texts.append(payload[position : position + length])
        position += length
    jid, resume_id, flags, address, state = (text.decode() for text in texts[:5])
    return Package(
        jid=JID.parse(jid),
        sid=sid,
        resume_id=resume_id,
        counts=Counts(received, sent, acknowledged),
        timeout=timeout,
        left=left,
        age=age,
        silent=silent,
        presence=texts[5],
        priority=priority if texts[5] else None,
        flags=frozenset(flags.split("\0") if flags else ()),
        secure=bits & _SECURE > 0,
        inactive=bits & _INACTIVE > 0,
        address=address,
        queue=_items(payload, position),
        state=json.loads(state),
    )


def _items(payload: bytes, position: int) -> tuple[Item, ...]:
    found = []
    while position < len(payload):
        at, log, bits, length = _ITEM.unpack_from(payload, position)
        position += _ITEM.size
        data = payload[position : position + length]
        if len(data) != length:
            raise BadPackage("it ends too early")
        found.append(Item(data, at, log, bits & _SHOWN > 0))
        position += length
    return tuple(found)


# -- questions and answers


def pack_question(user: JID, previous: str, h: str) -> bytes:
    """Asks for a session."""
    return "\0".join((str(user), previous, h)).encode()


def unpack_question(payload: bytes) -> tuple[JID, dict[str, str]]:
    """Whose session is asked for, and the attributes of ``<resume/>``."""
    user, previous, h = payload.decode().split("\0")
    return JID.parse(user), {"previd": previous, "h": h}


def given(package: bytes) -> bytes:
    """The answer: here is the session."""
    return _PACKAGE + package


def refusal(error: "Refused | StreamError") -> bytes:
    """The answer: there is none; or the client's stream has to end."""
    if isinstance(error, Refused):
        h = -1 if error.h is None else error.h
        return _REFUSAL.pack(_REFUSED, h) + f"{error.condition}\0{error.node}".encode()
    words = error.condition.encode(), (error.text or "").encode(), error.app
    return _REFUSAL.pack(_ENDED, 0) + b"\0".join(words)


def answer(payload: bytes) -> Package:
    """The session that was asked for.

    :raises Refused: it is not there, or cannot be resumed.
    :raises StreamError: the client's stream has to end.
    :raises BadPackage: this is no answer.
    """
    if payload[:1] == _PACKAGE:
        return unpack(payload[1:])
    try:
        kind, h = _REFUSAL.unpack_from(payload)
    except struct.error as error:
        raise BadPackage(str(error)) from error
    words = payload[_REFUSAL.size :].split(b"\0")
    if kind == _REFUSED:
        condition, node = (word.decode() for word in words)
        raise Refused(condition, None if h < 0 else h, node)
    raise StreamError(words[0].decode(), words[1].decode() or None, app=words[2])
