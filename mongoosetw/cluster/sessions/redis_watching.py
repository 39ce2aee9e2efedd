"""Of which users a node knows the sessions, with Redis: of those that it was asked for lately."""

from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from typing import Final, Protocol

from twisted.internet.defer import Deferred, DeferredList
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.python.failure import Failure

from mongoosetw.cluster.sessions.redis_store import AT_ONCE, LIFE, Entry, Store
from mongoosetw.hooks.bus import started
from mongoosetw.hooks.c2s import SessionLike
from mongoosetw.storage.redis import RedisUnavailable
from mongoosetw.xmpp.jid import JID

REFRESH: Final = LIFE / 6
"""Seconds after which what is known is registered again, or forgotten if nobody asked for it."""
MOST: Final = 200_000
"""Users, beyond which the oldest are forgotten."""
TICK: Final = 1.0
_NOBODY: Final[frozenset[str]] = frozenset()


class Knowledge(Protocol):
    """What is known of sessions, as :class:`Watching` needs it."""

    def serves(self, user: JID) -> bool:
        """Whether the user's domain is served here."""

    def own(self, user: JID) -> Sequence[SessionLike]:
        """The user's sessions of this node."""

    def rewritten(self, user: JID, watchers: frozenset[str]) -> None:
        """The user's sessions of this node were written down in another Redis than before."""

    def moment(self) -> int:
        """Now, as the beginning of a reading."""

    def take(self, entries: Iterable[Entry], began: int, *, late: bool) -> None:
        """Sessions were found in Redis, in a reading that began at a moment.

        :param late: they could not be found before.
        """

    def drop(self, user: JID) -> None:
        """The user's sessions on other nodes are not followed any more."""

    def ask(self, users: Sequence[JID]) -> Awaitable[None]:
        """Redis does not answer: the other nodes are asked for their sessions of users."""


class _Reading:
    """Something that is asked, and who waits for it."""

    __slots__ = ("over", "waiting")

    def __init__(self) -> None:
        self.over = False
        self.waiting: list[Deferred[None]] = []

    def wait(self) -> "Deferred[None]":
        """Fires when it is done."""
        waiter: Deferred[None] = Deferred()
        self.waiting.append(waiter)
        return waiter

    def done(self) -> None:
        """It is."""
        self.over = True
        for waiter in self.waiting:
            if not waiter.called:  # the one who waited is gone
                waiter.callback(None)


class _Watch:
    """A user whose sessions are known, or are being read.

    :ivar asked: somebody has asked since the last time that it was looked at.
    :ivar since: when it was registered in Redis.
    :ivar watchers: the nodes that follow the user's sessions.
    """

    __slots__ = ("asked", "reading", "since", "watchers")

    def __init__(self, reading: _Reading, since: float) -> None:
        self.reading: _Reading | None = reading
        self.asked = True
        self.since = since
        self.watchers = _NOBODY


