"""Rosters in the database, which other nodes change as well."""

from dataclasses import replace

from modules.mod_roster.rules import State
from modules.mod_roster.store import SCHEMA, Item, RosterStore
from mongoosetw.testing.storage_contract import OverPostgreSQL, OverSQLite, StorageContract
from mongoosetw.xmpp.jid import JID

ROMEO = JID.parse("romeo@localhost")
JULIET = Item(JID.parse("juliet@localhost"), "Juliet", ("Friends", "Verona"), State(to=True))


class RosterStoreTests(StorageContract[RosterStore]):
    """Items of one user."""

    schemas = (SCHEMA,)
    sql = RosterStore

    def saved(self, item: Item, before: Item | None) -> bool:
        """Whether a change was stored."""
        return self.result(self.store.save(ROMEO, item, before))

    def items(self) -> list[Item]:
        """What is stored."""
        return list(self.result(self.store.load(ROMEO)).values())

    def test_saved(self) -> None:
        """A new item and a changed one come back as they were given."""
        self.assertTrue(self.saved(JULIET, None))
        self.assertEqual(self.items(), [JULIET])
        changed = replace(JULIET, name="", groups=(), state=State(to=True, asked=True))
        self.assertTrue(self.saved(changed, JULIET))
        self.assertEqual(self.items(), [changed])

    def test_changed_by_another_node(self) -> None:
        """Whoever changes an item without knowing its last change changes nothing."""
        self.saved(JULIET, None)
        for other in (
            None,
            replace(JULIET, name="J"),
            replace(JULIET, groups=("Friends",)),
            replace(JULIET, state=State(to=True, asked=True)),
            replace(JULIET, state=State(to=True, approved=True)),
            replace(JULIET, listed=False),
        ):
            self.assertFalse(self.saved(replace(JULIET, name="New"), other), other)
        self.assertEqual(self.items(), [JULIET])

    def test_removed_by_another_node(self) -> None:
        """An item that is gone is neither changed nor removed."""
        self.assertFalse(self.saved(replace(JULIET, name="New"), JULIET))
        self.assertFalse(self.result(self.store.remove(ROMEO, JULIET)))
        self.assertEqual(self.items(), [])

    def test_removed(self) -> None:
        """An item is removed by whoever knows its last change."""
        self.saved(JULIET, None)
        self.assertFalse(self.result(self.store.remove(ROMEO, replace(JULIET, name="J"))))
        self.assertTrue(self.result(self.store.remove(ROMEO, JULIET)))
        self.assertEqual(self.items(), [])


class SQLiteRosterStoreTests(OverSQLite, RosterStoreTests):
    """In an SQLite file."""


class PostgreSQLRosterStoreTests(OverPostgreSQL, RosterStoreTests):
    """In PostgreSQL."""
