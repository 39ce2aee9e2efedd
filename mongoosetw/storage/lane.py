"""A lane: one thread with one connection that works off a queue, many calls at a time.

Calls that gathered while the lane was busy share one transaction and one way back to the
reactor: that is the group commit, and it spares a thread switch for each call.
"""

import logging
import queue
import threading
import time
from collections.abc import Callable
from typing import Any, Protocol

from sqlalchemy import Connection, CursorResult, Engine
from sqlalchemy.exc import DBAPIError, OperationalError
from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

logger = logging.getLogger(__name__)

_BATCH = 256
_QUEUE = 10_000
_RETRIES = 4


class DatabaseUnavailable(Exception):
    """The database cannot be reached or does not take writes; it may be back soon."""


class Work:
    """One call, and the Deferred of its result."""

    __slots__ = ("deferred", "function", "name", "outcome")

    def __init__(self, name: str, function: Callable[[Connection], Any]) -> None:
        self.name = name
        self.function = function
        self.deferred: Deferred[Any] = Deferred()
        self.outcome: Any = None


class FromThread(Protocol):
    """``reactor.callFromThread``."""

    def __call__(self, function: Callable[..., Any], *args: Any) -> object:
        """Has the function called in the reactor's thread."""


def perform(connection: Connection, works: list[Work], *, write: bool) -> None:
    """Runs calls in one transaction, each in a savepoint of its own if there are several.

    :raises DBAPIError: the connection or the commit failed: nothing of it was done.
    """
    with connection.begin():
        for work in works:
            if write and len(works) > 1:
                _in_savepoint(connection, work)
            else:
                work.outcome = _outcome(connection, work, alone=write)
                if write and isinstance(work.outcome, Failure):
                    raise _Spoilt


class _Spoilt(Exception):
    """The only call of a transaction failed: it is rolled back."""


def _in_savepoint(connection: Connection, work: Work) -> None:
    savepoint = connection.begin_nested()
    work.outcome = _outcome(connection, work, alone=False)
    if isinstance(work.outcome, Failure):
        savepoint.rollback()
    else:
        savepoint.commit()


def _outcome(connection: Connection, work: Work, *, alone: bool) -> Any:
    try:
        result = work.function(connection)
        if isinstance(result, CursorResult):
            raise TypeError(f"{work.name} returned a cursor; return plain values")
    except OperationalError:
        raise  # the connection's or the disk's fault: all of the batch is tried again
    except DBAPIError as error:
        if error.connection_invalidated:
            raise
        return Failure()
    except Exception:  # boundary: handed to the caller, in the reactor's thread
        return Failure()
    return result


class Lane:
    """One thread and its connection."""

    def __init__(self, engine: Engine, from_thread: FromThread, *, write: bool) -> None:
        self._engine = engine
        self._from_thread = from_thread
        self._write = write
        self._queue: queue.Queue[Work | None] = queue.Queue(_QUEUE)
        self._connection: Connection | None = None
        self._retry_at = 0.0
        self._retry_delay = 0.1
        self._thread = threading.Thread(target=self._run, name="database", daemon=True)
        self._thread.start()

    @property
    def length(self) -> int:
        """Calls that wait."""
        return self._queue.qsize()

    def submit(self, work: Work) -> None:
        """Queues a call; it fails at once when the queue is full."""
        try:
            self._queue.put_nowait(work)
        except queue.Full:
            work.deferred.errback(DatabaseUnavailable("too many calls wait for the database"))

    def close(self) -> None:
        """Ends the thread when all queued calls are done, and waits for it."""
        self._queue.put(None)
        self._thread.join(30)

    def _run(self) -> None:
        while True:
            batch, ends = self._gather()
            if batch:
                self._work(batch)
                self._from_thread(_deliver, batch)
            if ends:
                self._disconnect()
                return

    def _gather(self) -> tuple[list[Work], bool]:
        batch: list[Work] = []
        item = self._queue.get()
        while item is not None:
            batch.append(item)
            if len(batch) == _BATCH:
                return batch, False
            try:
                item = self._queue.get_nowait()
            except queue.Empty:
                return batch, False
        return batch, True

    def _work(self, batch: list[Work]) -> None:
        for attempt in range(_RETRIES):
            try:
                perform(self._connected(), batch, write=self._write)
                return
            except _Spoilt:
                return
            except (DBAPIError, DatabaseUnavailable) as error:
                self._disconnect()
                unavailable = DatabaseUnavailable(str(error).partition("\n")[0])
                if attempt + 1 == _RETRIES or not _transient(error):
                    logger.warning("database_failed %s", unavailable)
                    for work in batch:
                        work.outcome = Failure(unavailable)
                    return
                time.sleep(0.02 * 2**attempt)

    def _connected(self) -> Connection:
        if self._connection is None:
            if time.monotonic() < self._retry_at:
                raise DatabaseUnavailable("the database was not reachable a moment ago")
            try:
                self._connection = self._engine.connect()
            except DBAPIError:
                self._retry_delay = min(self._retry_delay * 2, 5.0)
                self._retry_at = time.monotonic() + self._retry_delay
                raise
            self._retry_delay = 0.1
        return self._connection

    def _disconnect(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            try:
                connection.invalidate()
                connection.close()
            except DBAPIError:
                logger.info("database_connection_was_dead")


def _transient(error: Exception) -> bool:
    """Whether trying again at once can help: a lock, a serialization failure, a lost link."""
    text = str(error).lower()
    return any(sign in text for sign in ("locked", "serializ", "deadlock", "closed", "terminat"))


def _deliver(batch: list[Work]) -> None:
    for work in batch:
        work.deferred.callback(work.outcome)  # a Failure becomes an errback
