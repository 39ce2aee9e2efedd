"""The database: calls, savepoints, schema versions, generic stores; SQLite and PostgreSQL."""

from typing import Any

from sqlalchemy import Connection, event, select, text
from sqlalchemy.exc import DBAPIError, OperationalError
from twisted.internet import defer
from twisted.internet.task import Clock
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from mongoosetw.storage import migrate
from mongoosetw.storage.database import GATHERED, Database, DatabaseUnavailable
from mongoosetw.storage.engine import postgresql_engine, sqlite_engine
from mongoosetw.storage.keyvalue import SCHEMA, open_keyvalue, open_map
from mongoosetw.storage.schema import Schema, Step
from mongoosetw.storage.work import Work
from tests.storage.case import NAMES, NAMES_SCHEMA, ThreadedCase, add, stored


class InlineTests(SynchronousTestCase):
    """The database without threads."""

    def setUp(self) -> None:
        """A database in memory, with the test's table."""
        self.db = Database.in_memory()
        self.addCleanup(self.db.close)
        self.successResultOf(self.db.ensure(NAMES_SCHEMA))
        self.successResultOf(self.db.ensure(SCHEMA))

    def names(self) -> list[str]:
        """What is stored."""
        return self.successResultOf(
            self.db.read("names", lambda c: list(c.execute(select(NAMES.c.name)).scalars()))
        )

    def test_write_and_read(self) -> None:
        """What a call writes, a later one reads."""
        self.successResultOf(self.db.run("add", lambda c: add(c, "a")))
        self.assertEqual(self.names(), ["a"])

    def test_failed_call_is_undone(self) -> None:
        """A call that raises leaves nothing behind, and the error reaches its caller."""

        def work(connection: Connection) -> None:
            add(connection, "a")
            raise ValueError("no")

        self.failureResultOf(self.db.run("fail", work), ValueError)
        self.assertEqual(self.names(), [])

    def test_cursor_must_not_leak(self) -> None:
        """A call that returns a cursor fails with TypeError."""
        self.failureResultOf(self.db.read("leak", lambda c: c.execute(select(NAMES))), TypeError)

    def test_read_that_writes(self) -> None:
        """A call that writes although it was to read fails, and changes nothing."""
        self.failureResultOf(self.db.read("add", lambda c: add(c, "a")), OperationalError)
        self.assertEqual(self.names(), [])
        self.successResultOf(self.db.run("add", lambda c: add(c, "b")))
        self.assertEqual(self.names(), ["b"])

    def test_map(self) -> None:
        """A map store keeps JSON values by owner and name."""
        store = open_map(self.db, "m", "s", "localhost")

        async def story() -> tuple[object, ...]:
            await store.set("a", "x", [1])
            await store.set("a", "x", {"y": 2})
            await store.set("b", "x", 3)
            found = await store.get("a", "x"), await store.items("b")
            return (*found, await store.delete("a", "x"), await store.get("a", "x"))

        result = self.successResultOf(defer.Deferred.fromCoroutine(story()))
        self.assertEqual(result, ({"y": 2}, {"x": 3}, True, None))

    def test_keyvalue_is_apart_by_host(self) -> None:
        """Two hosts do not see one another's values."""
        here = open_keyvalue(self.db, "m", "s", "here")
        there = open_keyvalue(self.db, "m", "s", "there")

        async def story() -> tuple[object, object]:
            await here.set("a", 1)
            return await here.get("a"), await there.get("a")

        self.assertEqual(
            self.successResultOf(defer.Deferred.fromCoroutine(story())), (1, None)
        )

    def test_statement_that_fails(self) -> None:
        """A wrong statement fails the call that made it."""
        wrong = self.db.read("wrong", lambda c: c.execute(text("SELECT * FROM nowhere")).all())
        self.failureResultOf(wrong, OperationalError)

    def test_newer_schema_is_refused(self) -> None:
        """Tables newer than the program stop it, in words."""
        newer = Schema("test_names", 2, (NAMES,), {2: Step()})
        self.successResultOf(self.db.ensure(newer))
        refused = self.failureResultOf(self.db.ensure(NAMES_SCHEMA), migrate.SchemaRefused)
        self.assertIn("newer", str(refused.value))

    def test_upgrade(self) -> None:
        """SQLite tables are upgraded step by step when they are needed."""
        step = Step(sqlite=("ALTER TABLE test_names ADD COLUMN age INTEGER",))
        self.successResultOf(self.db.ensure(Schema("test_names", 2, (NAMES,), {2: step})))
        self.successResultOf(
            self.db.run("use", lambda c: c.execute(text("SELECT age FROM test_names")).all())
        )


