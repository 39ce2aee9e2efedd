"""The store of mod_last, wherever it keeps activity."""

from modules.mod_last.store import LastStore, MemoryLastStore
from modules.mod_last.store_sql import SCHEMA, SQLLastStore
from mongoosetw.testing.storage_contract import OverPostgreSQL, OverSQLite, StorageContract
from mongoosetw.xmpp.jid import JID

ROMEO, JULIET, OTHER = map(JID.parse, ("romeo@a.test", "juliet@a.test", "romeo@b.test"))


class LastStoreTests(StorageContract[LastStore]):
    """What every store does."""

    schemas = (SCHEMA,)
    memory = MemoryLastStore
    sql = SQLLastStore

    def put(self, user: JID, seconds: int, state: str = "") -> None:
        """Notes that a user has gone."""
        self.result(self.store.put(user, seconds, state))

    def get(self, user: JID) -> tuple[int, str] | None:
        """What is known of a user."""
        return self.result(self.store.get(user))

    def test_newest(self) -> None:
        """The newest time and status of each user are kept."""
        self.put(ROMEO, 1, "bye")
        self.put(ROMEO, 2, "good night ☾")
        self.put(JULIET, 3)
        self.assertEqual(self.get(ROMEO), (2, "good night ☾"))
        self.assertEqual(self.get(JULIET), (3, ""))
        self.assertIsNone(self.get(OTHER))

    def test_removed(self) -> None:
        """A user is forgotten, or a whole domain; others are not."""
        for user in (ROMEO, JULIET, OTHER):
            self.put(user, 1)
        self.result(self.store.remove(ROMEO))
        self.assertIsNone(self.get(ROMEO))
        self.result(self.store.remove_domain("a.test"))
        self.assertEqual([self.get(JULIET), self.get(OTHER)], [None, (1, "")])


class SQLiteLastStoreTests(OverSQLite, LastStoreTests):
    """The same over SQLite."""


class PostgreSQLLastStoreTests(OverPostgreSQL, LastStoreTests):
    """The same over PostgreSQL."""
