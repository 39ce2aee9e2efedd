"""Databases that die, freeze and come back while calls run; PostgreSQL of the test's own."""

import time
from functools import partial
from typing import Any

from sqlalchemy import Connection, text
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.python.failure import Failure
from twisted.trial.unittest import SkipTest

from mongoosetw.storage import migrate
from mongoosetw.storage.batch import LogWriter
from mongoosetw.storage.database import Database
from mongoosetw.storage.engine import postgresql_engine
from mongoosetw.storage.schema import Schema, Step
from mongoosetw.testing.postgres import PostgreSQL
from tests.storage.case import NAMES, ThreadedCase, add, stored

SHOW = text("SHOW synchronous_commit")
SLEEP = text("SELECT 1 FROM pg_sleep(30)")


class OutageTests(ThreadedCase):
    """The database goes and comes back under the same server."""

    def setUp(self) -> None:
        """Starts a PostgreSQL and connects to it."""
        if not PostgreSQL.installed():
            raise SkipTest("PostgreSQL is not installed")
        super().setUp()
        self.server = PostgreSQL()
        self.addCleanup(self.server.close)
        self.server.start()

    def database(self, patience: float = 60, query_timeout: float = 60) -> Database:
        """The database with threads and the test's table."""
        engine = postgresql_engine(self.server.url, query_timeout)
        db = Database(engine, self.from_thread, lanes=2, patience=patience)
        return self.watched(db)

    def outcomes(self, *calls: Deferred[Any]) -> list[str]:
        """The results in the order in which they came, by name if they are exceptions."""
        results = self.wait(calls)
        return [r.type.__name__ if isinstance(r, Failure) else str(r) for r in results]

    def until_it_works(self, db: Database) -> None:
        """Waits until calls succeed again."""
        until = time.monotonic() + 30
        while time.monotonic() < until:
            calls = db.run("ping", lambda c: 1), db.read("ping", lambda c: 1)
            if self.outcomes(*calls) == ["1", "1"]:
                return
        self.fail("the database is not used again")

    def sleeping(self, db: Database) -> list[Deferred[Any]]:
        """Calls that PostgreSQL is busy with."""
        calls = [
            db.run("sleep", lambda c: c.execute(SLEEP).scalar()),
            db.read("sleep", lambda c: c.execute(SLEEP).scalar()),
        ]
        busy = "SELECT 1 FROM pg_stat_activity WHERE state = 'active' AND wait_event = 'PgSleep'"
        while len(self.server.query(busy)) < 2:
            pass
        return calls

    def test_death_and_return(self) -> None:
        """Calls fail as unavailable when the database is killed, and work when it is back."""
        self.expect_warnings()
        db = self.database()
        self.wait([db.run("add", lambda c: add(c, "a"))])
        calls = self.sleeping(db)
        waiting = [db.run("add", lambda c: add(c, "b")), db.read("read", stored)]
        self.server.kill()
        outcomes = self.outcomes(*calls, *waiting)
        self.assertEqual(set(outcomes), {"DatabaseUnavailable"})
        self.assertEqual(self.outcomes(db.run("add", lambda c: add(c, "c"))), outcomes[:1])
        self.server.start()
        self.until_it_works(db)
        self.assertEqual(self.wait([db.read("read", stored)]), [["a"]])

    def test_restart_between_calls(self) -> None:
        """A restart that nobody was looking at is not noticed by the next calls."""
        db = self.database()
        self.until_it_works(db)
        for mode in ("fast", "immediate"):
            self.server.restart(mode)
            calls = db.run("add", lambda c, mode=mode: add(c, mode)), db.read("one", lambda c: 1)
            self.assertEqual(set(self.outcomes(*calls)), {"None", "1"})  # type: ignore[arg-type]

    def test_connections_cut_within_a_transaction(self) -> None:
        """A call whose connection is cut is done again from its start on a new one."""
        db = self.database()
        self.until_it_works(db)
        tries: list[None] = []

        def work(connection: Connection) -> None:
            add(connection, "a")
            tries.append(None)
            if len(tries) == 1:
                self.server.terminate_backends()
            add(connection, "b")

        self.assertEqual(self.outcomes(db.run("add", work)), ["None"])
        self.assertEqual(len(tries), 2)
        self.assertEqual(self.wait([db.read("read", stored)]), [["a", "b"]])

    def test_frozen_database(self) -> None:
        """A database that answers no more is given up after a while, and used when it answers."""
        self.expect_warnings()
        db = self.database(patience=0.5)
        self.until_it_works(db)
        self.server.freeze()
        self.addCleanup(self.server.thaw)
        calls = db.run("add", lambda c: add(c, "a")), db.read("read", stored)
        outcomes = self.outcomes(*calls)  # type: ignore[arg-type]
        self.assertEqual(set(outcomes), {"DatabaseUnavailable"})
        self.server.thaw()
        self.until_it_works(db)

    def test_patience_is_for_each_call(self) -> None:
        """Many calls that together take long are not given up."""
        db = self.database(patience=0.6)
        nap = text("SELECT 1 FROM pg_sleep(0.2)")
        held = self.held(db.run)
        calls = [db.run("nap", lambda c: c.execute(nap).scalar()) for _ in range(6)]
        held.release()
        self.assertEqual(self.outcomes(*calls), ["1"] * 6)

    def test_close_while_frozen(self) -> None:
        """Closing does not wait for a database that answers no more, and fails its calls."""
        self.expect_warnings()
        db = self.database()
        self.until_it_works(db)
        self.server.freeze()
        self.addCleanup(self.server.thaw)
        call = db.run("add", lambda c: add(c, "a"))
        db._close(patience=0.2)
        self.assertEqual(self.outcomes(call), ["DatabaseUnavailable"])

    def test_serialization_failures(self) -> None:
        """Two servers that change the same rows at SERIALIZABLE are both done in the end."""
        self.server.query(
            "ALTER DATABASE postgres SET default_transaction_isolation TO 'serializable'"
        )
        first, second = self.database(), self.database()
        self.wait([first.run("add", lambda c: add(c, "0"))])

        def count(connection: Connection) -> None:
            (name,) = stored(connection)
            connection.execute(NAMES.update().values(name=str(int(name) + 1)))

        calls = [db.run("count", count) for _ in range(20) for db in (first, second)]
        self.assertEqual(set(self.outcomes(*calls)), {"None"})
        self.assertEqual(self.wait([first.read("read", stored)]), [["40"]])

    def test_commits_are_synced(self) -> None:
        """A database that answers before its disk does is asked to wait for the disk."""
        default = "ALTER DATABASE postgres SET synchronous_commit TO {}"
        for configured, used in (("off", "on"), ("local", "local")):
            self.server.query(default.format(configured))
            db = self.database()
            shown = db.run("show", lambda c: c.execute(SHOW).scalar())
            self.assertEqual(self.outcomes(shown), [used])

    def test_upgrade_may_take_long(self) -> None:
        """A step that takes longer than a query may is not cut short."""
        db = self.database(query_timeout=0.2)
        step = Step(pg=("SELECT pg_sleep(0.5)",))
        newer = Schema("test_names", 2, (NAMES,), {2: step})
        with db.engine.connect() as connection:
            migrate.ensure(connection, newer, upgrade=True)
            migrate.ensure(connection, newer)

    def test_log_through_outages(self) -> None:
        """What LogWriter confirmed is stored once and in order, whatever happened meanwhile."""
        self.expect_warnings()
        db, clock = self.database(patience=1), Clock()
        log = LogWriter(db, clock, "log", [NAMES], size=50)
        confirmed: list[str] = []
        names = [f"{number:05}" for number in range(2000)]

        def told(name: str, error: Exception | None) -> None:
            self.assertIsNone(error)
            confirmed.append(name)

        def turn() -> None:
            clock.advance(0.05)
            self.pump()

        disturbances = iter((self.server.kill, self.server.terminate_backends, self.server.freeze))
        for position, name in enumerate(names):
            log.add(((NAMES, (name,)),), partial(told, name))
            if position % 20 == 0:
                turn()
            if position % 500 == 499:
                next(disturbances, lambda: None)()
            if position % 500 == 100:  # it was gone for some time
                self.server.thaw()
                if not self.server.running:
                    self.server.start()
        while log.waiting:
            turn()
            time.sleep(0.001)
        self.assertEqual(confirmed, names)
        self.assertEqual(sorted(self.wait([db.read("read", stored)])[0]), names)
