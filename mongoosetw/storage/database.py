"""The database as the rest of the server sees it: named calls that run in its threads."""

from collections.abc import Callable
from typing import Any, TypeVar

from sqlalchemy import Connection, Engine
from twisted.internet.defer import Deferred, succeed
from twisted.internet.threads import deferToThread

from mongoosetw.config.schema import RDBMSPool
from mongoosetw.storage import migrate
from mongoosetw.storage.engine import engine_for, memory_engine, sqlite_engine
from mongoosetw.storage.lane import DatabaseUnavailable, FromThread, Lane, Work, perform
from mongoosetw.storage.schema import Schema

__all__ = ["Database", "DatabaseUnavailable"]

T = TypeVar("T")


class Database:
    """Runs functions that take a connection, off the reactor's thread.

    ``function(connection)`` is the only place where SQL runs; it returns plain values. What
    it raises, the Deferred fails with; without a database that is DatabaseUnavailable.
    """

    def __init__(self, engine: Engine, from_thread: FromThread | None, *, lanes: int = 3) -> None:
        """
        :param from_thread: ``reactor.callFromThread``; None: no threads, everything runs at
            once in the caller's (for tests).
        """
        self.engine = engine
        self.dialect: str = engine.dialect.name
        self._inline: Connection | None = None
        self._writers: list[Lane] = []
        self._readers: list[Lane] = []
        if from_thread is None:
            self._inline = engine.connect()
            return
        writers = 1 if self.dialect == "sqlite" else max(1, lanes // 2)
        self._writers = [Lane(engine, from_thread, write=True) for _ in range(writers)]
        readers = 2 if self.dialect == "sqlite" else max(1, lanes - writers)
        self._readers = [Lane(engine, from_thread, write=False) for _ in range(readers)]

    @classmethod
    def open(cls, options: RDBMSPool, data_dir: str, reactor: Any) -> "Database":
        """The database of the configuration."""
        engine = engine_for(options, data_dir)
        return cls(engine, reactor.callFromThread, lanes=options.workers)

    @classmethod
    def in_memory(cls) -> "Database":
        """A database without threads whose Deferreds have fired already, for tests."""
        return cls(memory_engine(), None)

    @classmethod
    def sqlite_file(cls, path: str) -> "Database":
        """A database without threads in a file, for tests and tools."""
        return cls(sqlite_engine(path), None)

    def run(self, name: str, function: Callable[[Connection], T]) -> Deferred[T]:
        """Runs a function that may write; the Deferred fires after the commit.

        Calls that wait share one transaction, each in a savepoint of its own.
        """
        return self._submit(self._writers, Work(name, function), write=True)

    def read(self, name: str, function: Callable[[Connection], T]) -> Deferred[T]:
        """Runs a function that only reads."""
        return self._submit(self._readers, Work(name, function), write=False)

    def _submit(self, lanes: list[Lane], work: Work, *, write: bool) -> Deferred[Any]:
        if self._inline is not None:
            return self._run_inline(self._inline, work, write=write)
        min(lanes, key=lambda lane: lane.length).submit(work)
        return work.deferred

    def _run_inline(self, connection: Connection, work: Work, *, write: bool) -> Deferred[Any]:
        other = Work("nothing", lambda _: None)  # two calls: a failed one is undone alone
        perform(connection, [work, other], write=write)
        work.deferred.callback(work.outcome)
        return work.deferred

    def ensure(self, schema: Schema) -> Deferred[None]:
        """Creates an owner's tables, or upgrades them on SQLite.

        The Deferred fails with SchemaRefused if they are newer than the code, or on
        PostgreSQL older.
        """
        if self._inline is not None:
            self._inline.rollback()
            migrate.ensure(self._inline, schema)
            return succeed(None)
        return deferToThread(self._ensure, schema)

    def _ensure(self, schema: Schema) -> None:
        with self.engine.connect() as connection:
            migrate.ensure(connection, schema)

    def close(self) -> Deferred[None]:
        """Finishes what is queued and closes all connections."""
        if self._inline is not None:
            self._inline.close()
            self.engine.dispose()
            return succeed(None)
        return deferToThread(self._close)

    def _close(self) -> None:
        for lane in (*self._writers, *self._readers):
            lane.close()
        self.engine.dispose()
