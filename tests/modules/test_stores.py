"""The stores of mod_last, mod_mam and mod_roster, over memory, SQLite and PostgreSQL."""

from collections.abc import Callable, Coroutine
from typing import Any

from sqlalchemy import text
from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from modules.mod_last.store import LastStore, MemoryLastStore
from modules.mod_last.store_sql import SCHEMA as LAST
from modules.mod_last.store_sql import SQLLastStore
from modules.mod_mam.prefs import Prefs, PrefsStore, mam_config
from modules.mod_roster.rules import NONE, State
from modules.mod_roster.store import SCHEMA as ROSTER
from modules.mod_roster.store import Item, RosterStore
from mongoosetw.storage import migrate
from mongoosetw.storage.database import Database
from mongoosetw.storage.engine import postgresql_engine
from mongoosetw.storage.schema import Schema
from mongoosetw.testing.storage_contract import OverPostgreSQL, OverSQLite, StorageContract
from mongoosetw.xmpp.jid import JID
from tests.storage.case import ThreadedCase, postgresql_url

ROMEO = JID.parse("romeo@example.com")
JULIET = JID.parse("juliet@example.com")
NURSE = JID.parse("nurse@example.net")


class LastStoreTests(StorageContract[LastStore]):
    """When accounts were last seen."""

    schemas = (LAST,)
    memory = MemoryLastStore
    sql = SQLLastStore

    def test_never_seen(self) -> None:
        """Of an account never seen there is nothing."""
        self.assertIsNone(self.result(self.store.get(ROMEO)))

    def test_last_one_counts(self) -> None:
        """What was noted last is what is found, for each account apart."""
        for user, seconds, state in ((ROMEO, 1, "a"), (ROMEO, 2**31 - 1, "ä '"), (JULIET, 3, "")):
            self.result(self.store.put(user, seconds, state))
        self.assertEqual(self.result(self.store.get(ROMEO)), (2**31 - 1, "ä '"))
        self.assertEqual(self.result(self.store.get(JULIET)), (3, ""))

    def test_removal(self) -> None:
        """An account is forgotten, and so is a whole domain, and nobody else."""
        for user in (ROMEO, JULIET, NURSE):
            self.result(self.store.put(user, 1, "a"))
        self.result(self.store.remove(ROMEO))
        self.result(self.store.remove(ROMEO))
        self.assertIsNone(self.result(self.store.get(ROMEO)))
        self.assertEqual(self.result(self.store.get(JULIET)), (1, "a"))
        self.result(self.store.remove_domain("example.com"))
        self.assertIsNone(self.result(self.store.get(JULIET)))
        self.assertEqual(self.result(self.store.get(NURSE)), (1, "a"))


class SQLiteLastStoreTests(OverSQLite, LastStoreTests):
    """The same over SQLite."""


class PostgreSQLLastStoreTests(OverPostgreSQL, LastStoreTests):
    """The same over PostgreSQL."""


class PrefsStoreTests(StorageContract[PrefsStore]):
    """What users want archived (XEP-0441)."""

    schemas = (Schema("mam_prefs", 1, (mam_config,)),)
    sql = PrefsStore

    def test_none(self) -> None:
        """Of an account that has set none there are none."""
        self.assertIsNone(self.result(self.store.get(ROMEO)))

    def test_last_ones_count(self) -> None:
        """What was set last is found, for each account apart."""
        first = Prefs("never", frozenset({JULIET}), frozenset())
        second = Prefs("roster", frozenset({NURSE}), frozenset({JULIET, JULIET.with_resource("b")}))
        for user, prefs in ((ROMEO, first), (ROMEO, second), (JULIET, first)):
            self.result(self.store.put(user, prefs))
        self.assertEqual(self.result(self.store.get(ROMEO)), second)
        self.assertEqual(self.result(self.store.get(JULIET)), first)

    def test_removal(self) -> None:
        """An account's are forgotten, and nobody else's."""
        for user in (ROMEO, JULIET):
            self.result(self.store.put(user, Prefs("never", frozenset(), frozenset())))
        self.result(self.store.remove(ROMEO))
        self.result(self.store.remove(ROMEO))
        self.assertIsNone(self.result(self.store.get(ROMEO)))
        self.assertIsNotNone(self.result(self.store.get(JULIET)))


class SQLitePrefsStoreTests(OverSQLite, PrefsStoreTests):
    """The same over SQLite."""


class PostgreSQLPrefsStoreTests(OverPostgreSQL, PrefsStoreTests):
    """The same over PostgreSQL."""


