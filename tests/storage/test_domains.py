"""The store of domains, wherever it keeps them."""

from mongoosetw.storage.domains import (
    SCHEMA,
    DomainSetting,
    DomainStore,
    DomainTaken,
    MemoryDomainStore,
    SQLDomainStore,
    Status,
)
from mongoosetw.testing.storage_contract import OverPostgreSQL, OverSQLite, StorageContract


class DomainStoreTests(StorageContract[DomainStore]):
    """What every store of domains does."""

    schemas = (SCHEMA,)
    memory = MemoryDomainStore
    sql = SQLDomainStore

    def setUp(self) -> None:
        """Two domains."""
        super().setUp()
        for domain in ("b.test", "a-b.test"):
            self.result(self.store.add(DomainSetting(domain, "basic")))

    def test_listed(self) -> None:
        """Domains are listed in the order of their characters, enabled at first."""
        listed = self.result(self.store.all())
        expected = [DomainSetting("a-b.test", "basic"), DomainSetting("b.test", "basic")]
        self.assertEqual(listed, expected)
        self.assertEqual(listed[0].status, Status.ENABLED)

    def test_taken(self) -> None:
        """A domain is added once, of whatever type."""
        self.failure(self.store.add(DomainSetting("b.test", "other")), DomainTaken)
        self.assertEqual(self.result(self.store.get("b.test")), DomainSetting("b.test", "basic"))

    def test_status(self) -> None:
        """A status is kept for its domain only."""
        self.result(self.store.set_status("b.test", Status.DELETING))
        found = [setting.status for setting in self.result(self.store.all())]
        self.assertEqual(found, [Status.ENABLED, Status.DELETING])

    def test_removed(self) -> None:
        """A removed domain is gone and can be added anew; removing it twice does no harm."""
        for _ in range(2):
            self.result(self.store.remove("b.test"))
        self.assertIsNone(self.result(self.store.get("b.test")))
        self.result(self.store.add(DomainSetting("b.test", "other")))
        self.assertEqual(len(self.result(self.store.all())), 2)


class SQLiteDomainStoreTests(OverSQLite, DomainStoreTests):
    """The same over SQLite."""


class PostgreSQLDomainStoreTests(OverPostgreSQL, DomainStoreTests):
    """The same over PostgreSQL."""
