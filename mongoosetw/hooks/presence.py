"""Hooks of presence (RFC 6121 §4)."""

from collections.abc import Collection
from dataclasses import dataclass
from typing import ClassVar

from mongoosetw.hooks.bus import Hook
from mongoosetw.hooks.c2s import SessionLike
from mongoosetw.xmpp.jid import JID
from mongoosetw.xmpp.stanza import Stanza


@dataclass(slots=True)
class UserAvailable(Hook):
    """A session became available: its initial presence (RFC 6121 §4.2)."""

    mongooseim: ClassVar[str] = "user_available"
    may_wait: ClassVar[bool] = True
    session: SessionLike
    stanza: Stanza


@dataclass(slots=True)
class PresenceChanged(Hook):
    """An available session changed its presence or priority."""

    session: SessionLike
    stanza: Stanza


@dataclass(slots=True)
class UnsetPresence(Hook):
    """A session that had been available went unavailable, or was lost."""

    mongooseim: ClassVar[str] = "unset_presence"
    session: SessionLike
    status: str


@dataclass(slots=True)
class PresenceRecipients(Hook):
    """Presence of a session is about to go out by the server's own hand: to subscribers, to who
    asks for it. Handlers put those who may see it in place of ``recipients``.
    """

    fails_closed: ClassVar[bool] = True
    session: SessionLike
    recipients: Collection[JID]
