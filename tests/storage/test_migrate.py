"""Schema versions in files and on PostgreSQL."""

import glob
import os
import sqlite3
import stat
import threading
from contextlib import closing

from sqlalchemy import inspect

from mongoosetw.storage import migrate
from mongoosetw.storage.database import Database, DatabaseUnavailable
from mongoosetw.storage.engine import postgresql_engine
from mongoosetw.storage.schema import Schema, Step, metadata
from tests.storage.case import NAMES, NAMES_SCHEMA, ThreadedCase, add, postgresql_url

_AGE = ("ALTER TABLE test_names ADD COLUMN age INTEGER",)
_OLDER = Schema("test_names", 1, (NAMES,))
_NEWER = Schema("test_names", 2, (NAMES,), {2: Step(pg=_AGE, sqlite=_AGE)})


def columns(db: Database) -> list[str]:
    """The names of the table's columns."""
    with db.engine.connect() as connection:
        return [column["name"] for column in inspect(connection).get_columns("test_names")]


class MigrateTests(ThreadedCase):
    """Tables older than the code."""

    def file(self) -> Database:
        """A database in a file with old tables and one row."""
        db = Database.sqlite_file(self.mktemp())
        self.addCleanup(db.close)
        self.successResultOf(db.ensure(_OLDER))
        self.successResultOf(db.run("add", lambda c: add(c, "a")))
        return db

    def test_sqlite_is_copied_before(self) -> None:
        """The file is copied as it was, for its owner's eyes only, and then upgraded."""
        db = self.file()
        self.successResultOf(db.ensure(_NEWER))
        self.assertEqual(columns(db), ["name", "age"])
        (copy,) = glob.glob(f"{db.engine.url.database}.before-upgrade-*")
        self.assertEqual(stat.S_IMODE(os.stat(copy).st_mode), 0o600)
        with closing(sqlite3.connect(copy)) as old:
            self.assertEqual(old.execute("SELECT * FROM test_names").fetchall(), [("a",)])

    def test_failed_step_changes_nothing(self) -> None:
        """A step that fails leaves table and version as they were."""
        db = self.file()
        broken = Schema("test_names", 2, (NAMES,), {2: Step(sqlite=(*_AGE, "NONSENSE"))})
        self.assertIsNotNone(self.failureResultOf(db.ensure(broken)))
        self.assertEqual(columns(db), ["name"])
        self.successResultOf(db.ensure(_OLDER))

    def test_mode_of_a_new_file(self) -> None:
        """A new database is for its owner's eyes only."""
        mode = os.stat(str(self.file().engine.url.database)).st_mode
        self.assertEqual(stat.S_IMODE(mode), 0o600)

    def test_postgresql_waits_for_the_operator(self) -> None:
        """PostgreSQL is not upgraded by a start, and the text says which command does it."""
        db = self.postgresql()
        with db.engine.connect() as connection:
            with self.assertRaisesRegex(migrate.SchemaRefused, "mongoosectl db upgrade"):
                migrate.ensure(connection, _NEWER)
        with db.engine.connect() as connection:
            migrate.ensure(connection, _NEWER, upgrade=True)
        self.assertEqual(columns(db), ["name", "age"])

    def test_nodes_that_start_at_once_postgresql(self) -> None:
        """Nodes that start at the same time on an empty database all get their tables."""
        engine = postgresql_engine(postgresql_url())
        with engine.begin() as connection:
            metadata.drop_all(connection)
        errors: list[BaseException] = []
        start = threading.Barrier(8)

        def node() -> None:
            start.wait(10)
            try:
                with engine.connect() as connection:
                    migrate.ensure(connection, NAMES_SCHEMA)
            except BaseException as error:  # told to the test's own thread
                errors.append(error)

        threads = [threading.Thread(target=node) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(20)
        self.assertEqual(errors, [])

    def test_unreachable_postgresql(self) -> None:
        """A start without a database says so as DatabaseUnavailable."""
        db = Database(postgresql_engine("postgresql+psycopg2://x@127.0.0.1:1/x"), self.from_thread)
        self.addCleanup(db._close)
        with self.assertRaises(DatabaseUnavailable):
            db._ensure(NAMES_SCHEMA)
