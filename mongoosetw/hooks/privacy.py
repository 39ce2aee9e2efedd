"""Hooks of privacy lists and blocking (XEP-0016, XEP-0191)."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal, Protocol

from mongoosetw.hooks.bus import Hook
from mongoosetw.hooks.c2s import SessionLike
from mongoosetw.xmpp.jid import JID
from mongoosetw.xmpp.stanza import Stanza


@dataclass(slots=True)
class PrivacyCheck(Hook):
    """Asks whether ``user`` lets this stanza in or out; handlers clear ``allowed``.

    What a client sends, and what is delivered to one, has been checked by itself: ask for
    stanzas that go another way, such as copies and notifications.

    :ivar user: a full JID asks for this session, a bare one for the account as a whole.
    """

    mongooseim: ClassVar[str] = "privacy_check_packet"
    may_wait: ClassVar[bool] = True
    fails_closed: ClassVar[bool] = True
    user: JID
    stanza: Stanza
    direction: Literal["in", "out"]
    allowed: bool = True


class PresenceRules(Protocol):
    """What a session's privacy rules say of presence."""

    def allows_presence(self, contact: JID, direction: Literal["in", "out"]) -> bool:
        """Whether presence notifications of a contact come in, or the user's go out to it."""


@dataclass(slots=True)
class PrivacyChanged(Hook):
    """Other privacy rules than before apply to a session; those who share presence react."""

    mongooseim: ClassVar[str] = "privacy_updated_list"
    may_wait: ClassVar[bool] = True
    session: SessionLike
    before: PresenceRules
    after: PresenceRules


@dataclass(slots=True)
class BlocklistChanged(Hook):
    """A user has blocked or unblocked addresses (XEP-0191).

    :ivar by: the module that was asked to do it.
    """

    user: JID
    blocked: Sequence[JID]
    unblocked: Sequence[JID]
    by: str
