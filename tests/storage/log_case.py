"""What the tests of the writer of logs have in common."""

from collections.abc import Callable, Iterable
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Column, Connection, Table, event
from twisted.internet.defer import Deferred, fail
from twisted.internet.task import Clock

from mongoosetw.storage import migrate
from mongoosetw.storage.batch import Batch, LogWriter, Unit
from mongoosetw.storage.database import Database
from mongoosetw.storage.schema import Schema, metadata
from tests.storage.case import ThreadedCase

MESSAGE = Table(
    "test_message",
    metadata,
    Column("id", sa.BigInteger, primary_key=True),
    Column("sender", sa.String(250), nullable=False),
    Column("body", sa.LargeBinary),
)
OWNER = Table(
    "test_owner",
    metadata,
    Column("owner", sa.String(250), primary_key=True),
    Column("id", sa.BigInteger, primary_key=True),
)
KINDS = Table(
    "test_kinds",
    metadata,
    Column("id", sa.BigInteger().with_variant(sa.Integer, "sqlite"), primary_key=True),
    Column("small", sa.SmallInteger),
    Column("number", sa.Integer),
    Column("large", sa.BigInteger),
    Column("real", sa.Float),
    Column("flag", sa.Boolean),
    Column("text", sa.Text),
    Column("raw", sa.LargeBinary),
)
TABLES = [MESSAGE, OWNER, KINDS]
SCHEMA = Schema("test_log", 1, (MESSAGE, OWNER, KINDS))
_IDS = sa.select(MESSAGE.c.id).order_by(MESSAGE.c.id)
OWNERS = sa.select(OWNER.c.owner, OWNER.c.id).order_by(OWNER.c.owner, OWNER.c.id)

Run = Callable[[str, Callable[[Connection], Any]], Deferred[Any]]


def unit(number: int, owner: str = "juliet") -> Unit:
    """A message of its owner's."""
    return (MESSAGE, (number, "romeo", b"body")), (OWNER, (owner, number))


class LogCase(ThreadedCase):
    """A writer over a database without threads."""

    def setUp(self) -> None:
        """Makes the tables."""
        super().setUp()
        self.clock = Clock()
        self.db = self.database()
        with self.db.engine.connect() as connection:
            migrate.ensure(connection, SCHEMA)
        self.log = self.writer()
        self.told: list[tuple[int, Exception | None]] = []

    def database(self) -> Database:
        """The database of the test."""
        return self.watched(Database.in_memory())

    def writer(self, **options: Any) -> LogWriter:
        """A writer of the tables."""
        return LogWriter(self.db, self.clock, "log", TABLES, **options)

    def add(self, number: int, *, log: LogWriter | None = None) -> Batch:
        """Adds a unit that notes what it is told."""
        told = lambda error: self.told.append((number, error))  # noqa: E731
        return (log or self.log).add(unit(number), told)

    def pump(self) -> None:
        """Lets the clock's next turn happen, and what the threads want."""
        self.clock.advance(0)
        super().pump()

    def wait_for(self, deferred: Deferred[Any]) -> Any:
        """What comes of a Deferred."""
        return self.wait([deferred])[0]

    def flush(self) -> None:
        """Waits until everything is committed."""
        self.assertIsNone(self.wait_for(self.log.barrier()))

    def rows(self, statement: Any) -> list[tuple[Any, ...]]:
        """What a query returns."""
        read = lambda c: [tuple(row) for row in c.execute(statement)]  # noqa: E731
        result: list[tuple[Any, ...]] = self.wait_for(self.db.read("read", read))
        return result

    def ids(self) -> list[int]:
        """The stored messages."""
        return [number for (number,) in self.rows(_IDS)]

    def commits(self) -> list[None]:
        """Grows by one with each commit of a connection that is there already."""
        self.wait_for(self.db.run("connect", lambda _: None))
        commits: list[None] = []
        event.listen(self.db.engine, "commit", lambda _: commits.append(None))
        return commits

    def failing(self, results: Iterable[Exception | None], *, after: bool = False) -> None:
        """Has the writer's next calls fail.

        :param after: not before they are run, but after that.
        """
        run, left = self.db.run, list(results)

        def failing_run(name: str, function: Any, **options: Any) -> Deferred[Any]:
            error = left.pop(0) if left else None
            if error is None:
                return run(name, function, **options)
            if not after:
                return fail(error)
            return run(name, function, **options).addCallback(lambda _: fail(error))

        self.patch(self.db, "run", failing_run)
