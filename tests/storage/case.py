"""What the tests of storage share: a database with threads, and no reactor."""

import os
import subprocess
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from sqlalchemy import Column, Connection, String, Table, insert, select
from twisted.internet.defer import Deferred
from twisted.trial.unittest import SkipTest, SynchronousTestCase

from mongoosetw.storage import migrate
from mongoosetw.storage.database import Database
from mongoosetw.storage.engine import postgresql_engine, sqlite_engine
from mongoosetw.storage.schema import Schema, metadata

NAMES = Table("test_names", metadata, Column("name", String(50), primary_key=True))
NAMES_SCHEMA = Schema("test_names", 1, (NAMES,))
INSERT = insert(NAMES)


def add(connection: Connection, name: str) -> None:
    """Stores a name."""
    connection.execute(INSERT, {"name": name})


def stored(connection: Connection) -> list[str]:
    """All names, in the order of their storing on SQLite."""
    return list(connection.execute(select(NAMES.c.name)).scalars())


def postgresql_url() -> str:
    """The tests' PostgreSQL."""
    url = os.environ.get("MONGOOSETW_TEST_PG")
    if not url:
        raise SkipTest("MONGOOSETW_TEST_PG names no database")
    return url


class Volume:
    """A small file system of a test's own, to be filled.

    :ivar folder: where it is mounted.
    """

    def __init__(self, test: SynchronousTestCase, megabytes: int) -> None:
        """
        :raises SkipTest: only root may mount one.
        """
        self.folder = Path(test.mktemp()).absolute()
        self.folder.mkdir()
        command = ["mount", "-t", "tmpfs", "-o", f"size={megabytes}m", "tmpfs", str(self.folder)]
        if os.getuid() or subprocess.run(command, capture_output=True, check=False).returncode:
            raise SkipTest("only root can mount a small file system to fill it")
        test.addCleanup(subprocess.run, ["umount", "-l", str(self.folder)], check=True)
        self._ballast = self.folder / "ballast"

    def fill(self) -> None:
        """Takes all the space that is left."""
        with self._ballast.open("wb", 0) as ballast, suppress(OSError):
            while ballast.write(bytes(4096)) == 4096:
                pass

    def free(self) -> None:
        """Gives the space back."""
        self._ballast.unlink()


class ThreadedCase(SynchronousTestCase):
    """Runs what the threads want done in the reactor's while the test waits."""

    def setUp(self) -> None:
        """Collects those calls."""
        self.calls: list[tuple[Callable[..., object], tuple[Any, ...]]] = []

    def from_thread(self, function: Callable[..., object], *args: Any) -> None:
        """``reactor.callFromThread``."""
        self.calls.append((function, args))

    def expect_warnings(self) -> None:
        """Something is logged from here on; it is not shown."""
        self.enterContext(self.assertLogs("mongoosetw.storage", "WARNING"))

    def sqlite(self) -> Database:
        """A database in a new file."""
        return self.watched(Database(sqlite_engine(self.mktemp()), self.from_thread))

    def postgresql(self, *, lanes: int = 1, query_timeout: float = 5.0) -> Database:
        """The tests' PostgreSQL, emptied."""
        engine = postgresql_engine(postgresql_url(), query_timeout)
        with engine.begin() as connection:
            metadata.drop_all(connection)
        return self.watched(Database(engine, self.from_thread, lanes=lanes))

    def watched(self, db: Database) -> Database:
        """Has the table made, and everything closed at the end."""
        with db.engine.connect() as connection:
            migrate.ensure(connection, NAMES_SCHEMA)
        self.addCleanup(db._close)
        return db

    def wait(self, deferreds: Sequence[Deferred[Any]]) -> list[Any]:
        """The results, in the order in which they came, when all have come."""
        results: list[Any] = []
        for deferred in deferreds:
            deferred.addBoth(results.append)
        until = time.monotonic() + 30
        while len(results) < len(deferreds) and time.monotonic() < until:
            self.pump()
            time.sleep(0.001)
        self.assertEqual(len(results), len(deferreds), "calls without a result after 30 s")
        return results

    def pump(self) -> None:
        """Does what the threads want done."""
        while self.calls:
            function, args = self.calls.pop(0)
            function(*args)

    def held(self, call: Callable[[str, Callable[[Connection], Any]], Deferred[Any]]) -> "Held":
        """Occupies a lane, so that further calls gather behind it."""
        return Held(call)


class Held:
    """A call that does not return before it is told to."""

    def __init__(
        self, call: Callable[[str, Callable[[Connection], Any]], Deferred[Any]]
    ) -> None:
        self._started, self._release = threading.Event(), threading.Event()
        self.deferred = call("held", self._work)
        self._started.wait(10)

    def _work(self, connection: Connection) -> None:
        self._started.set()
        self._release.wait(10)

    def release(self) -> None:
        """Lets it return."""
        self._release.set()
