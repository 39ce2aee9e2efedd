"""Hooks of rosters and subscriptions (RFC 6121 §2, §3)."""

from collections.abc import Sequence, Set
from dataclasses import dataclass, field
from typing import ClassVar, Protocol

from mongoosetw.hooks.bus import Hook
from mongoosetw.xmpp.jid import JID


class RosterItem(Protocol):
    """What is told of a contact (RFC 6121 §2.1.2)."""

    @property
    def jid(self) -> JID:
        """The contact's bare JID."""

    @property
    def name(self) -> str:
        """What the user calls the contact; may be empty."""

    @property
    def groups(self) -> tuple[str, ...]:
        """The groups that the contact is in, sorted."""

    @property
    def subscription(self) -> str:
        """``none``, ``to``, ``from`` or ``both``."""


@dataclass(slots=True)
class RosterGet(Hook):
    """Asks for a user's roster; handlers append roster items."""

    mongooseim: ClassVar[str] = "roster_get"
    may_wait: ClassVar[bool] = True
    user: JID
    items: list[RosterItem] = field(default_factory=list)


@dataclass(slots=True)
class SubscriptionLists(Hook):
    """Asks whose presence ``user`` sees (``to_them``) and who sees theirs (``from_them``).

    Whoever answers this answers :class:`MaySee`, too.
    """

    mongooseim: ClassVar[str] = "roster_get_subscription_lists"
    may_wait: ClassVar[bool] = True
    user: JID
    to_them: frozenset[JID] = frozenset()
    from_them: frozenset[JID] = frozenset()

    def add(self, to_them: frozenset[JID], from_them: frozenset[JID]) -> None:
        """Adds contacts of each direction; the sets of the only handler are not even copied."""
        self.to_them = self.to_them | to_them if self.to_them else to_them
        self.from_them = self.from_them | from_them if self.from_them else from_them


@dataclass(slots=True)
class MaySee(Hook):
    """Asks which ``users`` may see the presence of any of ``others``; handlers fill ``found``.

    For many users of whom few may: the lists of the others need not be asked for. A user whose
    lists are not in memory counts as one who may.
    """

    users: Sequence[JID]
    others: Set[JID]
    found: set[JID] = field(default_factory=set)


@dataclass(slots=True)
class RosterChanged(Hook):
    """A roster item changed; ``subscription`` is ``remove`` for one that is gone."""

    mongooseim: ClassVar[str] = "roster_push"
    user: JID
    contact: JID
    subscription: str


@dataclass(slots=True)
class RosterChangedElsewhere(Hook):
    """Another node has changed a user's roster; what is remembered of it may be wrong now."""

    user: JID


@dataclass(slots=True)
class IsSubscribed(Hook):
    """Asks for the subscription between a user and a contact (bare JIDs)."""

    mongooseim: ClassVar[str] = "roster_get_jid_info"
    may_wait: ClassVar[bool] = True
    user: JID
    contact: JID
    subscription: str = "none"
    ask: bool = False
