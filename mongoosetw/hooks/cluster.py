"""Hooks of sessions that other nodes have."""

from dataclasses import dataclass
from typing import ClassVar

from mongoosetw.hooks.bus import Hook
from mongoosetw.hooks.c2s import SessionLike
from mongoosetw.xmpp.stanza import Stanza


@dataclass(slots=True)
class SessionsFound(Hook):
    """Available sessions of another node have become known.

    :ivar missed: sessions of this node that are available, and of whose presence the other node did
        not know when it told of its sessions': the two have not seen each other.
    """

    found: list[SessionLike]
    missed: list[SessionLike]


@dataclass(slots=True)
class SessionsLost(Hook):
    """Another node is gone, and its sessions with it.

    :ivar left: it said goodbye.
    """

    lost: list[SessionLike]
    node: str
    left: bool


@dataclass(slots=True)
class MessageLeaves(Hook):
    """A message is about to leave for a session of another node.

    STOP = not sent, it is kept; handlers may replace ``stanza``.
    """

    fails_closed: ClassVar[bool] = True
    stanza: Stanza
    session: SessionLike
