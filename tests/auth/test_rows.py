"""Where accounts are kept, over memory, SQLite and PostgreSQL."""

from mongoosetw.auth.backend import AccountExists
from mongoosetw.auth.memory import MemoryBackend
from mongoosetw.auth.rdbms import SCHEMA, RdbmsBackend
from mongoosetw.auth.stored import Secret, StoredBackend, run_in_place
from mongoosetw.testing.storage_contract import OverPostgreSQL, OverSQLite, StorageContract
from mongoosetw.xmpp.jid import JID
from tests.auth.fakes import JULIET, QUICK, ROMEO

NURSE = JID.parse("nurse@example.net")
OLD = Secret("", "old ä '")
NEW = Secret("new", None)


class RowsTests(StorageContract[StoredBackend]):
    """Rows of accounts."""

    schemas = (SCHEMA,)
    memory = staticmethod(lambda: MemoryBackend(QUICK, run_in_thread=run_in_place))
    sql = staticmethod(lambda db: RdbmsBackend(db, QUICK, run_in_thread=run_in_place))

    def load(self, user: JID = ROMEO) -> Secret | None:
        """What is stored of an account."""
        return self.result(self.store.load(user))

    def test_create(self) -> None:
        """A row comes back as it was, for its account only."""
        self.assertIsNone(self.load())
        self.result(self.store.create(ROMEO, OLD))
        self.result(self.store.create(NURSE, NEW))
        self.assertEqual((self.load(), self.load(NURSE), self.load(JULIET)), (OLD, NEW, None))

    def test_create_twice(self) -> None:
        """An account is made once, and the second one changes nothing."""
        self.result(self.store.create(ROMEO, OLD))
        self.failure(self.store.create(ROMEO, NEW), AccountExists)
        self.assertEqual(self.load(), OLD)
        self.result(self.store.create(JID.parse("romeo@example.net"), NEW))

    def test_replace(self) -> None:
        """A row is changed if it is there."""
        self.assertFalse(self.result(self.store.replace(ROMEO, NEW)))
        self.assertIsNone(self.load())
        self.result(self.store.create(ROMEO, OLD))
        self.assertTrue(self.result(self.store.replace(ROMEO, NEW)))
        self.assertEqual(self.load(), NEW)

    def test_exchange(self) -> None:
        """A row is changed only from what it is expected to be."""
        self.result(self.store.create(ROMEO, NEW))
        for expected in (OLD, Secret("new", "x"), Secret("", None)):
            self.assertFalse(self.result(self.store.replace(ROMEO, OLD, expected)))
        self.assertTrue(self.result(self.store.replace(ROMEO, OLD, NEW)))
        self.assertTrue(self.result(self.store.replace(ROMEO, NEW, OLD)))
        self.assertEqual(self.load(), NEW)

    def test_list_count_delete(self) -> None:
        """Accounts are listed in order and counted, by domain, until they are removed."""
        for user in (ROMEO, JULIET, NURSE):
            self.result(self.store.create(user, OLD))
        self.assertEqual(self.result(self.store.list("example.com")), ["juliet", "romeo"])
        counts = [self.result(self.store.count(d)) for d in (None, "example.com", "nowhere")]
        self.assertEqual(counts, [3, 2, 0])
        self.assertTrue(self.result(self.store.delete(JULIET)))
        self.assertFalse(self.result(self.store.delete(JULIET)))
        self.assertEqual(self.result(self.store.list("example.com")), ["romeo"])
        self.result(self.store.remove_domain("example.com"))
        self.assertEqual((self.load(), self.load(NURSE)), (None, OLD))


class SQLiteRowsTests(OverSQLite, RowsTests):
    """The same over SQLite."""


class PostgreSQLRowsTests(OverPostgreSQL, RowsTests):
    """The same over PostgreSQL."""
