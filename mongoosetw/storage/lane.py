"""A lane: one thread with one connection that works off a queue, many calls at a time.

Calls that gathered while the lane was busy share one transaction and one way back to the
reactor: that is the group commit, and it spares a thread switch for each call.
"""

import logging
import queue
import random
import threading
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from enum import Enum, auto
from typing import Any, Protocol

from sqlalchemy import Connection, Engine
from sqlalchemy.exc import DBAPIError, SQLAlchemyError
from twisted.python.failure import Failure

from mongoosetw.storage.engine import connect
from mongoosetw.storage.faults import Fault, fault_of
from mongoosetw.storage.interpreter import HURRY, be_exact
from mongoosetw.storage.watch import Line
from mongoosetw.storage.work import CommitUncertain, DatabaseUnavailable, Work, perform, reason

__all__ = ["DatabaseUnavailable", "FromThread", "Lane"]

logger = logging.getLogger(__name__)

_BATCH = 256
_QUEUE = 10_000
_RETRIES = 6
_DELAY_MAXIMUM = 5.0


class FromThread(Protocol):
    """``reactor.callFromThread``."""

    def __call__(self, function: Callable[..., Any], *args: Any) -> object:
        """Has the function called in the reactor's thread."""


class _Request(Enum):
    """What a lane is to do beside calls."""

    END = auto()
    RECONNECT = auto()


class Lane:
    """One thread and its connection.

    :ivar length: calls without a result yet. Like :meth:`submit`, for the reactor's thread.
    :ivar on_timing: is told a call's name and how many seconds it took, waiting included.
    :ivar on_gone: is called, in the lane's thread, when the database does not take its calls.
    """

    def __init__(
        self,
        engine: Engine,
        from_thread: FromThread,
        *,
        write: bool,
        turns: AbstractContextManager[None] | None = None,
        tend: Callable[[Connection], object] | None = None,
    ) -> None:
        """
        :param turns: is entered for each transaction.
        :param tend: is called between transactions.
        """
        self.length = 0
        self.on_timing: Callable[[str, float], object] | None = None
        self.on_gone: Callable[[], object] = lambda: None
        self._engine = engine
        self._from_thread = from_thread
        self._write = write
        self._turns = turns or nullcontext()
        self._tend = tend
        self._queue: queue.SimpleQueue[Work | _Request] = queue.SimpleQueue()
        self._connection: Connection | None = None
        self._retry_at = 0.0
        self._retry_delay = 0.1
        self._line = Line()
        self._batch: list[Work] = []
        self._since = 0.0
        self._down = False
        self._closed = False
        self._given_up = False
        self._exact = False
        self._hurries = False
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
            if self._exact and not self._hurries:
                self._hurries = True
                HURRY.begin()
            self._queue.put(work)

    def end(self) -> None:
        """Takes no more calls; the thread ends when all queued ones are done."""
        if not self._closed:
            self._closed = True
            self._queue.put(_Request.END)

    def reconnect(self) -> None:
        """Has the connection closed, and made anew for the next call."""
        self._queue.put(_Request.RECONNECT)

    def join(self, timeout: float) -> None:
        """Waits for the thread's end, so many seconds at most."""
        self._thread.join(timeout)

    def give_up(self) -> None:
        """Fails what is queued or waits for the database."""
        self._given_up = True
        self._line.cut()

    def cut_if_stuck(self, patience: float) -> None:
        """See :class:`mongoosetw.storage.watch.Watched`; for another thread."""
        batch, latest = self._batch, time.monotonic() - patience
        if batch and self._since < latest and all(work.began < latest for work in batch):
            logger.warning("database_stuck calls=%d seconds=%s", len(batch), patience)
            self._line.cut()

    def _run(self) -> None:
        self._exact = self._write and be_exact()
        ends = False
        while not ends:
            batch, ends = self._gather()
            if batch:
                self._work(batch)
                self._from_thread(self._deliver, batch)
            if self._tend is not None and self._connection is not None:
                self._tend(self._connection)
        self._disconnect()

    def _gather(self) -> tuple[list[Work], bool]:
        batch: list[Work] = []
        item = self._queue.get()
        while item is not _Request.END:
            if item is _Request.RECONNECT:
                self._disconnect()
            else:
                batch.append(item)
            if len(batch) == _BATCH or self._queue.empty():  # nobody else takes from it
                return batch, False
            item = self._queue.get()
        return batch, True

    def _work(self, batch: list[Work]) -> None:
        for attempt in range(_RETRIES):
            fresh = self._connection is None
            error = self._attempt(batch)
            if error is None:
                self._works()
                return
            last = attempt + 1 == _RETRIES or self._given_up
            if last or not _worth_retrying(error, fresh=fresh):
                self._fail(batch, error)
                return
            # by chance, so that rivals do not meet again
            time.sleep(0.02 * 2**attempt * random.uniform(0.5, 1))

    def _attempt(self, batch: list[Work]) -> Exception | None:
        """Does the calls; what kept it from doing all of them, which then are undone."""
        try:
            connection = self._connected()
            self._since = time.monotonic()
            self._batch = batch
            with self._turns:
                perform(connection, batch, write=self._write)
        except (SQLAlchemyError, DatabaseUnavailable) as error:
            if not _is_rivals(error):
                self._disconnect()
            return error
        except Exception as error:  # boundary: the lane lives on, whatever a driver raises
            logger.exception("database_lane_failed")
            self._disconnect()
            return error
        finally:
            self._batch = []
        return None

    def _connected(self) -> Connection:
        if self._given_up:
            raise DatabaseUnavailable("the database is closed")
        if self._connection is None:
            if time.monotonic() < self._retry_at:
                raise DatabaseUnavailable("the database was not reachable a moment ago")
            try:
                self._connection = connect(self._engine, write=self._write)
            except DBAPIError:
                self._retry_delay = min(self._retry_delay * 2, _DELAY_MAXIMUM)
                self._retry_at = time.monotonic() + self._retry_delay
                raise
            self._line.hold(self._connection)
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
            self._line.drop()

    def _fail(self, batch: list[Work], error: Exception) -> None:
        unavailable = DatabaseUnavailable(reason(error))
        if not self._down:  # once, however many calls fail until it is back
            logger.warning("database_failed calls=%d reason=%s", len(batch), unavailable)
        self._down = True
        self.on_gone()
        for work in batch:
            work.outcome = Failure(unavailable)

    def _works(self) -> None:
        if self._down:
            self._down = False
            logger.warning("database_works_again")

    def _deliver(self, batch: list[Work]) -> None:
        self.length -= len(batch)
        if self._hurries and not self.length:
            self._hurries = False
            HURRY.end()
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
    return _is_rivals(error) or (fault_of(error) is Fault.GONE and not fresh)


def _is_rivals(error: Exception) -> bool:
    return isinstance(error, DBAPIError) and fault_of(error) is Fault.RIVAL
