"""Lanes: whose fault an error is, what comes back by itself, order, bounds."""

import os
import sqlite3
import sys
import threading
import time
from functools import partial
from itertools import cycle
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from sqlalchemy import Connection, text
from sqlalchemy.exc import DBAPIError, IntegrityError, OperationalError
from twisted.internet.defer import CancelledError, Deferred
from twisted.python.failure import Failure
from twisted.trial.unittest import SkipTest

from mongoosetw.config.schema import RDBMSPool
from mongoosetw.storage import journal, lane
from mongoosetw.storage.database import Database, DatabaseUnavailable
from mongoosetw.storage.engine import sqlite_engine
from mongoosetw.storage.interpreter import Hurry
from tests.storage.case import NAMES, ThreadedCase, add, stored

SLOW = text("SELECT 1 FROM pg_sleep(2)")
KILL = text("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid()")


def failures(results: list[Any]) -> list[Failure]:
    """Those results that are failures."""
    return [result for result in results if isinstance(result, Failure)]


def ask_nowhere(connection: Connection) -> int:
    """Reads a table that is not there."""
    return len(connection.execute(text("SELECT * FROM nowhere")).all())


def swallow(connection: Connection) -> None:
    """Goes on after a statement that failed, as if nothing had been."""
    add(connection, "a")
    try:
        add(connection, "a")
    except IntegrityError:
        return


class ErrorTests(ThreadedCase):
    """Calls that share a transaction."""

    def check_failed_read(self, db: Database) -> None:
        """Three reads at once, the first of which fails."""
        held = self.held(db.read)
        other = self.held(db.read) if db.dialect == "sqlite" else None  # two lanes for reads
        calls: list[Deferred[Any]] = [db.read("nowhere", ask_nowhere)]
        calls += [db.read("read", stored) for _ in range(3)]
        for each in (held, other):
            if each is not None:
                each.release()
        results = self.wait(calls)
        self.assertEqual(results.count([]), 3)
        (failed,) = failures(results)
        self.assertTrue(failed.check(DBAPIError), failed)

    def test_failed_read(self) -> None:
        """A read of what is not there fails alone and by its own error."""
        self.check_failed_read(self.sqlite())

    def test_failed_read_postgresql(self) -> None:
        """PostgreSQL keeps the same contract."""
        self.check_failed_read(self.postgresql())

    def test_slow_statement_postgresql(self) -> None:
        """A statement that takes too long fails alone; what was written beside it stays."""
        db = self.postgresql(query_timeout=0.3)
        held = self.held(db.run)
        calls = [
            db.run("add", lambda c: add(c, "a")),
            db.run("slow", lambda c: c.execute(SLOW).scalar()),
            db.run("add", lambda c: add(c, "b")),
        ]
        held.release()
        (failed,) = failures(self.wait(calls))
        self.assertTrue(failed.check(OperationalError), failed)
        self.assertEqual(self.wait([db.read("read", stored)]), [["a", "b"]])

    def test_swallowed_error_postgresql(self) -> None:
        """No call that PostgreSQL would roll back in silence is told that it was stored."""
        db = self.postgresql()
        (alone,) = self.wait([db.run("swallow", swallow)])
        self.assertIsInstance(alone, Failure)
        held = self.held(db.run)
        calls = [db.run("swallow", swallow), db.run("add", lambda c: add(c, "b"))]
        held.release()
        self.assertEqual(len(failures(self.wait(calls))), 1)
        self.assertEqual(self.wait([db.read("read", stored)]), [["b"]])

    def test_transaction_ended_by_a_call(self) -> None:
        """A call that commits on its own fails, and the lane works on."""
        db = self.sqlite()
        (failed,) = self.wait([db.run("commit", lambda c: c.commit())])
        self.assertIsInstance(failed, Failure)
        self.wait([db.run("add", lambda c: add(c, "a"))])
        self.assertEqual(self.wait([db.read("read", stored)]), [["a"]])


