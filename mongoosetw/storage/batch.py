"""The writer of logs: rows of several tables that are committed together, in their order."""

import logging
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from typing import Any

from sqlalchemy import Connection, Table
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.python.failure import Failure

from mongoosetw.storage.bulk import BulkTable, Key, Row, bulk_table, rows_of
from mongoosetw.storage.database import Database
from mongoosetw.storage.faults import timed_out
from mongoosetw.storage.units import Batch, Done, Entries, Removal, Unit, sum_up
from mongoosetw.storage.work import DatabaseUnavailable, Work, perform_each, reason

__all__ = ["Batch", "Done", "LogWriter", "Unit"]

logger = logging.getLogger(__name__)

_FIRST_DELAY = 0.1
_LAST_DELAY = 5.0
_REST = 0.000_15  # seconds for each unit of the last commit


class LogWriter:
    """Writes units of rows durably, many in one transaction, in the order of ``add``.

    ::

        log = LogWriter(db, self.clock, "mam", [MESSAGE, INDEX, PENDING])
        unit = ((MESSAGE, (id, sender, body)), (INDEX, (owner, id)), (PENDING, (owner, id)))
        batch = log.add(unit, self._stored, len(body))   # self._stored(error | None)
        batch.when_committed(other)                      # cheaper, if many wait for it
        log.remove(PENDING, [(owner, id)])
        log.put((id, sender, body), len(body))           # cheapest: a row of the first table
        await log.barrier()                              # everything above is committed

    *Order.* Units and removals take effect in the order in which they were added: a later one
    is never committed without the earlier, except for a unit that the database refuses.
    All rows of a unit are committed in one transaction, and a batch of units is one too: what
    is added during a turn of the reactor, and what gathers while a commit runs.

    *Rows* are tuples with a value for every column of their table, in the table's order: int,
    bool, float, str, bytes or None by the column's type. Every table has a primary key whose
    values the caller makes: a row whose key is there already is left as it is, so that a
    commit of which nobody knows whether it happened can be repeated. Never give a key to
    other content. Keys are values, or tuples if the primary key has several columns.

    *Rows of the first table* may be :meth:`put` alone, if their keys were never used before.

    *Callbacks* run in the reactor's thread, in the order of ``add``, never within ``add``;
    with None once the commit is synced to disk. An exception means that the unit was not
    stored: what the database said of its rows (the other units of the batch are stored), or
    DatabaseUnavailable after :meth:`close`.

    *Without a database* units wait, and are tried again after a growing delay for as long as
    it takes; callbacks just come late. When ``limit`` units or ``byte_limit`` bytes wait,
    ``add``, ``put`` and ``apart`` raise DatabaseUnavailable and nothing is taken. ``remove``
    always succeeds.

    *Over a database without threads* (tests) the commit comes with the next turn of the clock
    (``settle()`` of ServerTestCase, ``clock.advance(0)``).

    All methods are for the reactor's thread. Close it before the database.

    :ivar gathering: the batch that takes what is added now, if there is one; its units may still
        be extended.
    :ivar waiting: units, rows alone and removals that are not committed yet.
    """

    def __init__(
        self,
        db: Database,
        clock: IReactorTime,
        name: str,
        tables: Sequence[Table],
        *,
        limit: int = 10_000,
        byte_limit: int = 64 * 1024 * 1024,
        size: int = 2_000,
        interval: float = 0.0,
        longest: float = 0.0,
    ) -> None:
        """
        :param name: of the calls in logs and metrics.
        :param tables: those of the rows; within a commit they are written in this order.
        :param limit: units and rows alone that may wait.
        :param byte_limit: bytes that they may hold, by what the writer was told.
        :param size: how many one commit takes, after which no more are added to it.
        :param interval: seconds between the beginnings of two commits, at least. A commit
            costs as much as some hundred rows.
        :param longest: how long that becomes while commits hold many units: where there is
            most to do, they are worth most, and what waits a little longer waits for more anyway.
        :raises TypeError: a column's type is none of the above.
        """
        self._db = db
        self._clock = clock
        self._name = name
        dialect = db.engine.dialect
        self._tables: dict[Table, BulkTable] = {t: bulk_table(t, dialect) for t in tables}
        first = self._tables[tables[0]]
        self._at_once = first.at_once * first.width  # so many values are one statement
        self._limit = limit
        self._byte_limit = byte_limit
        self._size = size
        self._batches: deque[Batch] = deque()
        self.gathering: Batch | None = None
        self._busy = False
        self._closed = False
        self._call: IDelayedCall | None = None
        self._delay = 0.0
        self._interval = interval if db.threaded else 0.0
        self._longest = max(interval, longest) if db.threaded else 0.0
        self._next = 0.0
        self.waiting = 0
        self._weight = 0  # of the batches that take no more

    def add(self, unit: Unit, done: Done | None = None, size: int = 0) -> Batch:
        """Takes a unit; it is committed with the returned batch.

        :param done: is told of this unit.
        :param size: about how many bytes the rows hold.
        :raises DatabaseUnavailable: too much is waiting, or the writer is closed.
        """
        batch = self.apart(size)
        batch.take(unit, done)
        return batch

    def apart(self, size: int = 0) -> Batch:
        """Takes a place, ``last`` of the returned batch, without a row of the first table.

        It is for rows of other tables (:meth:`Batch.more`), or for who waits with the batch.

        :param size: about how many bytes will be there.
        :raises DatabaseUnavailable: too much is waiting, or the writer is closed.
        """
        batch = self.put((), size)
        batch.last = -batch.count
        return batch

    def put(self, row: Row, size: int = 0) -> Batch:
        """Takes a row of the first table, under a key that was never used before.

        ``last`` of the returned batch is its place there (see :class:`Batch`).

        :param size: about how many bytes it holds.
        :raises DatabaseUnavailable: too much is waiting, or the writer is closed.
        """
        batch = self.gathering
        if batch is None or batch.count >= batch.room or batch.weight > batch.byte_room:
            batch = self._make_room()
        values = batch.values
        batch.last = len(values)
        values += row
        batch.count += 1
        batch.weight += size
        self.waiting += 1
        return batch

    def _make_room(self) -> Batch:
        if self.waiting >= self._limit or self.weight > self._byte_limit or self._closed:
            raise DatabaseUnavailable(f"too many rows wait for {self._name}")
        return self._new_batch()

    def remove(self, table: Table, keys: Iterable[Key], done: Done | None = None) -> Batch:
        """Removes the rows of these keys, those added before included.

        After :meth:`close` it does nothing, and the batch and ``done`` say so at once.
        """
        removal = Removal(table, list(keys))
        if self._closed:
            batch = Batch()
            batch.take(removal, done)
            batch.settle({}, DatabaseUnavailable(f"{self._name} is closed"))
            return batch
        batch = self.gathering or self._new_batch()
        if batch.count >= self._size:
            batch = self._new_batch()
        batch.count += 1
        batch.last = -batch.count
        batch.take(removal, done)
        self.waiting += 1
        return batch

    @property
    def weight(self) -> int:
        """The bytes that the units which are not committed yet hold."""
        return self._weight + (0 if self.gathering is None else self.gathering.weight)

    @property
    def away(self) -> bool:
        """Whether the database did not take the last batch, which is tried again."""
        return self._delay > 0

    def barrier(self) -> Deferred[None]:
        """Fires when everything added before is committed (or was refused by the database).

        It fails with DatabaseUnavailable if the writer is closed before.
        """
        deferred: Deferred[None] = Deferred()
        if self._batches:
            self._batches[-1].when_committed(partial(_pass_barrier, deferred))
        else:
            deferred.callback(None)
        return deferred

    def close(self) -> Deferred[None]:
        """Takes no more units; fires when those that wait are committed.

        Those that cannot be, because there is no database, fail; the Deferred does not.
        """
        self._closed = True
        self._seal()
        closed: Deferred[None] = Deferred()
        if self._batches:
            self._batches[-1].when_committed(lambda _: closed.callback(None))
            self._wake_up()
        else:
            closed.callback(None)
        return closed

    def _seal(self) -> None:
        """The batch that takes what is added takes no more."""
        if self.gathering is not None:
            self._weight += self.gathering.weight
            self.gathering = None

    def _new_batch(self) -> Batch:
        self._seal()
        room = min(self._size, self._limit - self.waiting)
        batch = self.gathering = Batch(room, self._byte_limit - self._weight)
        self._batches.append(batch)
        if self._call is not None and not self._delay:
            self._call.reset(0)
        elif self._call is None and not self._busy:
            self._call = self._clock.callLater(self._rest, self._wake_up)
        return batch

    @property
    def _rest(self) -> float:
        """Seconds to the next commit: a batch that takes no more has nothing to wait for."""
        if self._batches[0] is not self.gathering:
            return 0.0
        return max(0.0, self._next - self._clock.seconds())

    def _wake_up(self) -> None:
        """Writes the next batch, unless one is being written."""
        if self._call is not None and self._call.active():
            self._call.cancel()
        self._call = None
        if self._batches and not self._busy:
            if self._batches[0] is self.gathering:
                self._seal()
            self._busy = True
            batch = self._batches[0]
            rest = min(self._interval + batch.count * _REST, self._longest)
            self._next = self._clock.seconds() + rest
            self._write(batch, fresh=not self._delay)

    def _write(self, batch: Batch, *, fresh: bool) -> None:
        write = partial(self._write_batch, batch, fresh)
        single = not batch.entries and len(batch.values) <= self._at_once
        self._db.run(self._name, write, single=single).addBoth(self._written, batch, fresh)

    def _written(self, result: Failure | None, batch: Batch, fresh: bool) -> None:
        if not isinstance(result, Failure):
            self._settle({}, batch)
        elif result.check(DatabaseUnavailable) or timed_out(result.value):
            self._try_later(result)
        elif fresh:
            self._write(batch, fresh=False)
        else:
            each = self._db.run(self._name, partial(self._write_each, batch))
            each.addCallbacks(self._settle, self._try_later, callbackArgs=(batch,))

    def _settle(self, refused: dict[int, Exception], batch: Batch) -> None:
        if self._delay:
            logger.info("log_resumed name=%s waiting=%d", self._name, self.waiting)
        self._delay = 0.0
        self._batches.popleft()
        self.waiting -= batch.count
        self._weight -= batch.weight
        if self._db.threaded:  # it works on while callbacks do
            self._busy = False
            if self._batches and not self._closed and (rest := self._rest):
                self._call = self._clock.callLater(rest, self._wake_up)
            else:
                self._wake_up()
            batch.settle(refused)
        else:
            batch.settle(refused)
            self._busy = False
            self._wake_up()

    def _try_later(self, failure: Failure) -> None:
        self._busy = False
        if self._closed:
            self._give_up(failure)
            return
        if not self._delay:
            logger.warning("log_waits name=%s reason=%s", self._name, _said(failure))
        self._delay = min(max(_FIRST_DELAY, 2 * self._delay), _LAST_DELAY)
        self._call = self._clock.callLater(self._delay, self._wake_up)

    def _give_up(self, failure: Failure) -> None:
        unavailable = DatabaseUnavailable(_said(failure))
        logger.error("log_lost name=%s units=%d reason=%s", self._name, self.waiting, unavailable)
        batches, self._batches, self.gathering = self._batches, deque(), None
        self.waiting = self._weight = 0
        for batch in batches:
            batch.settle({}, unavailable)

    # The rest runs in the database's thread.

    def _write_batch(self, batch: Batch, fresh: bool, connection: Connection) -> None:
        self._write_entries(batch.values, batch.entries, fresh, connection)

    def _write_entries(
        self, values: list[Any], entries: Entries, fresh: bool, connection: Connection
    ) -> None:
        kept, gone = sum_up(self._tables, values, entries)
        for table, bulk in self._tables.items():
            if table in gone:  # first: a row that was added again after its removal stays
                bulk.delete(connection, list(gone[table]))
            if kept[table]:
                bulk.insert(connection, kept[table], fresh=fresh)

    def _write_each(self, batch: Batch, connection: Connection) -> dict[int, Exception]:
        """One by one, to find what the database refuses: returns its answers, by place."""
        refused: dict[int, Exception] = {}
        while True:
            with connection.begin_nested() as attempt:
                if self._writes_all_but(refused, batch, connection):
                    return refused
                attempt.rollback()

    def _writes_all_but(
        self, refused: dict[int, Exception], batch: Batch, connection: Connection
    ) -> bool:
        """Adds what else is refused; False if some of it is written, which is to be undone."""
        written = set()
        for place, write in self._each(batch):
            if place in refused:
                continue
            work = Work(self._name, write)
            perform_each(connection, [work])
            if work.outcome is None:
                written.add(place)
                continue
            error = refused[place] = work.outcome.value
            if timed_out(error):
                raise DatabaseUnavailable(reason(error))
        return written.isdisjoint(refused)

    def _each(self, batch: Batch) -> Iterator[tuple[int, Callable[[Connection], None]]]:
        width = next(iter(self._tables.values())).width
        for number, row in enumerate(rows_of(batch.values, width)):
            yield number * width, partial(self._write_entries, list(row), (), False)
        for entry in batch.entries:
            yield entry[0], partial(self._write_entries, [], (entry,), False)


def _said(failure: Failure) -> str:
    """The first line of what the database said."""
    return failure.getErrorMessage().partition("\n")[0]


def _pass_barrier(deferred: Deferred[None], error: Exception | None) -> None:
    if isinstance(error, DatabaseUnavailable):
        deferred.errback(error)
    else:
        deferred.callback(None)
