"""What shares a commit: rows of several tables, and removals, in their order."""

import logging
from collections.abc import Callable, Mapping, Sequence
from itertools import chain
from typing import Any, TypeAlias

from sqlalchemy import Table

from mongoosetw.storage.bulk import BulkTable, Key, Row, rows_of

logger = logging.getLogger(__name__)

Unit: TypeAlias = Sequence[tuple[Table, Row]]
"""Rows that are committed together or not at all, each with its table."""
Done: TypeAlias = Callable[[Exception | None], object]
"""Is told once, in the reactor's thread: None after the commit, or what went wrong."""


class Removal:
    """Rows of a table that are to go, by their keys."""

    __slots__ = ("keys", "table")

    def __init__(self, table: Table, keys: Sequence[Key]) -> None:
        self.table = table
        self.keys = keys


Entries: TypeAlias = Sequence[tuple[int, Unit | Removal]]
"""Units and removals, each with its place."""


class Batch:
    """What shares a commit.

    Most of it are rows of one table, each alone (``LogWriter.put``). Their values are kept one
    after the other in a single list: so what waits by the thousand leaves little behind in the
    processor's caches, and is what the drivers want to have.

    :ivar values: of those rows; the place of a row is where its first value is, and it may be
        changed as long as the batch gathers.
    :ivar last: the place that was given last; a negative one has no row among ``values``.
    :ivar entries: all else, each with its place.
    :ivar count: places that were given.
    :ivar weight: the bytes that they hold.
    :ivar settled: whether the commit happened, or never will.
    :ivar error: the first error of a settled batch; None: all of it is committed.
    :ivar refused: what went wrong with what was not stored, by its place.
    """

    __slots__ = (
        "_callbacks",
        "_dones",
        "byte_room",
        "count",
        "entries",
        "error",
        "last",
        "refused",
        "room",
        "settled",
        "values",
        "weight",
    )

    def __init__(self, room: int = 0, byte_room: int = 0) -> None:
        """
        :param room: how many it takes.
        :param byte_room: bytes that these may hold.
        """
        self.room = room
        self.byte_room = byte_room
        self.values: list[Any] = []
        self.entries: list[tuple[int, Unit | Removal]] = []
        self.last = 0
        self.count = 0
        self.weight = 0
        self.settled = False
        self.error: Exception | None = None
        self.refused: Mapping[int, Exception] = {}
        self._dones: dict[int, Done] = {}  # by place
        self._callbacks: list[Done] = []

    def take(self, entry: Unit | Removal, done: Done | None) -> None:
        """Takes a unit or a removal at the last place.

        :param done: is told of it.
        """
        self.entries.append((self.last, entry))
        if done is not None:
            self._dones[self.last] = done

    def more(self, place: int, table: Table, row: Row) -> None:
        """Takes one more row for a place: all rows of a place are stored, or none is."""
        self.entries.append((place, ((table, row),)))

    def when_committed(self, callback: Done) -> None:
        """Has the callback told of the commit; at once, if the batch is settled.

        The error, if there is one, may be of another row than one's own: see ``refused``, or give
        ``LogWriter.add`` a callback to be told of one unit.
        """
        if self.settled:
            callback(self.error)
        else:
            self._callbacks.append(callback)

    def settle(self, refused: Mapping[int, Exception], lost: Exception | None = None) -> None:
        """Tells everybody: units in their order, then those who wait for the batch.

        :param refused: the errors of what is not stored, by place.
        :param lost: nothing is stored, and why.
        """
        self.settled = True
        dones, self._dones = self._dones, {}
        callbacks, self._callbacks = self._callbacks, []
        self.values, self.entries = [], []
        self.refused = refused
        self.error = lost or next(iter(refused.values()), None)
        for place, done in dones.items():
            _tell(done, lost or refused.get(place))
        for callback in callbacks:
            _tell(callback, self.error)


def _tell(callback: Done, error: Exception | None) -> None:
    try:
        callback(error)
    except Exception:  # boundary: the others are told nevertheless
        logger.exception("log_callback_failed callback=%r", callback)


def sum_up(
    tables: Mapping[Table, BulkTable], values: list[Any], entries: Entries
) -> tuple[dict[Table, list[Any]], dict[Table, set[Key]]]:
    """The values to insert and the keys to remove before, with the same end as one by one.

    :param tables: all that there are; ``values`` are of rows of the first, which come before all
        that is said of them.
    """
    first = next(iter(tables))
    gone: dict[Table, set[Key]] = {e.table: set() for _, e in entries if isinstance(e, Removal)}
    kept: dict[Table, list[Any]] = {table: [] for table in tables}
    by_key: dict[Table, dict[Key, Row]] = {table: {} for table in gone}
    if first in gone:
        alone = rows_of(values, tables[first].width)
        by_key[first] = {tables[first].key(row): row for row in alone}
    for _, entry in entries:
        if isinstance(entry, Removal):
            gone[entry.table].update(entry.keys)
            for key in entry.keys:
                by_key[entry.table].pop(key, None)
            continue
        for table, row in entry:
            if table in gone:
                by_key[table].setdefault(tables[table].key(row), row)
            else:
                kept[table] += row
    for table, found in by_key.items():
        kept[table] += chain.from_iterable(found.values())
    if first not in gone:
        kept[first] = values + kept[first] if kept[first] else values
    return kept, gone