class RecoveryTests(ThreadedCase):
    """What was gone comes back without a restart."""

    def test_full_disk(self) -> None:
        """A full disk fails the writes of that moment as unavailable."""
        db = self.sqlite()

        def fill(connection: Connection) -> None:
            connection.execute(text("PRAGMA max_page_count=1"))
            connection.execute(text("CREATE TABLE large (a)"))

        (failed,) = self.wait([db.run("fill", fill)])
        self.assertTrue(failed.check(DatabaseUnavailable), failed)
        # the next call has a connection of its own, and there is room again
        self.assertEqual(self.wait([db.run("add", lambda c: add(c, "a"))]), [None])

    def test_locked_file(self) -> None:
        """A write waits for another process's transaction."""
        db = self.sqlite()
        path = db.engine.url.database
        assert path is not None
        rival = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
        rival.execute("BEGIN IMMEDIATE")
        threading.Timer(0.2, rival.execute, ["COMMIT"]).start()
        self.assertEqual(self.wait([db.run("add", lambda c: add(c, "a"))]), [None])
        rival.close()

    def test_lost_connections_postgresql(self) -> None:
        """A connection that died while it was idle is made again for the next call."""
        db = self.postgresql(lanes=2)
        self.wait([db.run("add", lambda c: add(c, "a")), db.read("read", stored)])
        with db.engine.connect() as connection:
            connection.execute(KILL)
        results = self.wait([db.run("add", lambda c: add(c, "b")), db.read("read", stored)])
        self.assertEqual(failures(results), [])
        self.assertEqual(self.wait([db.read("read", stored)]), [["a", "b"]])

    def test_deadlock_postgresql(self) -> None:
        """Two transactions in one another's way are both done in the end."""
        db = self.postgresql(lanes=4)
        self.wait([db.run("add", lambda c, n=n: add(c, n)) for n in "ab"])  # type: ignore[misc]
        meeting = threading.Barrier(2)

        def change(connection: Connection, names: str) -> None:
            for position, name in enumerate(names):
                mine = NAMES.c.name == name
                connection.execute(NAMES.update().where(mine).values(name=name))
                if position == 0 and not meeting.broken:
                    try:
                        meeting.wait(3)
                        meeting.abort()
                    except threading.BrokenBarrierError:
                        return None

        calls = [db.run("change", lambda c, o=o: change(c, o)) for o in ("ab", "ba")]  # type: ignore[misc]
        self.assertEqual(failures(self.wait(calls)), [])


class BoundaryTests(ThreadedCase):
    """What nobody has foreseen."""

    def test_error_of_an_unknown_kind(self) -> None:
        """A lane lives on whatever a driver raises, and its call fails as unavailable."""
        db = self.sqlite()
        perform = lane.perform
        errors: list[Exception] = [RuntimeError("odd")]

        def failing(*args: Any, **kwargs: Any) -> None:
            if errors:
                raise errors.pop()
            perform(*args, **kwargs)

        self.patch(lane, "perform", failing)
        with self.assertLogs(lane.logger, "ERROR"):
            (failed,) = self.wait([db.run("add", lambda c: add(c, "a"))])
        self.assertTrue(failed.check(DatabaseUnavailable), failed)
        self.assertEqual(self.wait([db.run("add", lambda c: add(c, "a"))]), [None])

    def test_cancelled_call(self) -> None:
        """A caller that waits no more disturbs nobody."""
        db = self.sqlite()
        held = self.held(db.run)
        cancelled, other = (db.run("add", lambda c, n=n: add(c, n)) for n in "ab")  # type: ignore[misc]
        cancelled.cancel()
        self.failureResultOf(cancelled, CancelledError)
        held.release()
        self.assertEqual(self.wait([other]), [None])


class SharedFileTests(ThreadedCase):
    """Two nodes that write to the same SQLite file."""

    def setUp(self) -> None:
        """Opens the file twice, as two processes would."""
        super().setUp()
        path = self.mktemp()
        self.nodes = [self.watched(self.opened(path)) for _ in range(2)]
        self.wait([db.run("connect", lambda c: None) for db in self.nodes])

    def opened(self, path: str) -> Database:
        """A node's database."""
        reactor = SimpleNamespace(callFromThread=self.from_thread)
        return Database.open(RDBMSPool(path=path), "", reactor, 2)

    def test_both_get_their_turn(self) -> None:
        """One that writes all the time does not keep the other waiting."""
        busy, other = self.nodes
        done: list[int] = []

        def again(_: object) -> None:
            done.append(len(done))
            busy.run("busy", partial(add, name=f"busy {len(done)}")).addCallback(again)

        again(None)
        again(None)  # so that the next call is queued when one is done
        for number in range(30):
            before = len(done)
            self.wait([other.run("other", lambda c, n=number: add(c, f"other {n}"))])  # type: ignore[misc]
            self.assertLess(len(done) - before, 12)

    def test_none_is_lost(self) -> None:
        """What both write at the same time is all there."""
        calls = [
            db.run("add", lambda c, name=f"{number} {position}": add(c, name))
            for number in range(200)
            for position, db in enumerate(self.nodes)
        ]
        self.assertEqual(self.wait(calls), [None] * 400)
        self.assertEqual(len(self.wait([self.nodes[0].read("read", stored)])[0]), 400)