class Watching:
    """The users whose sessions are known here.

    :param flush: writes down what has happened; before anything is read.
    """

    def __init__(
        self,
        store: Store,
        clock: IReactorTime,
        knowledge: Knowledge,
        flush: Callable[[], None],
    ) -> None:
        self._store = store
        self._clock = clock
        self._knowledge = knowledge
        self._flush = flush
        self._users: dict[JID, _Watch] = {}
        self._ticking: IDelayedCall | None = clock.callLater(TICK, self._tick)

    def __contains__(self, user: JID) -> bool:
        return user in self._users

    def __len__(self) -> int:
        return len(self._users)

    def note(self, user: JID, watchers: frozenset[str]) -> None:
        """These nodes follow a user's sessions, as was read in Redis just now."""
        watch = self._users.get(user)
        if watch is not None:
            watch.watchers = watchers

    def watchers(self, user: JID) -> frozenset[str]:
        """The nodes that follow a user's sessions, as far as is known."""
        watch = self._users.get(user)
        return _NOBODY if watch is None else watch.watchers

    def users(self) -> list[JID]:
        """All of them."""
        return list(self._users)

    def prepare(self, users: Iterable[JID]) -> "Deferred[None] | None":
        """Makes sure that the sessions of users are known; None if they are."""
        new: list[JID] = []
        waiting: dict[_Reading, None] = {}
        for user in users:
            watch = self._users.get(user)
            if watch is not None:
                watch.asked = True
                if watch.reading is not None:
                    waiting[watch.reading] = None
            elif user.local is not None and self._knowledge.serves(user):
                new.append(user)
        if new and not (reading := self._begin(new)).over:
            waiting[reading] = None
        if not waiting:
            return None
        waits = [reading.wait() for reading in waiting]
        return waits[0] if len(waits) == 1 else DeferredList(waits).addCallback(_nothing)

    def _begin(self, users: list[JID]) -> _Reading:
        reading = _Reading()
        now = self._clock.seconds()
        for user in users:
            self._users[user] = _Watch(reading, now)
        self._flush()
        started(self._read(users, reading))
        return reading

    async def _read(self, users: list[JID], reading: _Reading) -> None:
        for some in _portions(users):
            missing = await self._watch(some)
            if missing:
                await self._knowledge.ask(missing)
        for user in users:
            watch = self._users.get(user)
            if watch is not None and watch.reading is reading:
                watch.reading = None
        reading.done()

    async def _watch(self, users: Iterable[JID], *, late: bool = False) -> list[JID]:
        """Registers users and reads their sessions.

        :param late: sessions may be found that should have been known before.
        :returns: those for which that has failed.
        """
        began, missing = self._knowledge.moment(), []
        own = self._knowledge.own
        calls = [(user, self._store.watch(user, own(user)).addErrback(_failed)) for user in users]
        for user, call in calls:
            found = await call
            if found is None:
                missing.append(user)
            else:
                self.note(user, found.watchers)
                self._knowledge.take(found.entries, began, late=late)
        return missing

    async def register(self) -> bool:
        """Registers all users anew, with another Redis than before.

        :returns: whether all are.
        """
        for some in _portions(self.users()):
            users = [user for user in some if user in self._users]
            if await self._watch(users, late=True):
                return False
            for user in users:
                self._knowledge.rewritten(user, self.watchers(user))
        return True

    def forget(self, user: JID) -> None:
        """The user's sessions on other nodes are not needed any more."""
        watch = self._users.pop(user, None)
        if watch is not None:
            self._knowledge.drop(user)
            self.withdraw(user)

    def withdraw(self, user: JID) -> None:
        """Tells Redis that this node need not be told."""
        self._store.unwatch(user).addErrback(_failed)

    # -- growing old

    def _tick(self) -> None:
        self._ticking = self._clock.callLater(TICK, self._tick)
        old = self._clock.seconds() - REFRESH
        again: list[JID] = []
        for user, watch in list(self._aged(old)):
            self._look_at(user, watch, again)
        if again:
            started(self._refresh(again))

    def _aged(self, old: float) -> Iterator[tuple[JID, _Watch]]:
        """The oldest first."""
        surplus = len(self._users) - MOST
        for n, (user, watch) in enumerate(self._users.items()):
            if watch.since > old and n >= surplus:
                return
            yield user, watch

    def _look_at(self, user: JID, watch: _Watch, again: list[JID]) -> None:
        needed = watch.asked and len(self._users) <= MOST
        if needed or watch.reading is not None or self._knowledge.own(user):
            del self._users[user]
            self._users[user] = watch  # at the end
            watch.asked = False
            watch.since = self._clock.seconds()
            again.append(user)
        else:
            self.forget(user)

    async def _refresh(self, users: list[JID]) -> None:
        """What is registered stays; if Redis is away, all is registered anew when it is back."""
        for some in _portions(users):
            await self._watch(some)

    def stop(self) -> None:
        """Nothing grows old any more."""
        if self._ticking is not None:
            self._ticking.cancel()
            self._ticking = None


def _portions(users: list[JID]) -> Iterator[list[JID]]:
    return (users[n : n + AT_ONCE] for n in range(0, len(users), AT_ONCE))


def _failed(failure: Failure) -> None:
    failure.trap(RedisUnavailable)


def _nothing(result: object) -> None:
    """The value of many is that of one."""
