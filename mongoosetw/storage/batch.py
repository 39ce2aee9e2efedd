"""The writer of logs: rows of several tables that are committed together, in their order."""

import logging
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from itertools import chain
from typing import TypeAlias, cast

from sqlalchemy import Connection, Table
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.python.failure import Failure

from mongoosetw.storage.bulk import BulkTable, Key, Row, bulk_table
from mongoosetw.storage.database import Database
from mongoosetw.storage.faults import timed_out
from mongoosetw.storage.work import DatabaseUnavailable, Work, perform_each, reason

__all__ = ["Batch", "Done", "LogWriter", "Unit"]

logger = logging.getLogger(__name__)

_FIRST_DELAY = 0.1
_LAST_DELAY = 5.0
_REST = 0.000_15  # seconds for each unit of the last commit

Unit: TypeAlias = Sequence[tuple[Table, Row]]
"""Rows that are committed together or not at all, each with its table."""
Done: TypeAlias = Callable[[Exception | None], object]
"""Is told once, in the reactor's thread: None after the commit, or what went wrong."""


class _Removal:
    __slots__ = ("keys", "table")

    def __init__(self, table: Table, keys: Sequence[Key]) -> None:
        self.table = table
        self.keys = keys


_Entry: TypeAlias = Unit | _Removal


class Batch:
    """Units that share a commit.

    :ivar settled: whether the commit happened, or never will.
    :ivar error: the first error of a settled batch; None: all of it is committed.
    :ivar refused: what went wrong with each unit that was not stored, by the ``id()`` of the unit.
    :ivar weight: the bytes that its units hold.
    """

    __slots__ = (
        "_byte_room",
        "_callbacks",
        "_dones",
        "_room",
        "entries",
        "error",
        "refused",
        "settled",
        "weight",
    )

    def __init__(self, room: int = 0, byte_room: int = 0) -> None:
        """
        :param room: units that it takes.
        :param byte_room: bytes that these may hold.
        """
        self._room = room
        self._byte_room = byte_room
        self.settled = False
        self.error: Exception | None = None
        self.refused: dict[int, Exception] = {}
        self.entries: list[_Entry] = []
        self.weight = 0
        self._dones: dict[int, Done] = {}  # by the place of their entries
        self._callbacks: list[Done] = []

    def take(self, entry: _Entry, done: Done | None, size: int = 0) -> bool:
        """Takes one more, and who is told of it; whether it has room for another then."""
        entries = self.entries
        if done is not None:
            self._dones[len(entries)] = done
        entries.append(entry)
        self.weight += size
        return len(entries) < self._room and self.weight <= self._byte_room

    def when_committed(self, callback: Done) -> None:
        """Has the callback told of the commit; at once, if the batch is settled.

        The error, if there is one, may be another unit's: see ``refused``, or give ``add`` a
        callback to be told of one unit.
        """
        if self.settled:
            callback(self.error)
        else:
            self._callbacks.append(callback)

    def settle(self, errors: Sequence[Exception | None] | None) -> None:
        """Tells everybody: units in their order, then those who wait for the batch.

        :param errors: of each entry; None: all are stored.
        """
        self.settled = True
        entries, self.entries = self.entries, []
        dones, self._dones = self._dones, {}
        callbacks, self._callbacks = self._callbacks, []
        if errors is not None:
            self.refused = {
                id(unit): error
                for unit, error in zip(entries, errors, strict=True)
                if error is not None
            }
            self.error = next(iter(self.refused.values()), None)
        for place, done in dones.items():
            _tell(done, None if errors is None else errors[place])
        for callback in callbacks:
            _tell(callback, self.error)


def _tell(callback: Done, error: Exception | None) -> None:
    try:
        callback(error)
    except Exception:  # boundary: the others are told nevertheless
        logger.exception("log_callback_failed callback=%r", callback)


