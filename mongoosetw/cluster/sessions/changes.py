"""What nodes tell one another of their sessions, as bytes.

A frame is a head and records behind one another::

    kind (1 byte)  number (8)  seen (8)

``number`` counts the frames of one link and direction that say something new, ``seen`` those of the
other direction that had arrived. Numbers are big-endian.
"""

import struct
from enum import IntEnum
from functools import lru_cache
from typing import Final, NamedTuple

from mongoosetw.hooks.c2s import SessionLike

_HEAD: Final = struct.Struct("!BQQ")
_CLOSED: Final = struct.Struct("!BQ")
_OPENED: Final = struct.Struct("!BQBbHH")
_OPEN: Final = 1
_CLOSE: Final = 2
_REPLACED: Final = 3
_SID: Final = struct.Struct("!Q")
_SECURE: Final = 1
_AVAILABLE: Final = 2
_CONTINUES: Final = 4


class Kind(IntEnum):
    """What a frame is for.

    :cvar BEGIN: all sessions of the node will follow.
    :cvar PORTION: some of them.
    :cvar COMPLETE: that were all.
    :cvar CHANGES: what has happened just now.
    :cvar DOMAIN: those of the domain that was asked for were all told.
    :cvar MISSED: a session of the receiver's, which the node takes for the one with its address
        since now: it has not been told of the node's sessions.
    :cvar SEEN: nothing new; the head says how much has arrived.
    :cvar ASK: tell all sessions anew, or those of a domain.
    :cvar WATCHES: in which Redis the node has said of whom it wants to be told.
    :cvar UNASKED: what has happened, as CHANGES, told to all.
    :cvar REWRITTEN: sessions that were there before, and were not to be found in Redis.
    """

    BEGIN = 1
    PORTION = 2
    COMPLETE = 3
    CHANGES = 4
    DOMAIN = 5
    MISSED = 6
    SEEN = 7
    ASK = 8
    WATCHES = 9
    UNASKED = 10
    REWRITTEN = 11


NUMBERED: Final = frozenset(
    {Kind.BEGIN, Kind.PORTION, Kind.COMPLETE, Kind.CHANGES, Kind.DOMAIN,
     Kind.MISSED}
)  # fmt: skip
"""Frames that say something new."""


class BadFrame(ValueError):
    """A frame that no node of ours has made."""


class Frame(NamedTuple):
    """A frame, its records still as bytes."""

    kind: Kind
    number: int
    seen: int
    body: bytes


class Opened(NamedTuple):
    """A session as it is now: a new one, or one that has changed.

    :ivar continues: the sid that it had on the node that it comes from, 0 if it has not moved.
    """

    sid: int
    local: str
    domain: str
    resource: str
    priority: int | None
    flags: frozenset[str]
    secure: bool
    continues: int = 0


class Closed(NamedTuple):
    """A session is over.

    :ivar replaced: by one of another node, which has its address.
    """

    sid: int
    replaced: bool


def pack(kind: Kind, number: int, seen: int, body: bytes = b"") -> bytes:
    """Makes a frame."""
    return _HEAD.pack(kind, number, seen) + body


def unpack(payload: bytes) -> Frame:
    """Takes a frame apart.

    :raises BadFrame: it is none.
    """
    try:
        kind, number, seen = _HEAD.unpack_from(payload)
        return Frame(Kind(kind), number, seen, payload[_HEAD.size :])
    except (struct.error, ValueError) as error:
        raise BadFrame(str(error)) from error


def opened(session: SessionLike) -> bytes:
    """The record of a session as it is now."""
    jid = session.jid.text.encode()
    flags = ",".join(sorted(session.flags)).encode() if session.flags else b""
    available = session.available
    bits = _SECURE * session.secure | _AVAILABLE * available
    before = b""
    if session.continues:
        bits |= _CONTINUES
        before = _SID.pack(session.continues)
    priority = session.priority or 0 if available else 0
    head = _OPENED.pack(_OPEN, session.sid, bits, priority, len(flags), len(jid))
    return b"".join((head, flags, jid, before))


def closed(sid: int, *, replaced: bool = False) -> bytes:
    """The record of the end of a session."""
    return _CLOSED.pack(_REPLACED if replaced else _CLOSE, sid)


def records(body: bytes) -> list[Opened | Closed]:
    """What a frame says.

    :raises BadFrame: it cannot be read.
    """
    found: list[Opened | Closed] = []
    position, end = 0, len(body)
    try:
        while position < end:
            if body[position] in (_CLOSE, _REPLACED):
                op, sid = _CLOSED.unpack_from(body, position)
                found.append(Closed(sid, op == _REPLACED))
                position += _CLOSED.size
            else:
                position = _read_opened(body, position, found)
    except (struct.error, UnicodeDecodeError) as error:
        raise BadFrame(str(error)) from error
    return found


def _read_opened(body: bytes, position: int, found: list[Opened | Closed]) -> int:
    """Reads a record; returns where the next one begins."""
    flags: int
    length: int
    op, sid, bits, priority, flags, length = _OPENED.unpack_from(body, position)
    start = position + _OPENED.size
    middle, end = start + flags, start + flags + length
    if op != _OPEN or end > len(body):
        raise BadFrame(f"record {op} is none, or ends behind its frame")
    # The parts were prepared by the node that has the session: splitting is enough (RFC 7622 §3.1)
    continues = 0
    if bits & _CONTINUES:
        (continues,) = _SID.unpack_from(body, end)
    address, _, resource = body[middle:end].decode().partition("/")
    local, _, domain = address.partition("@")
    if not (local and domain and resource):
        raise BadFrame("a session without a full JID")
    found.append(
        Opened(
            sid, local, domain, resource,
            priority if bits & _AVAILABLE else None, _flags(body[start:middle]),
            bool(bits & _SECURE), continues,
        )
    )  # fmt: skip
    return end + _SID.size * bool(continues)


@lru_cache(4096)
def _flags(data: bytes) -> frozenset[str]:
    """Equal sets of flags are one: there are few different ones, and many sessions."""
    return frozenset(data.decode().split(",")) if data else frozenset()