class JournalTests(ThreadedCase):
    """SQLite's journal."""

    def test_two_open_a_new_file(self) -> None:
        """Who opens a new file while another process writes its first page waits for that."""
        path = self.mktemp()
        rival = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
        self.addCleanup(rival.close)
        rival.execute("BEGIN IMMEDIATE")
        end = threading.Timer(0.2, rival.execute, ("ROLLBACK",))
        end.start()
        self.addCleanup(end.join)
        with sqlite_engine(path).connect() as connection:
            self.assertEqual(connection.exec_driver_sql("PRAGMA journal_mode").scalar(), "wal")

    def test_journal_does_not_grow(self) -> None:
        """However much is written while somebody always reads, the journal stays small."""
        self.patch(journal, "_LARGE", 1_000_000)
        self.patch(journal, "_LOOK_EVERY", 0.0)
        self.patch(journal, "_INTERVAL", 0.0)
        db = self.sqlite()
        path = str(db.engine.url.database)
        self.read_always(path)
        sizes = []
        for number in range(60):
            names = [f"{number} {position} {'x' * 5000}" for position in range(100)]
            self.wait([db.run("add", partial(add, name=name)) for name in names])
            sizes.append(Path(f"{path}-wal").stat().st_size)
        self.assertLess(max(sizes), 10_000_000)  # of 60 MB that were written

    def read_always(self, path: str) -> None:
        """Reads from two connections, so that at any time at least one does."""
        ended = threading.Event()
        connections = [
            sqlite3.connect(path, isolation_level=None, check_same_thread=False) for _ in range(2)
        ]

        def read() -> None:
            for connection in cycle(connections):
                connection.execute("BEGIN")
                connection.execute("SELECT name FROM test_names LIMIT 1").fetchall()
                other = connections[connection is connections[0]]
                if other.in_transaction:
                    other.execute("COMMIT")
                if ended.is_set():
                    return

        reading = threading.Thread(target=read)
        reading.start()
        for connection in connections:
            self.addCleanup(connection.close)
        self.addCleanup(reading.join)
        self.addCleanup(ended.set)


class QueueTests(ThreadedCase):
    """Order, bounds, end."""

    def test_order(self) -> None:
        """On SQLite, writes are done and answered in the order of their calls."""
        db = self.sqlite()
        names = [str(n) for n in range(600)]
        answered: list[str] = []
        calls = [db.run(name, lambda c, name=name: add(c, name)) for name in names]  # type: ignore[misc]
        db.watch(lambda name, _: answered.append(name))
        self.wait(calls)
        self.assertEqual(answered, names)
        self.assertEqual(self.wait([db.read("read", stored)]), [names])

    def test_bound(self) -> None:
        """With too many calls waiting, the next fails at once instead of filling memory."""
        self.patch(lane, "_QUEUE", 3)
        db = self.sqlite()
        held = self.held(db.run)
        calls = [db.run("add", lambda c, n=n: add(c, n)) for n in "ab"]  # type: ignore[misc]
        self.failureResultOf(db.run("add", lambda c: add(c, "c")), DatabaseUnavailable)
        held.release()
        self.assertEqual(failures(self.wait([held.deferred, *calls])), [])
        self.assertEqual(db.waiting, 0)

    def test_close(self) -> None:
        """What was queued is done before the database closes; later calls fail."""
        db = self.sqlite()
        held = self.held(db.run)
        last = db.run("add", lambda c: add(c, "a"))
        for each in (*db._writers, *db._readers):
            each.end()
        self.failureResultOf(db.run("add", lambda c: add(c, "b")), DatabaseUnavailable)
        held.release()
        self.assertEqual(failures(self.wait([last])), [])

    def test_turns_of_threads(self) -> None:
        """While something is written, threads ask soon for the interpreter, then as usual."""
        if not os.access("/proc/self/timerslack_ns", os.W_OK):
            raise SkipTest("timers cannot be made exact here")
        self.patch(lane, "HURRY", Hurry())
        usual = sys.getswitchinterval()
        self.addCleanup(sys.setswitchinterval, usual)
        db = self.sqlite()
        self.wait([db.run("first", lambda c: None)])  # now its thread runs
        reading = self.held(db.read)
        self.assertEqual(sys.getswitchinterval(), usual)
        held = self.held(db.run)
        calls = [db.run("add", lambda c, n=n: add(c, n)) for n in "ab"]  # type: ignore[misc]
        self.assertLess(sys.getswitchinterval(), usual / 100)
        held.release()
        self.wait([held.deferred, *calls])
        self.assertEqual(sys.getswitchinterval(), usual)
        reading.release()
        self.wait([reading.deferred])

    def test_inexact_timers(self) -> None:
        """Where timers are late in any case, asking sooner would not help."""
        self.patch(lane, "be_exact", lambda: False)
        usual = sys.getswitchinterval()
        db = self.sqlite()
        self.wait([db.run("first", lambda c: None)])
        held = self.held(db.run)
        self.assertEqual(sys.getswitchinterval(), usual)
        held.release()
        self.wait([held.deferred])

    def test_timing(self) -> None:
        """Every call's name and duration are told, the time in the queue included."""
        db = self.sqlite()
        told: dict[str, float] = {}
        db.watch(told.__setitem__)
        held = self.held(db.run)
        waiting = db.run("waiting", lambda c: add(c, "a"))
        time.sleep(0.05)
        held.release()
        self.wait([held.deferred, waiting])
        self.assertEqual(set(told), {"held", "waiting"})
        self.assertGreaterEqual(told["waiting"], 0.05)
