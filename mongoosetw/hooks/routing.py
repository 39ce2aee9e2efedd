"""Hooks on a stanza's way from its sender to its recipient."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from mongoosetw.hooks.bus import Hook
from mongoosetw.hooks.c2s import SessionLike
from mongoosetw.xmpp.jid import JID
from mongoosetw.xmpp.stanza import Stanza

if TYPE_CHECKING:  # types only
    from mongoosetw.host import Host
    from mongoosetw.messagelog import Entry


@dataclass(slots=True)
class FilterPacket(Hook):
    """A stanza enters the router (global hook). STOP = drop it; handlers may replace it."""

    mongooseim: ClassVar[str] = "filter_packet"
    fails_closed: ClassVar[bool] = True
    stanza: Stanza


@dataclass(slots=True)
class FilterLocalPacket(Hook):
    """A stanza is for a domain that is served here. STOP = drop it, or it was taken."""

    mongooseim: ClassVar[str] = "filter_local_packet"
    may_wait: ClassVar[bool] = True
    fails_closed: ClassVar[bool] = True
    stanza: Stanza
    host: "Host"


@dataclass(slots=True)
class OfflineMessage(Hook):
    """A message found no available resource. STOP = stored; otherwise it is bounced."""

    mongooseim: ClassVar[str] = "offline_message"
    may_wait: ClassVar[bool] = True
    fails_closed: ClassVar[bool] = True
    stanza: Stanza
    host: "Host"
    user: JID


@dataclass(slots=True)
class UnacknowledgedMessage(Hook):
    """A message was written to a session that ended before its client acknowledged it."""

    mongooseim: ClassVar[str] = "unacknowledged_message"
    stanza: Stanza
    session: SessionLike


@dataclass(slots=True)
class MessagesAcknowledged(Hook):
    """A client has acknowledged messages that are in the message log (XEP-0198)."""

    session: SessionLike
    entries: "list[Entry]"


@dataclass(slots=True)
class ArchivePageSent(Hook):
    """A client has been sent messages of its own archive, by their ids."""

    session: SessionLike
    ids: list[int]


@dataclass(slots=True)
class MessagesWait(Hook):
    """Messages have begun to wait in the message log for a user of whom there are sessions.

    :ivar here: sessions of this node are meant; otherwise that of any node that is next to take
        messages.
    :ivar missed: a session of this node, for whose own address some may have been on their way.
    """

    user: JID
    here: bool
    missed: SessionLike | None = None