class RosterStoreTests(StorageContract[RosterStore]):
    """Rosters."""

    schemas = (ROSTER,)
    sql = RosterStore

    def roster(self, user: JID = ROMEO) -> list[Item]:
        """A roster's items, sorted."""
        items = self.result(self.store.load(user))
        self.assertEqual([item.jid for item in items.values()], list(items))
        return sorted(items.values(), key=lambda item: str(item.jid))

    def test_items(self) -> None:
        """Items come back as they were, whatever their state, to their owner only."""
        states = [
            State(sends, receives, ask, asked, approved)
            for sends in (False, True)
            for receives in (False, True)
            for ask in (False, True)
            for asked in (False, True)
            for approved in (False, True)
        ]
        items = [
            Item(JID.parse(f"{n:02}@example.net"), "ä '", ("b", "c c"), state, n % 2 == 0)
            for n, state in enumerate(states)
        ]
        for item in items:
            self.result(self.store.save(ROMEO, item, None))
        self.assertEqual(self.roster(), items)
        self.assertEqual(self.roster(JULIET), [])

    def test_item_in_place_of_another(self) -> None:
        """An item is stored in place of the one with its address, with its groups alone."""
        old = Item(NURSE, "old", ("a", "b"), NONE)
        self.result(self.store.save(ROMEO, old, None))
        new = Item(NURSE, "new", ("b", "c"), State(True, False, False, False, False))
        for before in (old, new):
            self.result(self.store.save(ROMEO, new, before))
        self.assertEqual(self.roster(), [new])
        self.result(self.store.save(ROMEO, Item(NURSE), new))
        self.assertEqual(self.roster(), [Item(NURSE)])

    def test_removal(self) -> None:
        """An item, a roster, a domain's rosters are removed, and nothing else."""
        for user in (ROMEO, JULIET, NURSE):
            for contact in (ROMEO, JULIET, NURSE):
                self.result(self.store.save(user, Item(contact, groups=("a",)), None))
        self.result(self.store.remove(ROMEO, Item(NURSE, groups=("a",))))
        self.assertEqual([item.jid for item in self.roster()], [JULIET, ROMEO])
        self.result(self.store.save(ROMEO, Item(NURSE), None))
        self.assertEqual(self.roster()[1], Item(NURSE))
        self.result(self.store.remove_user(ROMEO))
        self.assertEqual((self.roster(), len(self.roster(JULIET))), ([], 3))
        self.result(self.store.remove_domain("example.com"))
        self.assertEqual((self.roster(JULIET), len(self.roster(NURSE))), ([], 3))


class SQLiteRosterStoreTests(OverSQLite, RosterStoreTests):
    """The same over SQLite."""


class PostgreSQLRosterStoreTests(OverPostgreSQL, RosterStoreTests):
    """The same over PostgreSQL."""


class RivalTests(ThreadedCase):
    """Two nodes store the same at the same time, on PostgreSQL."""

    def check(
        self, schema: Any, row: str, store: Callable[[Database], Coroutine[Any, Any, Any]]
    ) -> Any:
        """Stores what another transaction has stored and not yet committed; what comes of it."""
        db = self.postgresql()
        with db.engine.connect() as connection:
            migrate.ensure(connection, schema)
        rival = postgresql_engine(postgresql_url())
        self.addCleanup(rival.dispose)
        waits = text("SELECT count(*) FROM pg_locks WHERE NOT granted")
        with rival.connect() as other, rival.connect() as watch:
            other.exec_driver_sql(row)
            stored = Deferred.fromCoroutine(store(db))
            while not watch.execute(waits).scalar():
                watch.rollback()
            other.commit()
        (result,) = self.wait([stored])
        self.assertNotIsInstance(result, Failure)
        return result

    def test_last(self) -> None:
        """When an account was last seen is stored whichever is first."""
        row = "INSERT INTO last VALUES ('example.com', 'romeo', 1, 'a')"
        self.check(LAST, row, lambda db: SQLLastStore(db).put(ROMEO, 2, "b"))

    def test_roster(self) -> None:
        """Who adds a roster item that another node has just added is told so."""
        row = (
            "INSERT INTO rosterusers VALUES "
            "('example.com', 'romeo', 'nurse@example.net', '', 'N', 'N', '', false, true)"
        )
        store = self.check(ROSTER, row, lambda db: RosterStore(db).save(ROMEO, Item(NURSE), None))
        self.assertIs(store, False)
