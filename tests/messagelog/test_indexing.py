"""What follows the log, on every database: indexes, what a crash has left, what is delivered."""

from typing import Any

from sqlalchemy import Connection, select

from mongoosetw.messagelog import indexing
from mongoosetw.messagelog.tables import (
    IN_RECIPIENTS,
    IN_SENDERS,
    REACH,
    SCHEMA,
    SETTLED,
    STRIDE,
    TAKEN_OVER,
    archive,
    messages,
    pending,
)
from mongoosetw.storage.bulk import bulk_table
from mongoosetw.storage.database import Database
from mongoosetw.testing.storage_contract import OverPostgreSQL, OverSQLite, StorageContract

ROMEO, JULIET = 1, 2
PHONE = 7 << 8 | 3  # a session
HERE, THERE = 3, 4  # nodes
START = 1_700_000_000_000_000


def identifier(number: int, node: int = HERE) -> int:
    """The id of the node's message of a number; each is a microsecond later than the one before."""
    return (START + number) << 8 | node


class Tables:
    """The log's tables."""

    def __init__(self, db: Database) -> None:
        self._db = db

    def run(self, function: Any, *arguments: Any) -> Any:
        """What a function makes of a connection, in a transaction of its own."""
        done = self._db.run("test", lambda connection: function(connection, *arguments))
        return done.result  # there are no threads

    def log(self, number: int, flags: int = 0, holder: int = 0, node: int = HERE) -> int:
        """Writes what Romeo says to Juliet; its id."""
        written = identifier(number, node)
        row = (written, ROMEO, JULIET, flags, holder, "<message/>")
        self._insert(messages, row)
        return written

    def pend(self, owner: int, written: int, holder: int | None = None) -> None:
        """Notes that it waits."""
        self._insert(pending, (owner, written, holder, None))

    def _insert(self, table: Any, row: tuple[Any, ...]) -> None:
        bulk = bulk_table(table, self._db.engine.dialect)
        self.run(lambda connection: bulk.insert(connection, list(row), fresh=False))

    def rows(self, *columns: Any) -> list[tuple[Any, ...]]:
        """What columns of a table hold, in order."""

        def read(connection: Connection) -> list[tuple[Any, ...]]:
            return sorted(tuple(row) for row in connection.execute(select(*columns)))

        found: list[tuple[Any, ...]] = self.run(read)
        return found


def _as_before(connection: Connection) -> None:
    connection.execute(messages.update().values(holder=None))


class IndexingTests(StorageContract[Tables]):
    """On SQLite in memory."""

    schemas = (SCHEMA,)
    sql = Tables

    def waiting(self) -> list[tuple[Any, ...]]:
        """What waits, for whom and for which session."""
        return self.store.rows(pending.c.owner, pending.c.id, pending.c.holder)

    def logged(self) -> list[int]:
        """The ids of all messages."""
        return [row[0] for row in self.store.rows(messages.c.id)]

    def test_index(self) -> None:
        """Archives show what the log says, once, however often the index is brought up to it."""
        both = self.store.log(1, IN_SENDERS | IN_RECIPIENTS)
        hers = self.store.log(2, IN_RECIPIENTS)
        self.store.log(3)
        self.store.run(indexing.index, [HERE])
        his = self.store.log(4, IN_SENDERS)
        others = self.store.log(5, IN_SENDERS, node=THERE)
        self.store.run(indexing.index, [HERE])
        self.store.run(indexing.index, [HERE, THERE])
        expected = [(ROMEO, both, JULIET), (ROMEO, his, JULIET), (ROMEO, others, JULIET)]
        expected += [(JULIET, both, ROMEO), (JULIET, hers, ROMEO)]
        shown = self.store.rows(archive.c.owner, archive.c.id, archive.c.remote)
        self.assertEqual(shown, sorted(expected))

    def test_recover(self) -> None:
        """What was on its way to a session waits after a crash, and names no session."""
        self.store.log(1, holder=PHONE)  # it was settled
        self.store.run(indexing.arrive, HERE, SETTLED, identifier(1))
        lost = self.store.log(2, holder=PHONE)
        self.store.log(3)  # on its way to nobody
        self.store.log(4, holder=PHONE, node=THERE)
        written = self.store.log(5, holder=PHONE)
        self.store.pend(JULIET, written, PHONE)
        self.store.run(indexing.recover, HERE, identifier(9))
        self.assertEqual(self.waiting(), [(JULIET, lost, None), (JULIET, written, None)])
        self.store.run(indexing.recover, HERE, identifier(9))
        self.assertEqual(len(self.waiting()), 2)

    def test_recover_from_older_rows(self) -> None:
        """Rows of earlier versions have NULL where a message was on its way to nobody."""
        self.store.log(1)
        self.store.run(_as_before)
        self.store.run(indexing.recover, HERE, identifier(9))
        self.assertEqual(self.waiting(), [])

    def test_left_behind(self) -> None:
        """A node is left behind that has logged more than was taken over, and is not linked."""
        reach = identifier(0) + STRIDE
        self.store.run(indexing.arrive, HERE, REACH, reach)
        self.store.run(indexing.arrive, HERE, TAKEN_OVER, identifier(0))
        self.assertEqual(self.store.run(indexing.left_behind, ()), {})
        last = self.store.log(1)
        self.assertEqual(self.store.run(indexing.left_behind, ()), {HERE: reach})
        self.assertEqual(self.store.run(indexing.left_behind, (HERE,)), {})
        self.assertEqual(self.store.run(indexing.last_logged, HERE), last)
        self.store.run(indexing.arrive, HERE, TAKEN_OVER, last)
        self.assertEqual(self.store.run(indexing.left_behind, ()), {})

    def test_recover_what_is_there(self) -> None:
        """A node that may live is taken over from as far as it has come."""
        last = self.store.log(1, holder=PHONE)
        self.store.run(indexing.arrive, HERE, REACH, last + STRIDE)
        self.store.run(indexing.recover, HERE, 0)
        self.assertEqual(self.waiting(), [(JULIET, last, None)])
        self.assertEqual(self.store.run(indexing.position, HERE, TAKEN_OVER), last)
        self.assertGreaterEqual(self.store.run(indexing.last_of_earlier, HERE), last)

    def test_sweep(self) -> None:
        """What is delivered and shown by nobody goes; what waits, or is shown, stays."""
        shown = self.store.log(1, IN_SENDERS)
        waits = self.store.log(2)
        self.store.pend(JULIET, waits)
        self.store.log(3)
        others = self.store.log(4, node=THERE)
        later = self.store.log(9)
        self.store.run(indexing.sweep, HERE, 0, identifier(5))
        self.assertEqual(self.logged(), [shown, waits, others, later])


class SQLiteIndexingTests(OverSQLite, IndexingTests):
    """In an SQLite file."""


class PostgreSQLIndexingTests(OverPostgreSQL, IndexingTests):
    """On PostgreSQL."""
