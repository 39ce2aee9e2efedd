"""Hooks of sessions that other nodes have, and of messages for them."""

from dataclasses import dataclass
from typing import Any, ClassVar

from mongoosetw.hooks.bus import Hook
from mongoosetw.hooks.c2s import SessionLike
from mongoosetw.xmpp.jid import JID
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
    :ivar over: they had gone before, but what was said last of them may be lost.
    :ivar missed: the sessions here that may have missed it; None: all.
    """

    lost: list[SessionLike]
    node: str
    left: bool
    over: bool = False
    missed: list[SessionLike] | None = None


@dataclass(slots=True)
class SessionsCleanup(Hook):
    """Sessions have gone with their node, and what they have left has to be cleaned up.

    Fired on one of the nodes that are left, once for each session, when the lost one has had some
    seconds to come back. (After a netsplit each half does it, and the sessions may still be there.)

    :ivar sessions: of this host; nobody has their addresses now.
    :ivar node: the name of the node.
    :ivar lost_at: when it was lost, in seconds since 1970.
    """

    mongooseim: ClassVar[str] = "sessions_cleanup"
    may_wait: ClassVar[bool] = True
    repeatable: ClassVar[bool] = True
    sessions: list[SessionLike]
    node: str
    lost_at: float


@dataclass(slots=True)
class MessageLeaves(Hook):
    """A message is about to leave for a session of another node.

    STOP = not sent, it is kept; handlers may replace ``stanza``.

    :ivar shared: it is for the account, and other sessions get it, too.
    """

    fails_closed: ClassVar[bool] = True
    stanza: Stanza
    session: SessionLike
    shared: bool = False


@dataclass(slots=True)
class SessionPacks(Hook):
    """A session of this node, whose client is not connected now, is about to move to another one.

    Handlers stop what they do for it, write what they hold back, and put what they have to know
    there into ``state``, under their module's name; it travels as JSON. Either
    :class:`SessionMoved` or, if it stays after all, :class:`SessionUnpacks` follows.
    """

    session: SessionLike
    state: dict[str, Any]


@dataclass(slots=True)
class SessionUnpacks(Hook):
    """A session that was packed is registered here: it has moved to this node, or stays on it.

    Before it is registered on another node, :class:`~mongoosetw.hooks.c2s.OpenSession` is
    fired there, for what has to be in memory.

    :ivar state: what handlers of :class:`SessionPacks` have put into it.
    """

    session: SessionLike
    state: dict[str, Any]


@dataclass(slots=True)
class SessionMoved(Hook):
    """A session of this node goes on at another one: what was kept for it here can go.

    ``SessionClosed`` is not fired for it here.
    """

    session: SessionLike


@dataclass(slots=True)
class PresenceUncertain(Hook):
    """A session of this node may have missed presence, or have got it too late.

    That happens when sessions move between nodes while links are lost, or slow.

    :ivar sender: whose presence that is, a full JID; None: of anybody at all.
    """

    session: SessionLike
    sender: JID | None = None


@dataclass(slots=True)
class PresenceOverdue(Hook):
    """Sessions have changed their presence while those of another node were not all known here.

    :ivar sessions: of this node and host.
    :ivar others: of the other node, of any domain; they see these as they were before, if at all.
    """

    sessions: list[SessionLike]
    others: list[SessionLike]


@dataclass(slots=True)
class NodeLeaves(Hook):
    """This node is about to go, and takes no more clients.

    Handlers give what they keep for clients that are not connected to other nodes.
    """

    may_wait: ClassVar[bool] = True
