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

from sqlalchemy import Connection, Engine
from sqlalchemy.exc import DBAPIError, SQLAlchemyError
from twisted.python.failure import Failure

from mongoosetw.storage.faults import Fault, fault_of
from mongoosetw.storage.work import CommitUncertain, DatabaseUnavailable, Work, perform, reason

__all__ = ["DatabaseUnavailable", "FromThread", "Lane"]

logger = logging.getLogger(__name__)

_BATCH = 256
_QUEUE = 10_000
_RETRIES = 4
_DELAY_MAXIMUM = 5.0


class FromThread(Protocol):
    """``reactor.callFromThread``."""

    def __call__(self, function: Callable[..., Any], *args: Any) -> object:
        """Has the function called in the reactor's thread."""


class Lane:
    """One thread and its connection.

    :ivar length: calls without a result yet. Like :meth:`submit`, for the reactor's thread.
    :ivar on_timing: is told a call's name and how many seconds it took, waiting included.
    """

    def __init__(self, engine: Engine, from_thread: FromThread, *, write: bool) -> None:
        self.length = 0
        self.on_timing: Callable[[str, float], object] | None = None
        self._engine = engine
        self._from_thread = from_thread
        self._write = write
        self._queue: queue.SimpleQueue[Work | None] = queue.SimpleQueue()
        self._connection: Connection | None = None
        self._retry_at = 0.0
        self._retry_delay = 0.1
        self._closed = False
        self._thread = threading.Thread(target=self._run, name="database", daemon=True)
        self._thread.start()

    def submit(self, work: Work) -> None:
        """Queues a call; it fails at once when the queue is full or the lane closed."""
        if self._closed:
            work.deferred.errback(DatabaseUnavailable("the database is closed"))
        elif self.length >= _QUEUE:
            work.deferred.errback(DatabaseUnavailable("too many calls wait for the database"))
        else:
            self.length += 1
            self._queue.put(work)

    def end(self) -> None:
        """Takes no more calls; the thread ends when all queued ones are done."""
        if not self._closed:
            self._closed = True
            self._queue.put(None)

    def join(self) -> None:
        """Waits for the thread's end."""
        self._thread.join(30)

    def _run(self) -> None:
        ends = False
        while not ends:
            batch, ends = self._gather()
            if batch:
                self._work(batch)
                self._from_thread(self._deliver, batch)
        self._disconnect()

    def _gather(self) -> tuple[list[Work], bool]:
        batch: list[Work] = []
        item = self._queue.get()
        while item is not None:
            batch.append(item)
            if len(batch) == _BATCH or self._queue.empty():  # nobody else takes from it
                return batch, False
            item = self._queue.get()
        return batch, True

    def _work(self, batch: list[Work]) -> None:
        for attempt in range(_RETRIES):
            fresh = self._connection is None
            try:
                perform(self._connected(), batch, write=self._write)
                return
            except (SQLAlchemyError, DatabaseUnavailable) as error:
                self._disconnect()
                if attempt + 1 == _RETRIES or not _worth_retrying(error, fresh=fresh):
                    _fail(batch, error)
                    return
            time.sleep(0.02 * 2**attempt)

    def _connected(self) -> Connection:
        if self._connection is None:
            if time.monotonic() < self._retry_at:
                raise DatabaseUnavailable("the database was not reachable a moment ago")
            try:
                self._connection = self._engine.connect().execution_options(write=self._write)
            except DBAPIError:
                self._retry_delay = min(self._retry_delay * 2, _DELAY_MAXIMUM)
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
            except SQLAlchemyError:
                logger.info("database_connection_was_dead")

    def _deliver(self, batch: list[Work]) -> None:
        self.length -= len(batch)
        if self.on_timing is not None:
            now = time.monotonic()
            for work in batch:
                self.on_timing(work.name, now - work.submitted)
        for work in batch:
            work.deferred.callback(work.outcome)  # a Failure becomes an errback


def _worth_retrying(error: Exception, *, fresh: bool) -> bool:
    """Whether nothing was done and trying again at once can help.

    :param fresh: the connection was made for this attempt, so it is no leftover of a
        database that has been restarted since.
    """
    if isinstance(error, CommitUncertain) or not isinstance(error, DBAPIError):
        return False
    fault = fault_of(error)
    return fault is Fault.RIVAL or (fault is Fault.GONE and not fresh)


def _fail(batch: list[Work], error: Exception) -> None:
    unavailable = DatabaseUnavailable(reason(error))
    logger.warning("database_failed calls=%d reason=%s", len(batch), unavailable)
    for work in batch:
        work.outcome = Failure(unavailable)
