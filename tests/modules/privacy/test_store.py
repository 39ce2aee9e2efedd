"""One contract for the places where privacy lists are kept."""

from twisted.internet.defer import Deferred, gatherResults

from modules.mod_privacy.rules import KINDS, Item
from modules.mod_privacy.store import MemoryPrivacyStore, Names, PrivacyStore
from modules.mod_privacy.store_sql import SCHEMA, SQLPrivacyStore
from mongoosetw.testing.storage_contract import OverPostgreSQL, OverSQLite, StorageContract
from mongoosetw.xmpp.errors import StanzaError
from mongoosetw.xmpp.jid import JID

ROMEO, JULIET = JID.parse("romeo@localhost"), JID.parse("juliet@localhost")
DENY = Item(3, False, "jid", "tybalt@localhost")
ITEMS = (
    Item(0, True, "group", "Friends & foes", frozenset({"message"})),
    Item(7, False, "subscription", "none", KINDS),
    Item(2**32 - 1, False),
)


class StoreTests(StorageContract[PrivacyStore]):
    """The store in memory."""

    schemas = (SCHEMA,)
    memory = MemoryPrivacyStore
    sql = SQLPrivacyStore

    def put(self, name: str, *items: Item, user: JID = ROMEO) -> bool:
        """Stores a list."""
        return self.result(self.store.replace_privacy_list(user, name, items, 3))

    def names(self, user: JID = ROMEO) -> Names:
        """The names of a user's lists."""
        return self.result(self.store.get_list_names(user))

    def test_items_come_back(self) -> None:
        """A list comes back as it was stored, in its order, and belongs to one user."""
        self.put("a", *reversed(ITEMS))
        self.assertEqual(self.result(self.store.get_privacy_list(ROMEO, "a")), ITEMS)
        self.assertIsNone(self.result(self.store.get_privacy_list(JULIET, "a")))
        self.assertIsNone(self.result(self.store.get_privacy_list(ROMEO, "b")))
        self.assertEqual(self.names(JULIET), Names(None, ()))

    def test_replaced(self) -> None:
        """A list of a known name takes the place of the old one, also when there are many."""
        for name in "cab":
            self.assertTrue(self.put(name, *ITEMS))
        self.assertFalse(self.put("d", DENY))
        self.assertTrue(self.put("a", DENY))
        self.assertEqual(self.result(self.store.get_privacy_list(ROMEO, "a")), (DENY,))
        self.assertEqual(self.names(), Names(None, ("a", "b", "c")))

    def test_default(self) -> None:
        """A list can be made the default one, follows its changes, and be forgotten as such."""
        self.put("a", *ITEMS)
        self.assertTrue(self.result(self.store.set_default_list(ROMEO, "a")))
        self.put("a", DENY)
        self.assertEqual(self.result(self.store.get_default_list(ROMEO)), ("a", (DENY,)))
        self.put("b", *ITEMS)
        self.assertTrue(self.result(self.store.set_default_list(ROMEO, "b")))
        self.assertEqual(self.names(), Names("b", ("a", "b")))
        self.result(self.store.forget_default_list(ROMEO))
        self.assertEqual(self.names(), Names(None, ("a", "b")))
        self.assertIsNone(self.result(self.store.get_default_list(ROMEO)))

    def test_many_defaults(self) -> None:
        """The default lists of many users are read together, also one without items."""
        users = [JID.parse(f"user{number}@{'ab'[number % 2]}.example") for number in range(5)]
        for number, user in enumerate(users[:4]):
            self.put("a", *ITEMS[:number], user=user)
            self.result(self.store.set_default_list(user, "a"))
        asked = [Deferred.fromCoroutine(self.store.get_default_list(user)) for user in users]
        found = self.successResultOf(gatherResults(asked))
        self.assertEqual(found, [("a", ITEMS[:number]) for number in range(4)] + [None])

    def test_unknown_default(self) -> None:
        """A list that there is not cannot be the default one."""
        self.assertFalse(self.result(self.store.set_default_list(ROMEO, "a")))
        self.assertIsNone(self.result(self.store.get_default_list(ROMEO)))

    def test_removed(self) -> None:
        """A list that is removed is gone, as the default one too."""
        self.put("a", *ITEMS)
        self.result(self.store.set_default_list(ROMEO, "a"))
        self.assertTrue(self.result(self.store.remove_privacy_list(ROMEO, "a")))
        self.assertFalse(self.result(self.store.remove_privacy_list(ROMEO, "a")))
        self.assertEqual(self.names(), Names(None, ()))

    def test_edited(self) -> None:
        """The default list is changed in place."""
        self.put("a", *ITEMS)
        self.result(self.store.set_default_list(ROMEO, "a"))
        self.result(self.store.edit_default_list(ROMEO, lambda items: (*items[:1], DENY), "b"))
        expected = ("a", (ITEMS[0], DENY))
        self.assertEqual(self.result(self.store.get_default_list(ROMEO)), expected)

    def test_edited_without_default(self) -> None:
        """Without a default list nothing happens, or the named list is made and becomes it."""
        self.result(self.store.edit_default_list(ROMEO, lambda items: (DENY,), None))
        self.assertEqual(self.names(), Names(None, ()))
        self.put("b", ITEMS[0])
        self.result(self.store.edit_default_list(ROMEO, lambda items: (*items, DENY), "b"))
        expected = ("b", (ITEMS[0], DENY))
        self.assertEqual(self.result(self.store.get_default_list(ROMEO)), expected)

    def test_refused_edit(self) -> None:
        """An edit that raises changes nothing."""

        def refuse(items: tuple[Item, ...]) -> tuple[Item, ...]:
            raise StanzaError("policy-violation")

        self.failure(self.store.edit_default_list(ROMEO, refuse, "b"), StanzaError)
        self.assertEqual(self.names(), Names(None, ()))

    def test_removed_user(self) -> None:
        """All lists of an account are gone with it, those of others are not."""
        for user in (ROMEO, JULIET):
            self.put("a", *ITEMS, user=user)
            self.result(self.store.set_default_list(user, "a"))
        self.result(self.store.remove_user(ROMEO))
        self.assertEqual(self.names(), Names(None, ()))
        self.assertIsNone(self.result(self.store.get_privacy_list(ROMEO, "a")))
        self.assertEqual(self.result(self.store.get_default_list(JULIET)), ("a", ITEMS))

    def test_removed_domain(self) -> None:
        """All lists of a domain's accounts are gone with it, those of other domains are not."""
        other = JID.parse("romeo@example.org")
        for user in (ROMEO, JULIET, other):
            self.put("a", *ITEMS, user=user)
            self.result(self.store.set_default_list(user, "a"))
        self.result(self.store.remove_domain("localhost"))
        self.assertEqual((self.names(), self.names(JULIET)), (Names(None, ()), Names(None, ())))
        self.assertEqual(self.result(self.store.get_default_list(other)), ("a", ITEMS))


class SQLiteStoreTests(OverSQLite, StoreTests):
    """The store in SQLite."""


class PostgreSQLStoreTests(OverPostgreSQL, StoreTests):
    """The store in PostgreSQL."""
