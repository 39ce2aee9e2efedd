"""Hooks of sessions that other nodes have, and of messages for them."""

from dataclasses import dataclass
from typing import ClassVar

from mongoosetw.hooks.bus import Hook
from mongoosetw.hooks.c2s import SessionLike
from mongoosetw.xmpp.stanza import Stanza


@dataclass(slots=True)
class SessionsFound(Hook):
    """Available sessions of another node have become known, and some here have missed them.

    Their node did not know of the missed ones when it broadcast their presence; the same is found
    out there the other way round. Fired on the host of the missed sessions only if there are any:
    when a link comes up, for all that are available on the two nodes, and else when sessions on
    both become available at the same time.

    :ivar found: on the other node, of any domain.
    :ivar missed: of this node and host.
    """

    found: list[SessionLike]
    missed: list[SessionLike]


@dataclass(slots=True)
class SessionTakesMessages(Hook):
    """A session of another node has become available with a priority that is not negative."""

    session: SessionLike


@dataclass(slots=True)
class SessionsLost(Hook):
    """Sessions have gone with their node, whose link is down; they are not registered any more.

    :ivar lost: of this host.
    :ivar node: the name of the node.
    :ivar left: whether it said that it would go.
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
