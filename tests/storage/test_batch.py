"""Rows gathered into few statements."""

from typing import Any

from sqlalchemy import Connection, event
from sqlalchemy.exc import IntegrityError
from twisted.python.failure import Failure

from mongoosetw.storage.batch import BatchInsert
from mongoosetw.storage.database import Database, DatabaseUnavailable
from tests.storage.case import INSERT, ThreadedCase, stored


class BatchInsertTests(ThreadedCase):
    """Rows that come while a commit runs."""

    def check_gathering(self, db: Database) -> None:
        """A hundred rows in one turn."""
        statements: list[str] = []

        def executed(_c: Connection, _k: Any, statement: str, *_: Any) -> None:
            if statement.startswith("INSERT"):
                statements.append(statement)

        event.listen(db.engine, "before_cursor_execute", executed)
        rows = BatchInsert(db, INSERT, name="add")
        self.assertEqual(self.wait([rows.add({"name": str(n)}) for n in range(100)]), [None] * 100)
        self.assertEqual(len(self.wait([db.read("read", stored)])[0]), 100)
        self.assertEqual(len(statements), 2)

    def test_gathering(self) -> None:
        """The first row goes at once, all that came meanwhile in one statement."""
        self.check_gathering(self.sqlite())

    def test_gathering_postgresql(self) -> None:
        """PostgreSQL keeps the same contract."""
        self.check_gathering(self.postgresql())

    def check_duplicate(self, db: Database) -> None:
        """Rows of which one is there already."""
        rows = BatchInsert(db, INSERT, name="add")
        results = self.wait([rows.add({"name": name}) for name in "abcbd"])
        failed = [result for result in results if isinstance(result, Failure)]
        self.assertEqual([bool(failure.check(IntegrityError)) for failure in failed], [True])
        self.assertEqual(sorted(self.wait([db.read("read", stored)])[0]), ["a", "b", "c", "d"])

    def test_wrong_row_fails_alone(self) -> None:
        """A row that the database refuses does not keep the others out."""
        self.check_duplicate(self.sqlite())

    def test_wrong_row_fails_alone_postgresql(self) -> None:
        """PostgreSQL keeps the same contract."""
        self.check_duplicate(self.postgresql())

    def test_sizes(self) -> None:
        """More rows than a statement takes are stored in their order."""
        db = self.sqlite()
        rows = BatchInsert(db, INSERT, name="add", size=7)
        names = [f"{n:03}" for n in range(50)]
        self.wait([rows.add({"name": name}) for name in names])
        self.assertEqual(self.wait([db.read("read", stored)]), [names])

    def test_bound(self) -> None:
        """With too many rows waiting, the next fails at once."""
        db = self.sqlite()
        rows = BatchInsert(db, INSERT, name="add", limit=2)
        held = self.held(db.run)
        waiting = [rows.add({"name": name}) for name in "abc"]
        self.failureResultOf(rows.add({"name": "d"}), DatabaseUnavailable)
        held.release()
        self.assertEqual(self.wait(waiting), [None] * 3)

    def test_without_threads(self) -> None:
        """Over a database without threads a row is stored when add returns."""
        db = Database.in_memory()
        self.watched(db)
        self.successResultOf(BatchInsert(db, INSERT, name="add").add({"name": "a"}))
        self.assertEqual(self.successResultOf(db.read("read", stored)), ["a"])