class LaneTests(ThreadedCase):
    """The database with its threads; calls from the reactor are collected by the test."""

    def test_one_failure_does_not_spoil_the_others(self) -> None:
        """Calls that share a transaction fail alone."""
        self.check_isolation(self.sqlite())

    def check_isolation(self, db: Database) -> None:
        """Many writes at once, of which one is a duplicate."""
        names = [str(n) for n in range(50)] + ["7"]
        results = self.wait(
            [db.run("add", lambda c, name=name: add(c, name)) for name in names]  # type: ignore[misc]
        )
        self.assertEqual(sum(isinstance(result, Failure) for result in results), 1)
        count = self.wait([db.read("count", lambda c: len(c.execute(select(NAMES)).all()))])
        self.assertEqual(count, [50])

    def test_gathered(self) -> None:
        """Reads that may wait share a thread's turn: those of one turn, later those of 5 ms."""
        clock = Clock()
        db = self.watched(Database(sqlite_engine(self.mktemp()), self.from_thread, clock=clock))
        self.wait([db.run("add", lambda c: add(c, "a"))])
        works: list[Work] = []

        def make() -> Work:
            works.append(Work("names", stored))
            return works[-1]

        for seconds in (0.0, GATHERED):
            db.gather(make)
            db.gather(make)
            clock.advance(seconds / 2)
            self.assertEqual(len(works), 0 if seconds else 2)
            clock.advance(seconds / 2)
            self.assertEqual(self.wait([work.deferred for work in works]), [["a"], ["a"]])
            works.clear()
        db.gather(make)
        db.close()  # what waits is done, or fails, with everything else
        self.assertEqual((len(works), clock.getDelayedCalls()), (1, []))
        self.wait([works[0].deferred])

    def test_postgresql(self) -> None:
        """PostgreSQL keeps the same contract."""
        self.check_isolation(self.postgresql())

    def check_read_that_writes(self, db: Database) -> None:
        """A write by a lane for reads."""
        (failed,) = self.wait([db.read("add", lambda c: add(c, "a"))])
        self.assertTrue(failed.check(DBAPIError), failed)
        self.assertEqual(self.wait([db.read("read", stored)]), [[]])

    def test_read_that_writes(self) -> None:
        """A call that writes although it was to read fails, and changes nothing."""
        self.check_read_that_writes(self.sqlite())

    def test_read_that_writes_postgresql(self) -> None:
        """PostgreSQL keeps the same contract."""
        self.check_read_that_writes(self.postgresql())

    def check_statements(self, db: Database) -> None:
        """Three writes that share a transaction."""
        statements: list[str] = []

        def executed(_c: Connection, _k: Any, statement: str, *_: Any) -> None:
            statements.append(statement.partition(" ")[0])

        held = self.held(db.run)
        event.listen(db.engine, "before_cursor_execute", executed)
        calls = [db.run("add", lambda c, n=n: add(c, n)) for n in "abc"]  # type: ignore[misc]
        held.release()
        self.assertEqual(self.wait(calls), [None] * 3)
        self.assertEqual([word for word in statements if word != "BEGIN"], ["INSERT"] * 3)

    def test_statements(self) -> None:
        """Calls that share a transaction need no statement beside their own."""
        self.check_statements(self.sqlite())

    def test_statements_postgresql(self) -> None:
        """PostgreSQL keeps the same contract."""
        self.check_statements(self.postgresql())

    def test_unreachable(self) -> None:
        """Without a database every call fails with DatabaseUnavailable."""
        engine = postgresql_engine("postgresql+psycopg2://x@127.0.0.1:1/x")
        db = Database(engine, self.from_thread, lanes=2)
        self.addCleanup(db._close)
        (result,) = self.wait([db.read("any", lambda c: 1)])
        assert isinstance(result, Failure)
        self.assertTrue(result.check(DatabaseUnavailable))