class LogWriter:
    """Writes units of rows durably, many in one transaction, in the order of ``add``.

    ::

        log = LogWriter(db, self.clock, "mam", [MESSAGE, INDEX, PENDING])
        unit = ((MESSAGE, (id, sender, body)), (INDEX, (owner, id)), (PENDING, (owner, id)))
        batch = log.add(unit, self._stored, len(body))   # self._stored(error | None)
        batch.when_committed(other)                      # cheaper, if many wait for it
        log.remove(PENDING, [(owner, id)])
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

    *Callbacks* run in the reactor's thread, in the order of ``add``, never within ``add``;
    with None once the commit is synced to disk. An exception means that the unit was not
    stored: what the database said of its rows (the other units of the batch are stored), or
    DatabaseUnavailable after :meth:`close`.

    *Without a database* units wait, and are tried again after a growing delay for as long as
    it takes; callbacks just come late. When ``limit`` units or ``byte_limit`` bytes wait,
    ``add`` raises DatabaseUnavailable and the unit is not taken. ``remove`` always succeeds.

    *Over a database without threads* (tests) the commit comes with the next turn of the clock
    (``settle()`` of ServerTestCase, ``clock.advance(0)``).

    All methods are for the reactor's thread. Close it before the database.

    :ivar gathering: the batch that takes what is added now, if there is one; its units may still
        be extended.
    :ivar waiting: units and removals that are not committed yet.
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
        :param limit: units that may wait.
        :param byte_limit: bytes that they may hold, by what ``add`` was told.
        :param size: most units of one commit.
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
        if self.waiting >= self._limit or self._weight > self._byte_limit or self._closed:
            raise DatabaseUnavailable(f"too many rows wait for {self._name}")
        batch = self.gathering or self._new_batch()
        self.waiting += 1
        if not batch.take(unit, done, size):
            self._seal()
        return batch

    def remove(self, table: Table, keys: Iterable[Key], done: Done | None = None) -> Batch:
        """Removes the rows of these keys, those added before included.

        After :meth:`close` it does nothing, and the batch and ``done`` say so at once.
        """
        entry = _Removal(table, list(keys))
        if not self._closed:
            batch = self.gathering or self._new_batch()
            self.waiting += 1
            if not batch.take(entry, done):
                self._seal()
            return batch
        batch = Batch()
        batch.take(entry, done)
        batch.settle([DatabaseUnavailable(f"{self._name} is closed")])
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
        byte_room = max(0, self._byte_limit - self._weight)
        batch = self.gathering = Batch(self._size, byte_room)
        self._batches.append(batch)
        if not self._busy and self._call is None:
            self._call = self._clock.callLater(self._rest, self._wake_up)
        return batch

    @property
    def _rest(self) -> float:
        """Seconds to the next commit."""
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
            rest = min(self._interval + len(batch.entries) * _REST, self._longest)
            self._next = self._clock.seconds() + rest
            self._write(batch, fresh=not self._delay)

    def _write(self, batch: Batch, *, fresh: bool) -> None:
        write = partial(self._write_entries, batch.entries, fresh)
        self._db.run(self._name, write).addBoth(self._written, batch, fresh)

    def _written(self, result: Failure | None, batch: Batch, fresh: bool) -> None:
        if not isinstance(result, Failure):
            self._settle(None, batch)
        elif result.check(DatabaseUnavailable) or timed_out(result.value):
            self._try_later(result)
        elif fresh:
            self._write(batch, fresh=False)
        else:
            each = self._db.run(self._name, partial(self._write_each, batch.entries))
            each.addCallbacks(self._settle, self._try_later, callbackArgs=(batch,))

    def _settle(self, errors: Sequence[Exception | None] | None, batch: Batch) -> None:
        if self._delay:
            logger.info("log_resumed name=%s waiting=%d", self._name, self.waiting)
        self._delay = 0.0
        self._batches.popleft()
        self.waiting -= len(batch.entries)
        self._weight -= batch.weight
        if self._db.threaded:  # it works on while callbacks do
            self._busy = False
            if self._batches and not self._closed and (rest := self._rest):
                self._call = self._clock.callLater(rest, self._wake_up)
            else:
                self._wake_up()
            batch.settle(errors)
        else:
            batch.settle(errors)
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
            batch.settle([unavailable] * len(batch.entries))

    # The rest runs in the database's thread.

    def _write_entries(
        self, entries: Sequence[_Entry], fresh: bool, connection: Connection
    ) -> None:
        kept, gone = _sum_up(self._tables, entries)
        for table, bulk in self._tables.items():
            if table in gone:  # first: a row that was added again after its removal stays
                bulk.delete(connection, list(gone[table]))
            if kept[table]:
                bulk.insert(connection, kept[table], fresh=fresh)

    def _write_each(
        self, entries: Sequence[_Entry], connection: Connection
    ) -> list[Exception | None]:
        """One by one, to find those that the database refuses: returns its answer to each."""
        works = [Work(self._name, partial(self._write_entries, [e], False)) for e in entries]
        perform_each(connection, works)
        errors = [work.outcome and work.outcome.value for work in works]
        for error in errors:
            if error is not None and timed_out(error):
                raise DatabaseUnavailable(reason(error))
        return errors


def _sum_up(
    tables: Mapping[Table, BulkTable], entries: Sequence[_Entry]
) -> tuple[dict[Table, list[Row]], dict[Table, set[Key]]]:
    """The rows to insert and the keys to remove before, with the same end as one by one."""
    gone: dict[Table, set[Key]] = {e.table: set() for e in entries if type(e) is _Removal}
    by_key: dict[Table, dict[Key, Row]] = {table: {} for table in gone}
    kept: dict[Table, list[Row]] = {table: [] for table in tables}
    if not gone:
        for table, row in chain.from_iterable(cast("Sequence[Unit]", entries)):
            kept[table].append(row)
    for entry in entries if gone else ():
        if isinstance(entry, _Removal):
            gone[entry.table].update(entry.keys)
            for key in entry.keys:
                by_key[entry.table].pop(key, None)
            continue
        for table, row in entry:
            if table in gone:
                by_key[table].setdefault(tables[table].key(row), row)
            else:
                kept[table].append(row)
    for table, rows in by_key.items():
        kept[table].extend(rows.values())
    return kept, gone


def _said(failure: Failure) -> str:
    """The first line of what the database said."""
    return failure.getErrorMessage().partition("\n")[0]


def _pass_barrier(deferred: Deferred[None], error: Exception | None) -> None:
    if isinstance(error, DatabaseUnavailable):
        deferred.errback(error)
    else:
        deferred.callback(None)
