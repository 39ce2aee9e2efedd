"""Reading by key: keys that come one by one are read many at a time."""

from collections.abc import Callable, Iterable, Mapping
from itertools import islice
from typing import Final, Generic, TypeVar

from sqlalchemy import Connection
from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from mongoosetw.storage.database import Database
from mongoosetw.storage.work import Work
from mongoosetw.xmpp.jid import JID

K = TypeVar("K")
V = TypeVar("V")
_AT_ONCE: Final = 500


class Lookup(Generic[K, V]):
    """Finds values by key. Keys that come within some milliseconds are read together.

    So a single key costs what it always cost, while many at a time (a server full of clients
    that log in again) share the thread's turn, the transaction and the statement. Nothing is
    remembered: every answer was read after it had been asked for.

    :param name: of the read, as of :meth:`Database.read`.
    :param read: gets a connection and some keys, all different; answers the values of those that
        have one.
    """

    def __init__(
        self, db: Database, name: str, read: Callable[[Connection, list[K]], Mapping[K, V]]
    ) -> None:
        self._db = db
        self._name = name
        self._read = read
        self._waiting: dict[K, list[Deferred[V | None]]] = {}
        self._busy = False

    def get(self, key: K) -> "Deferred[V | None]":
        """The value of a key, None if it has none; fails as the read does."""
        found: Deferred[V | None] = Deferred()
        self._waiting.setdefault(key, []).append(found)
        if not self._busy:
            self._busy = True
            self._db.gather(self._next)
        return found

    def _next(self) -> Work:
        batch = dict(islice(self._waiting.items(), _AT_ONCE))
        for key in batch:
            del self._waiting[key]
        keys = list(batch)
        work = Work(self._name, lambda connection: self._read(connection, keys))
        work.deferred.addBoth(self._answer, batch)
        return work

    def _answer(
        self, result: Mapping[K, V] | Failure, batch: dict[K, list["Deferred[V | None]"]]
    ) -> None:
        self._busy = bool(self._waiting)
        if self._busy:
            self._db.gather(self._next)  # first, so that the thread works while these are used
        for key, deferreds in batch.items():
            outcome = result if isinstance(result, Failure) else result.get(key)
            for deferred in deferreds:
                deferred.callback(outcome)  # a Failure becomes an errback


def by_domain(users: Iterable[JID]) -> dict[str, dict[str | None, JID]]:
    """Bare JIDs by domain and localpart, as tables have them in two columns."""
    found: dict[str, dict[str | None, JID]] = {}
    for user in users:
        found.setdefault(user.domain, {})[user.local] = user
    return found
