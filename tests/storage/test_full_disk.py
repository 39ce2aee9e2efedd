"""A full disk, and a file that must not be written: writes fail or wait, and then go on."""

import os
from functools import partial
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Column, Connection, Table
from twisted.internet.task import Clock
from twisted.python.failure import Failure
from twisted.trial.unittest import SkipTest

from mongoosetw.storage import migrate
from mongoosetw.storage.batch import LogWriter
from mongoosetw.storage.database import Database, DatabaseUnavailable
from mongoosetw.storage.engine import postgresql_engine, sqlite_engine
from mongoosetw.storage.schema import Schema, metadata
from mongoosetw.testing.postgres import PostgreSQL
from tests.storage.case import ThreadedCase, Volume

BLOBS = Table(
    "test_blobs",
    metadata,
    Column("id", sa.BigInteger, primary_key=True),
    Column("blob", sa.LargeBinary),
)
_INSERT = sa.insert(BLOBS)
_IDS = sa.select(BLOBS.c.id).order_by(BLOBS.c.id)
SIZE = 100_000


def ids(connection: Connection) -> list[int]:
    """What is stored."""
    return list(connection.execute(_IDS).scalars())


class FullDiskTests(ThreadedCase):
    """SQLite on a file system without space."""

    def setUp(self) -> None:
        """Makes a database on a small volume."""
        super().setUp()
        self.volume = Volume(self, 8)
        self.db = self.watched(self.database())
        with self.db.engine.connect() as connection:
            migrate.ensure(connection, Schema("test_blobs", 1, (BLOBS,)))

    def database(self) -> Database:
        """The database on the volume."""
        path = str(self.volume.folder / "db.sqlite")
        return Database(sqlite_engine(path), self.from_thread)

    def write(self, number: int) -> Any:
        """What comes of a large row."""
        row = {"id": number, "blob": os.urandom(SIZE)}
        (result,) = self.wait([self.db.run("add", lambda c: c.execute(_INSERT, row).rowcount)])
        return result

    def stored(self) -> list[int]:
        """The rows' keys."""
        (result,) = self.wait([self.db.read("ids", ids)])
        assert isinstance(result, list), result
        return result

    def test_calls(self) -> None:
        """Writes fail as unavailable while the disk is full, reads do not."""
        self.expect_warnings()
        self.assertEqual(self.write(0), 1)
        self.volume.fill()
        for _ in range(3):  # what was reserved before may take a row
            result = self.write(1)
            if isinstance(result, Failure):
                break
        assert isinstance(result, Failure)
        self.assertTrue(result.check(DatabaseUnavailable), result)
        self.assertIn(0, self.stored())
        before = self.stored()
        self.volume.free()
        self.assertEqual(self.write(2), 1)
        self.assertEqual(self.stored(), [*before, 2])

    def test_log(self) -> None:
        """LogWriter waits for space, and loses, doubles and reorders nothing."""
        self.expect_warnings()
        clock = Clock()
        log = LogWriter(self.db, clock, "log", [BLOBS])
        told: list[tuple[int, Exception | None]] = []
        for number in range(40):
            if number == 5:
                self.volume.fill()
            unit = ((BLOBS, (number, os.urandom(SIZE))),)
            log.add(unit, lambda error, n=number: told.append((n, error)))  # type: ignore[misc]
            clock.advance(0.01)
            self.pump()
        self.wait_until(clock, lambda: bool(clock.getDelayedCalls()))
        self.assertGreater(log.waiting, 0)
        self.assertNotIn(39, self.stored())
        self.volume.free()
        self.wait_until(clock, lambda: not log.waiting)
        self.assertEqual(told, [(number, None) for number in range(40)])
        self.assertEqual(self.stored(), list(range(40)))

    def wait_until(self, clock: Clock, condition: Any) -> None:
        """Lets time pass until something holds."""
        for _ in range(10_000):
            if condition():
                return
            clock.advance(0.01)
            self.wait([self.db.read("ids", ids)])
        self.fail("it did not happen")


class PostgreSQLFullDiskTests(FullDiskTests):
    """PostgreSQL whose tables lie on a file system without space."""

    def database(self) -> Database:
        """A PostgreSQL with its tables on the volume."""
        if not PostgreSQL.installed():
            raise SkipTest("PostgreSQL is not installed")
        server = PostgreSQL()
        self.addCleanup(server.close)
        server.start()
        space = self.volume.folder / "space"
        space.mkdir()
        owner = os.stat(server.folder)
        os.chown(space, owner.st_uid, owner.st_gid)
        for folder in space.parents:  # the tests' own folders are closed to others
            os.chmod(folder, os.stat(folder).st_mode | 0o011)
        server.query(f"CREATE TABLESPACE small LOCATION '{space}'")
        server.query("ALTER DATABASE postgres SET default_tablespace = small")
        return Database(postgresql_engine(server.url), self.from_thread, lanes=2)


class ReadOnlyTests(ThreadedCase):
    """An SQLite file that may be read only."""

    def test_read_only_file(self) -> None:
        """Writes fail as unavailable, reads go on; both work when it may be written again."""
        self.expect_warnings()
        path = Path(self.mktemp())
        db = Database(sqlite_engine(str(path)), self.from_thread)
        with db.engine.connect() as connection:
            migrate.ensure(connection, Schema("test_blobs", 1, (BLOBS,)))
        self.addCleanup(db._close)
        insert = partial(self.insert, db)
        path.chmod(0o444)
        if os.getuid() == 0:  # for whom modes do not count
            os.chown(path, 65534, 65534)
            os.chown(path.parent, 65534, 65534)
            os.seteuid(65534)
            self.addCleanup(os.seteuid, 0)
        result = insert(1)
        assert isinstance(result, Failure), result
        self.assertTrue(result.check(DatabaseUnavailable), result)
        self.assertEqual(self.wait([db.read("ids", ids)]), [[]])
        for file in path.parent.glob(f"{path.name}*"):  # its journals have its mode
            file.chmod(0o644)
        results = (insert(2) for _ in range(100))
        self.assertEqual(next(result for result in results if not isinstance(result, Failure)), 1)
        self.assertEqual(self.wait([db.read("ids", ids)]), [[2]])

    def insert(self, db: Database, number: int) -> Any:
        """What comes of a row."""
        row = {"id": number, "blob": b""}
        (result,) = self.wait([db.run("add", lambda c: c.execute(_INSERT, row).rowcount)])
        return result
