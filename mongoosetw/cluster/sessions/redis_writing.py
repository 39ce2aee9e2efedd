"""Writes down in Redis what happens to the sessions of this node."""

from collections import deque
from collections.abc import Callable, Mapping
from typing import Final, TypeAlias

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.python.failure import Failure

from mongoosetw.cluster.sessions.changes import closed, opened
from mongoosetw.cluster.sessions.found import is_there
from mongoosetw.cluster.sessions.redis_peers import Peer
from mongoosetw.cluster.sessions.redis_store import Store
from mongoosetw.hooks.c2s import SessionLike
from mongoosetw.storage.redis import RedisUnavailable
from mongoosetw.xmpp.jid import JID

MEMORY: Final = 60.0
"""Seconds for which ended sessions stay written down: until a lost link is noticed, and more."""


class Change:
    """What has happened to a user's sessions within one turn.

    :ivar there: those that are new or have changed.
    :ivar gone: the sids of those that are over, and whether another node's has replaced them.
    :ivar ended: the records of those of them that this process had.
    :ivar new: those that have become available.
    :ivar seen: how many frames of each node had arrived when the first of them did.
    :ivar told: the nodes that were told at once, because they were known to want it.
    :ivar told_some: those that were told a part of it, at least.
    """

    __slots__ = ("ended", "gone", "new", "seen", "there", "told", "told_some")

    def __init__(self) -> None:
        self.there: dict[SessionLike, None] = {}
        self.gone: dict[int, bool] = {}
        self.ended: dict[int, bytes] = {}
        self.new: list[SessionLike] = []
        self.seen: Mapping[str, int] = {}
        self.told: set[Peer] | None = None
        self.told_some: set[Peer] = set()

    def body(self) -> bytes:
        """The records of it, as all is now.

        A session that has ended meanwhile is left out: of the end some may have been told already.
        """
        there = [opened(session) for session in self.there if is_there(session)]
        gone = [closed(sid, replaced=replaced) for sid, replaced in self.gone.items()]
        return b"".join((*there, *gone))

    def tell(self, peers: set[Peer]) -> None:
        """A part of it was told to some nodes."""
        self.told = peers if self.told is None else self.told & peers
        self.told_some |= peers


Written: TypeAlias = "Callable[[JID, Change, frozenset[str] | None, str], None]"
"""Told of a change that is written down: who was registered, None if it could not be; where."""


class Writing:
    """Gathers the changes of a turn, and writes them down.

    They are written in the order in which they have happened: answers come in the order of the
    commands, and when the connection is lost all calls fail before the next one.

    :ivar untold: sessions that have become available and are not written down yet.
    """

    def __init__(self, store: Store, clock: IReactorTime, written: Written) -> None:
        self._store = store
        self._clock = clock
        self._tell = written
        self._changes: dict[JID, Change] = {}
        self._recent: deque[tuple[float, int]] = deque()
        self._begun = self._ended = 0
        self._waiting: deque[tuple[int, Deferred[None]]] = deque()
        self.untold: dict[SessionLike, Change] = {}

    def _change(self, user: JID) -> Change:
        if not self._changes:
            self._clock.callLater(0, self.flush)
        change = self._changes.get(user)
        if change is None:
            change = self._changes[user] = Change()
        return change

    def there(self, session: SessionLike, seen: Mapping[str, int] | None = None) -> Change:
        """A session is new, or has changed.

        :param seen: it has become available; how many frames of each node had arrived.
        """
        change = self._change(session.bare)
        change.there[session] = None
        if seen is not None:
            if not change.new:
                change.seen = seen
            change.new.append(session)
            self.untold[session] = change
        return change

    def ended(self, session: SessionLike, *, replaced: bool) -> Change:
        """A session of this process is over."""
        change = self.gone(session.bare, session.sid, replaced=replaced)
        change.ended[session.sid] = opened(session)
        self._recent.append((self._clock.seconds(), session.sid))
        return change

    def heard(self) -> list[int]:
        """The sids of those that have ended so long ago that all have heard of it."""
        old, found = self._clock.seconds() - MEMORY, []
        while self._recent and self._recent[0][0] < old:
            found.append(self._recent.popleft()[1])
        return found

    def gone(self, user: JID, sid: int, *, replaced: bool = False) -> Change:
        """A session is over."""
        change = self._change(user)
        change.gone[sid] = replaced
        for session in [session for session in change.there if session.sid == sid]:
            del change.there[session]
        return change

    def missed_by(self, peer: Peer) -> list[SessionLike]:
        """Sessions that have become available, of which a node has not heard, or was not told."""
        untold = self.untold.items()
        rest = [s for s, change in untold if change.told is None or peer not in change.told]
        return [*peer.unseen, *rest]

    def forget(self, session: SessionLike) -> None:
        """A session is not available any more."""
        self.untold.pop(session, None)

    def flush(self) -> None:
        """Writes down what has happened, before anything is read that is asked for next."""
        changes, self._changes = self._changes, {}
        server = self._store.redis.server
        self._begun += len(changes)
        for user, change in changes.items():
            gone = list(change.gone)
            writing = self._store.write(user, list(change.there), gone, change.ended)
            writing.addCallbacks(
                self._written, self._failed, (user, change, server), {}, (user, change)
            )

    def _written(
        self, watchers: frozenset[str], user: JID, change: Change, server: str
    ) -> None:
        self._done(user, change, watchers, server)

    def _failed(self, failure: Failure, user: JID, change: Change) -> None:
        failure.trap(RedisUnavailable)
        self._done(user, change, None, "")

    def _done(
        self, user: JID, change: Change, watchers: frozenset[str] | None, server: str
    ) -> None:
        self._tell(user, change, watchers, server)
        for session in change.new:
            self.untold.pop(session, None)
        self._ended += 1
        while self._waiting and self._waiting[0][0] <= self._ended:
            waiter = self._waiting.popleft()[1]
            if not waiter.called:  # the one who waited is gone
                waiter.callback(None)

    def done(self) -> "Deferred[None] | None":
        """Fires when what has happened was told to all who want to know; None if it was."""
        self.flush()
        if self._ended == self._begun:
            return None
        waiter: Deferred[None] = Deferred()
        self._waiting.append((self._begun, waiter))
        return waiter
