"""Rows that the writer of logs takes alone, and what belongs to them."""

from collections.abc import Callable
from functools import partial
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Connection
from sqlalchemy.exc import IntegrityError

from mongoosetw.storage.database import Database
from mongoosetw.storage.work import DatabaseUnavailable
from tests.storage.log_case import MESSAGE, OWNER, OWNERS, LogCase


def _trace(connection: Connection, told: Callable[[str], object]) -> None:
    """Has each statement of an SQLite connection told."""
    driver: Any = connection.connection.dbapi_connection
    driver.set_trace_callback(told)


class RowsAloneTests(LogCase):
    """Over a database without threads."""

    def test_rows_alone(self) -> None:
        """They are stored among units, as they are when the batch is written."""
        self.log.put((1, "romeo", b"body"))
        changed = self.log.put((2, "romeo", b"body"))
        changed.values[changed.last + 1] = "juliet"
        self.add(3)
        self.log.put((4, "romeo", None))
        self.assertEqual(self.log.waiting, 4)
        self.flush()
        stored = self.rows(sa.select(MESSAGE.c.id, MESSAGE.c.sender).order_by(MESSAGE.c.id))
        senders = {1: "romeo", 2: "juliet", 3: "romeo", 4: "romeo"}
        self.assertEqual(dict(map(tuple, stored)), senders)
        self.assertEqual((changed.settled, changed.error, self.log.waiting), (True, None, 0))

    def test_rows_alone_are_removed(self) -> None:
        """One that is removed before its commit is never there."""
        for number in range(5):
            self.log.put((number, "romeo", b""))
        self.log.remove(MESSAGE, [1, 3])
        self.flush()
        self.assertEqual(self.ids(), [0, 2, 4])

    def test_more_for_a_row(self) -> None:
        """What belongs to a row, and to one of an earlier batch, is stored with it."""
        batch = self.log.put((1, "romeo", b""))
        batch.more(batch.last, OWNER, ("juliet", 1))
        self.flush()
        batch = self.log.apart()
        batch.more(batch.last, OWNER, ("nurse", 1))
        self.flush()
        self.assertEqual(self.rows(OWNERS), [("juliet", 1), ("nurse", 1)])

    def test_row_alone_that_is_refused(self) -> None:
        """It fails alone, with what belongs to it."""
        self.add(1)
        self.log.put((2, "romeo", b""))
        batch = self.log.put((3, None, b""))
        wrong = batch.last
        batch.more(wrong, OWNER, ("nurse", 3))
        self.flush()
        self.assertEqual(list(batch.refused), [wrong])
        self.assertIsInstance(batch.refused[wrong], IntegrityError)
        self.assertEqual((self.ids(), self.rows(OWNERS)), ([1, 2], [("juliet", 1)]))
        self.assertEqual(self.told, [(1, None)])

    def test_row_among_rows_alone_that_is_refused(self) -> None:
        """Nothing else is with them: the others are stored nevertheless."""
        batch = self.log.put((1, "romeo", b""))
        self.log.put((2, None, b""))
        wrong = batch.last
        self.log.put((3, "romeo", b""))
        self.flush()
        self.assertEqual(list(batch.refused), [wrong])
        self.assertIsInstance(batch.refused[wrong], IntegrityError)
        self.assertEqual(self.ids(), [1, 3])

    def test_more_that_is_refused(self) -> None:
        """With it the row to which it belongs is refused, and all that does."""
        batch = self.log.put((1, "romeo", b""))
        wrong = batch.last
        batch.more(wrong, OWNER, ("juliet", 1))
        batch.more(wrong, OWNER, (None, 1))
        self.log.put((2, "romeo", b""))
        self.add(3)
        self.flush()
        self.assertEqual(list(batch.refused), [wrong])
        self.assertIs(batch.error, batch.refused[wrong])
        self.assertEqual((self.ids(), self.rows(OWNERS)), ([2, 3], [("juliet", 3)]))

    def test_bound_of_rows_alone(self) -> None:
        """With too many waiting, by number or by bytes, the next is not taken."""
        few, small = self.writer(limit=2), self.writer(byte_limit=100)
        for number in (1, 2):
            few.put((number, "romeo", b""))
        small.put((3, "romeo", b""), 101)
        for log in (few, small):
            with self.assertRaises(DatabaseUnavailable):
                log.put((4, "romeo", b""), 1)
        for log in (few, small):
            self.wait_for(log.barrier())
        few.put((4, "romeo", b""))
        self.wait_for(few.barrier())
        self.assertEqual(self.ids(), [1, 2, 3, 4])


class SQLiteRowsAloneTests(RowsAloneTests):
    """Over an SQLite file and its thread."""

    def database(self) -> Database:
        """A new file."""
        return self.sqlite()

    def test_rows_alone_are_one_statement(self) -> None:
        """SQLite commits it by itself, unless it takes several or something else is with it."""
        statements: list[str] = []
        self.wait_for(self.db.run("trace", partial(_trace, told=statements.append)))
        statements.clear()
        for number in range(700):
            self.log.put((number, "romeo", b""))
        self.flush()
        self.assertEqual([s.partition(" ")[0] for s in statements], ["INSERT"])
        statements.clear()
        for number in range(700, 3_000):
            self.log.put((number, "romeo", b""))
        self.add(3_000)
        self.flush()
        found = [s.partition(" ")[0] for s in statements]
        self.assertEqual(found, ["INSERT", "BEGIN", "INSERT", "INSERT", "COMMIT"])
        self.assertEqual(self.ids(), list(range(3_001)))


class PostgreSQLRowsAloneTests(RowsAloneTests):
    """Over PostgreSQL and its threads."""

    def database(self) -> Database:
        """The tests' PostgreSQL, emptied."""
        return self.postgresql()
