"""The database as the rest of the server sees it: named calls that run in its threads."""

import time
from collections.abc import Callable
from typing import Any, Final, TypeVar

from sqlalchemy import Connection, Engine
from sqlalchemy.exc import DBAPIError, SQLAlchemyError
from twisted.internet.defer import Deferred, execute, succeed
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.internet.threads import deferToThread
from twisted.python.failure import Failure

from mongoosetw.config.schema import RDBMSPool
from mongoosetw.storage import migrate
from mongoosetw.storage.engine import engine_for, memory_engine, refuse_writes, sqlite_engine
from mongoosetw.storage.faults import Fault, fault_of
from mongoosetw.storage.journal import Journal
from mongoosetw.storage.lane import FromThread, Lane
from mongoosetw.storage.schema import Schema
from mongoosetw.storage.turns import Turns
from mongoosetw.storage.watch import Watchdog
from mongoosetw.storage.work import DatabaseUnavailable, Work, perform, reason

__all__ = ["Database", "DatabaseUnavailable"]

GATHERED: Final = 0.005
"""Seconds between the reads of :meth:`Database.gather`."""

T = TypeVar("T")


class Database:
    """Runs functions that take a connection, off the reactor's thread.

    ``function(connection)`` is the only place where SQL runs; it returns plain values. What
    it raises, the Deferred fails with; without a database that is DatabaseUnavailable. It is
    called again when another transaction was in the way, so it changes nothing but the
    database, and it neither commits nor rolls back.
    """

    def __init__(
        self,
        engine: Engine,
        from_thread: FromThread | None,
        *,
        lanes: int = 3,
        patience: float = 20.0,
        turns: Turns | None = None,
        clock: IReactorTime | None = None,
    ) -> None:
        """
        :param from_thread: ``reactor.callFromThread``; None: no threads, everything runs at
            once in the caller's (for tests).
        :param patience: seconds after which PostgreSQL is given up if it does not answer.
        :param turns: of processes that write to the same SQLite file.
        :param clock: the reactor; without one nothing waits for company.
        """
        self.engine = engine
        self.dialect: str = engine.dialect.name
        self._inline: Connection | None = None
        self._writers: list[Lane] = []
        self._readers: list[Lane] = []
        self._watchdog: Watchdog | None = None
        self._turns = turns
        self._clock = clock
        self._gathered: list[Callable[[], Work]] = []
        self._gathering: IDelayedCall | None = None
        self._gathered_at = -GATHERED
        if from_thread is None:
            self._inline = engine.connect()
            return
        path = engine.url.database
        tend = Journal(path).tend if self.dialect == "sqlite" and path else None
        writers = 1 if self.dialect == "sqlite" else max(1, lanes // 2)
        self._writers = [
            Lane(engine, from_thread, write=True, turns=turns, tend=tend) for _ in range(writers)
        ]
        readers = 2 if self.dialect == "sqlite" else max(1, lanes - writers)
        self._readers = [Lane(engine, from_thread, write=False) for _ in range(readers)]
        if self.dialect == "postgresql":
            self._watchdog = Watchdog(self._lanes, patience)
        else:
            self._writers[0].on_gone = self._reopen

    def _reopen(self) -> None:
        """SQLite files are opened anew after a failure, by all lanes.

        Connections of one process share a file's state, such as that it could not be
        opened for writing, for as long as one of them is open.
        """
        for lane in self._readers:
            lane.reconnect()

    def watch(self, on_timing: Callable[[str, float], object]) -> None:
        """Has each call's name told, and the seconds from the call to its result.

        Calls of a database without threads are not told.
        """
        for lane in self._lanes:
            lane.on_timing = on_timing

    @property
    def threaded(self) -> bool:
        """Whether calls run beside the reactor, and not at once."""
        return self._inline is None

    @property
    def waiting(self) -> int:
        """Calls without a result yet."""
        return sum(lane.length for lane in self._lanes)

    @classmethod
    def open(
        cls, options: RDBMSPool, data_dir: str, reactor: Any, processes: int = 1
    ) -> "Database":
        """The database of the configuration.

        :param processes: how many of this machine use it.
        """
        engine = engine_for(options, data_dir)
        path = engine.url.database
        shared = processes > 1 and engine.dialect.name == "sqlite" and path
        return cls(
            engine,
            reactor.callFromThread,
            lanes=options.workers,
            patience=3 * options.query_timeout + 5,
            turns=Turns(path) if shared and path else None,
            clock=reactor,
        )

    @classmethod
    def in_memory(cls) -> "Database":
        """A database without threads whose Deferreds have fired already, for tests."""
        return cls(memory_engine(), None)

    @classmethod
    def sqlite_file(cls, path: str) -> "Database":
        """A database without threads in a file, for tests and tools."""
        return cls(sqlite_engine(path), None)

    def run(
        self, name: str, function: Callable[[Connection], T], *, single: bool = False
    ) -> Deferred[T]:
        """Runs a function that may write; the Deferred fires after the commit.

        Calls that wait share one transaction, each in a savepoint of its own.

        :param single: the function runs one statement of SQLite, in the driver's words: alone it
            is a transaction by itself, which spares the thread the wait for the interpreter
            after BEGIN and COMMIT.
        """
        return self._submit(self._writers, Work(name, function, single=single), write=True)

    def read(self, name: str, function: Callable[[Connection], T]) -> Deferred[T]:
        """Runs a function that only reads."""
        return self._submit(self._readers, Work(name, function), write=False)

    def gather(self, make: Callable[[], Work]) -> None:
        """Has a call made that only reads, together with others: at once, or a little later.

        To wake a thread costs more than a short read. So reads that may wait for one another go to
        one thread, with those of the whole turn and, where there are many, of some milliseconds.

        :param make: says what to read, when its time has come.
        """
        if self._inline is not None:
            work = make()
            self.read(work.name, work.function).chainDeferred(work.deferred)
            return
        self._gathered.append(make)
        if self._clock is None:
            self._read_gathered()
        elif self._gathering is None:
            wait = self._gathered_at + GATHERED - self._clock.seconds()
            self._gathering = self._clock.callLater(max(0.0, wait), self._read_gathered)

    def _read_gathered(self) -> None:
        self._gathering = None
        if self._clock is not None:
            self._gathered_at = self._clock.seconds()
        gathered, self._gathered = self._gathered, []
        lane = min(self._readers, key=lambda lane: lane.length)
        for make in gathered:
            lane.submit(make())

    def _submit(self, lanes: list[Lane], work: Work, *, write: bool) -> Deferred[Any]:
        if self._inline is not None:
            return self._run_inline(self._inline, work, write=write)
        min(lanes, key=lambda lane: lane.length).submit(work)
        return work.deferred

    def _run_inline(self, connection: Connection, work: Work, *, write: bool) -> Deferred[Any]:
        guarded = self.dialect == "sqlite" and not write
        connection.execution_options(write=write)
        try:
            if guarded:
                refuse_writes(connection, True)
            perform(connection, [work], write=write)
        except SQLAlchemyError as error:
            work.outcome = Failure(DatabaseUnavailable(reason(error)))
        except DatabaseUnavailable:
            work.outcome = Failure()
        finally:
            if guarded:
                refuse_writes(connection, False)
        work.deferred.callback(work.outcome)
        return work.deferred

    def ensure(self, schema: Schema) -> Deferred[None]:
        """Creates an owner's tables, or upgrades them on SQLite.

        The Deferred fails with SchemaRefused if they are newer than the code, or on
        PostgreSQL older, and with DatabaseUnavailable without a database.
        """
        if self._inline is not None:
            return execute(migrate.ensure, self._inline, schema)
        return deferToThread(self._ensure, schema)

    def _ensure(self, schema: Schema) -> None:
        try:
            with self.engine.connect().execution_options(write=True) as connection:
                migrate.ensure(connection, schema)
        except DBAPIError as error:
            if fault_of(error) is Fault.CALL:
                raise
            raise DatabaseUnavailable(reason(error)) from error

    def close(self) -> Deferred[None]:
        """Finishes what is queued, if it can be soon, and closes all connections."""
        if self._inline is not None:
            self._inline.close()
            self.engine.dispose()
            return succeed(None)
        if self._gathering is not None:
            self._gathering.cancel()
            self._read_gathered()
        for lane in self._lanes:
            lane.end()
        return deferToThread(self._close)

    @property
    def _lanes(self) -> list[Lane]:
        return [*self._writers, *self._readers]

    def _close(self, patience: float = 10.0) -> None:
        until = time.monotonic() + patience
        for lane in self._lanes:
            lane.end()
        for lane in self._lanes:
            lane.join(max(0.0, until - time.monotonic()))
        for lane in self._lanes:
            lane.give_up()
        for lane in self._lanes:
            lane.join(1.0)
        if self._watchdog is not None:
            self._watchdog.end()
        if self._turns is not None:
            self._turns.close()
        self.engine.dispose()
