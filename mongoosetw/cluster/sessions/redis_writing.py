"""Writes down in Redis what happens to the sessions of this node."""

from collections.abc import Callable, Mapping
from typing import TypeAlias

from twisted.internet.interfaces import IReactorTime
from twisted.python.failure import Failure

from mongoosetw.cluster.sessions.changes import closed, opened
from mongoosetw.cluster.sessions.redis_store import Store
from mongoosetw.hooks.c2s import SessionLike
from mongoosetw.storage.redis import RedisUnavailable
from mongoosetw.xmpp.jid import JID


class Change:
    """What has happened to a user's sessions within one turn.

    :ivar there: those that are new or have changed.
    :ivar gone: the sids of those that are over, and whether another node's has replaced them.
    :ivar new: those that have become available.
    :ivar seen: how many frames of each node had arrived when the first of them did.
    """

    __slots__ = ("gone", "new", "seen", "there")

    def __init__(self) -> None:
        self.there: dict[SessionLike, None] = {}
        self.gone: dict[int, bool] = {}
        self.new: list[SessionLike] = []
        self.seen: Mapping[str, int] = {}

    def body(self) -> bytes:
        """The records of it, as all is now."""
        there = [opened(session) for session in self.there]
        gone = [closed(sid, replaced=replaced) for sid, replaced in self.gone.items()]
        return b"".join((*there, *gone))


Tell: TypeAlias = "Callable[[Change, set[str] | None, str], None]"
"""Tells a change: to those who are registered, None if that is not known; the Redis process."""


class Writing:
    """Gathers the changes of a turn, writes them down, and has them told when that is done.

    They are told in the order in which they have happened: answers come in the order of the
    commands, and when the connection is lost all calls fail before the next one.

    :ivar untold: sessions that have become available, which nobody was told yet.
    """

    def __init__(self, store: Store, clock: IReactorTime, tell: Tell) -> None:
        self._store = store
        self._clock = clock
        self._tell = tell
        self._changes: dict[JID, Change] = {}
        self.untold: dict[SessionLike, None] = {}

    def _change(self, user: JID) -> Change:
        if not self._changes:
            self._clock.callLater(0, self.flush)
        change = self._changes.get(user)
        if change is None:
            change = self._changes[user] = Change()
        return change

    def there(self, session: SessionLike, seen: Mapping[str, int] | None = None) -> None:
        """A session is new, or has changed.

        :param seen: it has become available; how many frames of each node had arrived.
        """
        change = self._change(session.bare)
        change.there[session] = None
        if seen is not None:
            if not change.new:
                change.seen = seen
            change.new.append(session)
            self.untold[session] = None

    def gone(self, user: JID, sid: int, *, replaced: bool = False) -> None:
        """A session is over."""
        change = self._change(user)
        change.gone[sid] = replaced
        for session in [session for session in change.there if session.sid == sid]:
            del change.there[session]

    def forget(self, session: SessionLike) -> None:
        """A session is not available any more."""
        self.untold.pop(session, None)

    def flush(self) -> None:
        """Writes down what has happened, before anything is read that is asked for next."""
        changes, self._changes = self._changes, {}
        server = self._store.redis.server
        for user, change in changes.items():
            written = self._store.write(user, list(change.there), list(change.gone))
            written.addCallbacks(self._written, self._lost, (change, server), {}, (change,))

    def _written(self, watchers: set[str], change: Change, server: str) -> None:
        self._told(change, watchers, server)

    def _lost(self, failure: Failure, change: Change) -> None:
        failure.trap(RedisUnavailable)
        self._told(change, None, "")

    def _told(self, change: Change, watchers: set[str] | None, server: str) -> None:
        self._tell(change, watchers, server)
        for session in change.new:
            self.untold.pop(session, None)
