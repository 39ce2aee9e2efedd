"""The lists of a host's users: loaded, changed, and made to hold."""

from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import replace
from time import monotonic
from typing import Any, TypeVar

from twisted.internet.defer import Deferred, DeferredList, gatherResults

from modules.mod_privacy import rules
from modules.mod_privacy.guard import Guard, Guards, View, activate, active_list
from modules.mod_privacy.rules import Contact, PrivacyList, Roster
from modules.mod_privacy.store import PrivacyStore
from mongoosetw.hooks.c2s import SessionLike
from mongoosetw.hooks.privacy import BlocklistChanged, PrivacyChanged
from mongoosetw.hooks.roster import RosterGet
from mongoosetw.host import Host
from mongoosetw.xmpp.errors import BackendUnavailable
from mongoosetw.xmpp.jid import JID

T = TypeVar("T")
_AT_ONCE = 500


class Lists:
    """What is stored of the users' lists, and what of it is in use.

    :ivar store: where they are kept.
    :ivar guards: what is in use, in memory.
    """

    def __init__(
        self,
        host: Host,
        store: PrivacyStore,
        timed: Callable[[str, float], None] | None,
        changed: Callable[[str], object] = lambda user: None,
    ) -> None:
        """
        :param timed: told of each use of the store, MongooseIM's name of it and the seconds.
        :param changed: told of each user whose lists were changed, for the other nodes.
        """
        self._host = host
        self._changed = changed
        self._timed = timed
        self.store = store
        self.guards = Guards(self._connected)

    def _connected(self, user: JID) -> bool:
        return any(session.local for session in self._host.sessions.of(user))

    async def use(self, function: str, call: Coroutine[Any, Any, T]) -> T:
        """Awaits what the store answers, and has the time told."""
        started = monotonic()
        result = await call
        if self._timed is not None:
            self._timed(function, monotonic() - started)
        return result

    # -- what is in use

    async def load_connected(self) -> None:
        """Reads what is in use of all who are connected: for a module that starts late."""
        users = list({session.bare for session in self._host.sessions.local()})
        for start in range(0, len(users), _AT_ONCE):
            some = users[start : start + _AT_ONCE]
            await gatherResults([Deferred.fromCoroutine(self.guard(user)) for user in some])

    async def guard(self, user: JID) -> Guard | None:
        """What is in use of a user's lists, read if it is not in memory.

        :raises BackendUnavailable: it cannot be read.
        """
        known = self.guards.known
        if user not in known:
            async with self.guards.turn(user):
                if user not in known:
                    guard = await self._read(user)
                    self.guards.put(user, guard)
                    return guard
        return known[user]

    async def _read(self, user: JID) -> Guard | None:
        default = await self.use("get_default_list", self.store.get_default_list(user))
        active: dict[str, PrivacyList] = {}
        for session in self._host.sessions.of(user):
            name = active_list(session)
            if name is not None and name not in active:
                items = await self.use("get_privacy_list", self.store.get_privacy_list(user, name))
                if items is not None:
                    active[name] = PrivacyList(name, items)
                elif session.local:
                    activate(session, None)  # the list was removed
        if default is None and not active:
            return None
        guard = Guard(None if default is None else PrivacyList(*default), active)
        if guard.uses_roster:
            guard.roster = await self._roster(user)
        return guard

    async def _roster(self, user: JID) -> Roster:
        event = RosterGet(user)
        await self._host.hooks.run(event)
        items = event.items
        return {item.jid: Contact(item.subscription, frozenset(item.groups)) for item in items}

    def view(self, session: SessionLike) -> View:
        """What applies to a session now, of a user whose lists are in memory."""
        guard = self.guards.known.get(session.bare) or Guard()
        return View(session.bare, guard.list_for(session), guard.roster)

    def _views(self, user: JID) -> list[tuple[SessionLike, View]]:
        return [(s, self.view(s)) for s in self._host.sessions.of(user) if s.local]

    # -- changes

    async def change(self, user: JID, by: str, change: Callable[[], Awaitable[T]]) -> T:
        """Changes a user's lists, or what is in use of them; it holds when this returns.

        :param change: uses the store or activates lists; what it raises is raised.
        :param by: the module that was asked to do it.
        """
        old = await self.blocklist(user)
        result = await self._apply(user, change)
        new = await self.blocklist(user)
        blocked = [address for address in new if address not in old]
        unblocked = [address for address in old if address not in new]
        if blocked or unblocked:
            self._host.hooks.fire(BlocklistChanged(user, blocked, unblocked, by))
        return result

    async def blocklist(self, user: JID) -> dict[JID, None]:
        """The addresses that a user's default list blocks, in its order (XEP-0191 §5)."""
        guard = await self.guard(user)
        return {} if guard is None else rules.blocklist(guard.default)

    async def _apply(self, user: JID, change: Callable[[], Awaitable[T]]) -> T:
        async with self.guards.turn(user):
            before = self._views(user)
            result = await change()
            if change is not _nothing:
                self._changed(str(user))
            try:
                self.guards.put(user, await self._read(user))
            except BackendUnavailable:
                self.guards.drop(user)  # to be read before the next stanza passes
                raise
        await self._tell(before)
        return result

    async def _tell(self, before: list[tuple[SessionLike, View]]) -> None:
        for session, old in before:
            new = self.view(session)
            if new != old:
                await self._host.hooks.run(PrivacyChanged(session, old, new))

    def forget(self, user: JID) -> None:
        """Drops what is in memory; of a user who is connected it is read again at once."""
        self._host.in_background(self._forget(user))

    async def _forget(self, user: JID) -> None:
        if self._connected(user):
            await self._apply(user, _nothing)
            return
        async with self.guards.turn(user):  # behind whoever reads it at the moment
            self.guards.drop(user)

    def forget_all(self) -> None:
        """Does so for all users."""
        self._host.in_background(self._forget_all())

    async def _forget_all(self) -> None:
        users = list(self.guards.known)
        for start in range(0, len(users), _AT_ONCE):
            some = users[start : start + _AT_ONCE]
            forgotten = [Deferred.fromCoroutine(self._forget(user)) for user in some]
            await DeferredList(forgotten, consumeErrors=True)  # who could not be read is dropped

    def follow_roster(self, user: JID) -> None:
        """Takes a changed roster into account (XEP-0016 §2.2, rule 9)."""
        guard = self.guards.known.get(user)
        if guard is not None and guard.uses_roster:
            self._host.in_background(self._follow_roster(user))

    async def _follow_roster(self, user: JID) -> None:
        async with self.guards.turn(user):
            guard = self.guards.known.get(user)
            if guard is None:
                return
            before = self._views(user)
            self.guards.put(user, replace(guard, roster=await self._roster(user)))
        await self._tell(before)

    async def remove_user(self, user: JID) -> None:
        """Removes all lists of an account."""
        async with self.guards.turn(user):
            await self.store.remove_user(user)
            self._changed(str(user))
            self.guards.put(user, None)

    def closed(self, user: JID) -> None:
        """Lets go of what only a session used that has closed."""
        guard = self.guards.known.get(user)
        if guard is not None and guard.active:
            names = {active_list(session) for session in self._host.sessions.of(user)}
            guard.active = {name: guard.active[name] for name in guard.active if name in names}
            if not guard.active and guard.default is None:
                self.guards.known[user] = None
        self.guards.settle(user)


async def _nothing() -> None:
    """Changes nothing: what is stored has changed already."""
