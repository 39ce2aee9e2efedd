"""The generic stores, over memory, SQLite and PostgreSQL."""

from mongoosetw.storage.keyvalue import SCHEMA, KeyValue, Map, MemoryMap, open_keyvalue, open_map
from mongoosetw.testing.storage_contract import OverPostgreSQL, OverSQLite, StorageContract


class MapTests(StorageContract[Map]):
    """A map store."""

    schemas = (SCHEMA,)
    memory = MemoryMap
    sql = staticmethod(lambda db: open_map(db, "mod_example", "notes", "localhost"))

    def test_missing(self) -> None:
        """What was never stored is None."""
        self.assertIsNone(self.result(self.store.get("a@localhost", "x")))
        self.assertEqual(self.result(self.store.items("a@localhost")), {})

    def test_set_and_replace(self) -> None:
        """The value stored last is the one that is found, whatever JSON says it is."""
        for value in (1, None, "ä€😀 '\"", [1.5, {"deep": [True]}]):
            self.result(self.store.set("a@localhost", "x", value))
            self.assertEqual(self.result(self.store.get("a@localhost", "x")), value)

    def test_items(self) -> None:
        """All values of one owner come by name, those of others do not."""
        for owner, name, value in (("a", "y", 2), ("a", "x", 1), ("b", "z", 3)):
            self.result(self.store.set(owner, name, value))
        self.assertEqual(list(self.result(self.store.items("a")).items()), [("x", 1), ("y", 2)])

    def test_delete(self) -> None:
        """A deleted value is gone, and it is told whether there was one."""
        self.result(self.store.set("a", "x", 1))
        self.assertTrue(self.result(self.store.delete("a", "x")))
        self.assertFalse(self.result(self.store.delete("a", "x")))
        self.assertIsNone(self.result(self.store.get("a", "x")))

    def test_stored_value_is_a_copy(self) -> None:
        """Changing an object after it was stored changes nothing that is stored."""
        value = [1]
        self.result(self.store.set("a", "x", value))
        value.append(2)
        self.assertEqual(self.result(self.store.get("a", "x")), [1])

    def test_not_json(self) -> None:
        """What JSON cannot say is refused."""
        self.failure(self.store.set("a", "x", object()), TypeError)


class SQLiteMapTests(OverSQLite, MapTests):
    """Over SQLite."""


class PostgreSQLMapTests(OverPostgreSQL, MapTests):
    """Over PostgreSQL."""


class KeyValueTests(StorageContract[KeyValue]):
    """A key-value store."""

    schemas = (SCHEMA,)
    memory = staticmethod(lambda: KeyValue(MemoryMap()))
    sql = staticmethod(lambda db: open_keyvalue(db, "mod_example", "note", "localhost"))

    def test_life(self) -> None:
        """A value is stored, replaced, found and deleted."""
        self.assertIsNone(self.result(self.store.get("a")))
        for value in ({"x": 1}, 2):
            self.result(self.store.set("a", value))
            self.assertEqual(self.result(self.store.get("a")), value)
        self.assertTrue(self.result(self.store.delete("a")))
        self.assertIsNone(self.result(self.store.get("a")))


class SQLiteKeyValueTests(OverSQLite, KeyValueTests):
    """Over SQLite."""


class PostgreSQLKeyValueTests(OverPostgreSQL, KeyValueTests):
    """Over PostgreSQL."""
