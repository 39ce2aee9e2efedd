"""Rosters in memory: each is loaded once, and changed by one at a time."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import NamedTuple

from twisted.internet.defer import DeferredLock

from modules.mod_roster.store import Item, RosterStore
from mongoosetw.xmpp.jid import JID


class Lists(NamedTuple):
    """What presence asks of a roster.

    :ivar to_them: contacts whose presence the user sees.
    :ivar from_them: contacts who see the user's.
    :ivar asking: contacts whose request to see it waits for an answer.
    """

    to_them: frozenset[JID]
    from_them: frozenset[JID]
    asking: tuple[JID, ...]


class Contacts:
    """One user's items. :meth:`put` and :meth:`drop` are the only ways to change them.

    :ivar version: of the roster as it is (RFC 6121 §2.6); None while it is not known.
    """

    __slots__ = ("_items", "_lists", "version")

    def __init__(self, items: dict[JID, Item]) -> None:
        self._items = items
        self._lists: Lists | None = None
        self.version: str | None = None

    def __len__(self) -> int:
        return len(self._items)

    def get(self, contact: JID) -> Item | None:
        """The item of a contact."""
        return self._items.get(contact)

    def all(self) -> list[Item]:
        """All items, with requests of people who are not in the roster."""
        return list(self._items.values())

    def listed(self) -> list[Item]:
        """The items that the roster shows."""
        return [item for item in self._items.values() if item.listed]

    @property
    def lists(self) -> Lists:
        """The contacts by what their subscription allows; made again after a change."""
        if self._lists is None:
            states = [(item.jid, item.state) for item in self._items.values()]
            self._lists = Lists(
                frozenset([jid for jid, state in states if state.to]),
                frozenset([jid for jid, state in states if state.from_]),
                tuple([jid for jid, state in states if state.asked]),
            )
        return self._lists

    def put(self, item: Item) -> None:
        """Adds an item, or replaces the contact's."""
        self._items[item.jid] = item
        self._lists = self.version = None

    def drop(self, contact: JID) -> None:
        """Removes the item of a contact, if there is one."""
        self._items.pop(contact, None)
        self._lists = self.version = None


class Rosters:
    """The rosters that were used lately; others are loaded when asked for.

    :param size: how many are kept.
    """

    def __init__(self, store: RosterStore, size: int) -> None:
        self._store = store
        self._size = size
        self._known: dict[JID, Contacts] = {}
        self._locks: dict[JID, DeferredLock] = {}
        self._stale: set[JID] = set()

    def known(self, user: JID) -> Contacts | None:
        """A user's contacts, if they are in memory."""
        return self._known.get(user)

    def use(self, user: JID, function: Callable[[Contacts], None]) -> Awaitable[None] | None:
        """Calls a function with a user's contacts: at once, or when they are loaded."""
        known = self._known.get(user)
        if known is None:
            return self._use_later(user, function)
        function(known)
        return None

    async def _use_later(self, user: JID, function: Callable[[Contacts], None]) -> None:
        function(await self.get(user))

    async def get(self, user: JID) -> Contacts:
        """A user's contacts, to read."""
        known = self._known.get(user)
        if known is not None:
            return known
        async with self.changing(user) as contacts:
            return contacts

    @asynccontextmanager
    async def changing(self, user: JID) -> AsyncIterator[Contacts]:
        """A user's contacts, to change them: who comes meanwhile has to wait.

        Loading waits too, so that it neither happens twice nor reads what is just changing.
        """
        lock = self._locks.setdefault(user, DeferredLock())
        await lock.acquire()
        try:
            known = self._known.get(user)
            yield await self._load(user) if known is None else known
        finally:
            lock.release()
            if not lock.locked:
                self._locks.pop(user, None)
                self._stale.discard(user)

    async def _load(self, user: JID) -> Contacts:
        self._stale.discard(user)
        contacts = Contacts(await self._store.load(user))
        if user in self._stale:  # perhaps read before what another node has changed meanwhile
            return contacts
        if len(self._known) >= self._size:
            del self._known[next(iter(self._known))]
        self._known[user] = contacts
        return contacts

    def forget(self, user: JID) -> None:
        """Has a user's contacts loaded again when they are next asked for."""
        self._known.pop(user, None)
        if user in self._locks:
            self._stale.add(user)

    def forget_all(self) -> None:
        """Has all rosters loaded again when they are next asked for."""
        self._known.clear()
        self._stale.update(self._locks)
