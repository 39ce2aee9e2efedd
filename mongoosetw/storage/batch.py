"""Rows that arrive one by one and are inserted many at a time."""

from collections.abc import Mapping
from typing import Any, TypeAlias

from sqlalchemy import Connection, Insert
from twisted.internet.defer import Deferred, fail
from twisted.python.failure import Failure

from mongoosetw.storage.database import Database
from mongoosetw.storage.work import DatabaseUnavailable

Row: TypeAlias = Mapping[str, Any]
_Waiting: TypeAlias = list[tuple[Row, Deferred[None]]]


class BatchInsert:
    """Inserts rows; those that come while a commit runs are one statement of the next.

    :param statement: an INSERT; every row has a value for the same columns.
    :param limit: rows that may wait; further ones fail with DatabaseUnavailable.
    :param size: most rows of one statement.
    """

    def __init__(
        self, db: Database, statement: Insert, *, name: str, limit: int = 10_000, size: int = 500
    ) -> None:
        self._db = db
        self._statement = statement
        self._name = name
        self._limit = limit
        self._size = size
        self._waiting: _Waiting = []
        self._busy = False

    def add(self, row: Row) -> Deferred[None]:
        """Inserts a row; the Deferred fires after the commit.

        It fails with what the database says of this row, whatever becomes of the others.
        """
        if len(self._waiting) >= self._limit:
            return fail(DatabaseUnavailable(f"too many rows wait for {self._name}"))
        deferred: Deferred[None] = Deferred()
        self._waiting.append((row, deferred))
        if not self._busy:
            self._flush()
        return deferred

    def _flush(self) -> None:
        batch, self._waiting = self._waiting[: self._size], self._waiting[self._size :]
        self._busy = True
        self._insert([row for row, _ in batch]).addBoth(self._flushed, batch)

    def _insert(self, rows: list[Row]) -> Deferred[None]:
        def work(connection: Connection) -> None:
            connection.execute(self._statement, rows)

        return self._db.run(self._name, work)

    def _flushed(self, result: Failure | None, batch: _Waiting) -> None:
        self._busy = False
        spoilt = isinstance(result, Failure) and not result.check(DatabaseUnavailable)
        if spoilt and len(batch) > 1:
            for row, deferred in batch:  # before later rows, so that their order stays
                self._insert([row]).chainDeferred(deferred)
        if self._waiting:
            self._flush()
        if not spoilt or len(batch) == 1:
            for _, deferred in batch:
                deferred.callback(result)  # a Failure becomes an errback
