"""What holds for each user at the moment, kept in memory for those who are connected."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Final

from twisted.internet.defer import DeferredLock

from modules.mod_privacy.rules import Direction, Item, PrivacyList, Roster, kind_of
from mongoosetw.hooks.c2s import SessionLike
from mongoosetw.xmpp.jid import JID
from mongoosetw.xmpp.stanza import Stanza

_ACTIVE: Final = "privacy:"
_CACHED_USERS: Final = 20_000


def active_list(session: SessionLike) -> str | None:
    """The name of the list that a session has made active, None without one."""
    for flag in session.flags:
        if flag.startswith(_ACTIVE):
            return flag.removeprefix(_ACTIVE)
    return None


def activate(session: SessionLike, name: str | None) -> None:
    """Makes a list the session's active one; a flag, for other nodes have to know it."""
    old = active_list(session)
    if old is not None:
        session.flag(f"{_ACTIVE}{old}", False)
    if name is not None:
        session.flag(f"{_ACTIVE}{name}")


@dataclass(slots=True)
class Guard:
    """The lists of a user that are in use. Users without any have none.

    :ivar active: the lists that sessions have made active, by name.
    :ivar roster: the contacts, if a list asks for their group or subscription.
    """

    default: PrivacyList | None = None
    active: dict[str, PrivacyList] = field(default_factory=dict)
    roster: Roster = field(default_factory=dict)

    @property
    def uses_roster(self) -> bool:
        """Whether one of the lists asks for groups or subscriptions."""
        default = self.default is not None and self.default.uses_roster
        return default or any(active.uses_roster for active in self.active.values())

    def list_for(self, session: SessionLike | None) -> PrivacyList | None:
        """What applies to a session: its active list, else the default one (§2.2, rules 1, 2)."""
        if not self.active or session is None:
            return self.default
        return self.active.get(active_list(session) or "", self.default)


UNKNOWN: Final = Guard()
"""Stands for a user whose lists are not in memory."""


@dataclass(slots=True)
class View:
    """What applies to one session, as it was when this was made."""

    user: JID
    list: PrivacyList | None
    roster: Roster

    def refusal(self, stanza: Stanza, direction: Direction) -> Item | None:
        """The item that refuses a stanza that comes in or goes out; None: it may pass."""
        peer = stanza.from_ if direction == "in" else stanza.to
        if self.list is None or peer is None or is_own(self.user, peer):
            return None
        item = self.list.match(peer, kind_of(stanza, direction), self.roster)
        return None if item is None or item.allow else item

    def allows_presence(self, contact: JID, direction: Direction) -> bool:
        """Whether presence notifications pass, from or to a contact."""
        if self.list is None or is_own(self.user, contact):
            return True
        return self.list.allows(contact, f"presence-{direction}", self.roster)


def is_own(user: JID, peer: JID) -> bool:
    """Whether rules do not concern it: the user's own resources (§2.1) and own server."""
    return peer.domain == user.domain and (peer.local is None or peer.local == user.local)


class Guards:
    """Guards by user: of all who are connected here, and of a bounded number of others.

    :ivar known: None for a user without lists in use; who is missing has not been loaded.
    """

    def __init__(self, connected: Callable[[JID], bool]) -> None:
        """:param connected: whether a user has sessions here; their guards stay."""
        self.known: dict[JID, Guard | None] = {}
        self._connected = connected
        self._idle: dict[JID, None] = {}
        self._locks: dict[JID, DeferredLock] = {}

    @asynccontextmanager
    async def turn(self, user: JID) -> AsyncIterator[None]:
        """Waits until nobody else reads or changes the user's lists."""
        lock = self._locks.setdefault(user, DeferredLock())
        await lock.acquire()
        try:
            yield
        finally:
            lock.release()
            if not lock.locked:
                self._locks.pop(user, None)

    def put(self, user: JID, guard: Guard | None) -> None:
        """Keeps what was loaded."""
        self.known[user] = guard
        self.settle(user)

    def settle(self, user: JID) -> None:
        """Notes that the user has come or gone; who has gone may be dropped."""
        self._idle.pop(user, None)
        if user in self.known and not self._connected(user):
            self._idle[user] = None
            if len(self._idle) > _CACHED_USERS:
                oldest = next(iter(self._idle))
                del self._idle[oldest], self.known[oldest]

    def drop(self, user: JID) -> None:
        """Forgets a user's lists."""
        self._idle.pop(user, None)
        self.known.pop(user, None)
