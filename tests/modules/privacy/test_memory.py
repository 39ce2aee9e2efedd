"""What of the lists is kept in memory, and what happens when it is not there."""

from collections.abc import Callable
from typing import Any

from twisted.internet.defer import Deferred, fail

from modules.mod_privacy import guard
from modules.mod_privacy.module import Privacy
from mongoosetw.loading import start_modules, stop_modules
from mongoosetw.storage.database import DatabaseUnavailable
from mongoosetw.xmpp.jid import JID
from tests.modules.privacy.case import DENY_ROMEO, PRIVACY, PrivacyTestCase

DENY = DENY_ROMEO.format("")


class MemoryTests(PrivacyTestCase):
    """What is kept in memory, and what happens when it is not there."""

    @property
    def known(self) -> dict[JID, Any]:
        """What is in memory, by user."""
        privacy = self.host.modules["mod_privacy"]
        assert isinstance(privacy, Privacy)
        return privacy.lists.guards.known

    def calls(self) -> list[str]:
        """Uses of the database from now on."""
        names: list[str] = []
        for method in ("run", "read"):
            call = getattr(self.server.db, method)

            def counted(name: str, function: Any, call: Any = call, **options: Any) -> Any:
                names.append(name)
                return call(name, function, **options)

            self.patch(self.server.db, method, counted)
        return names

    def test_connected_users_are_kept(self) -> None:
        """Chat between connected users, with or without lists, asks the database for nothing."""
        self.put(DENY)
        self.use("active")
        tybalt = self.connect("tybalt@localhost/c")
        calls = self.calls()
        self.says(self.romeo, "tybalt@localhost/c")
        self.says(tybalt, "juliet@localhost/b")
        self.says(self.romeo, "juliet@localhost/b")
        self.assertEqual(calls, [])

    def test_bounded(self) -> None:
        """Of users who are not connected a bounded number is kept, those who are stay."""
        self.patch(guard, "_CACHED_USERS", 3)
        for number in range(10):
            self.says(self.romeo, f"user{number}@localhost")
        self.assertEqual(len(self.known), 2 + 3)
        self.assertIn(JID.parse("juliet@localhost"), self.known)
        self.juliet.lose()
        self.says(self.romeo, "user1@localhost")
        self.says(self.romeo, "user2@localhost")
        self.says(self.romeo, "user3@localhost")
        self.assertNotIn(JID.parse("juliet@localhost"), self.known)

    def test_active_list_is_let_go(self) -> None:
        """Nothing is kept of an active list when its session has ended."""
        self.put(DENY)
        self.use("active")
        self.assertIsNotNone(self.known[JID.parse("juliet@localhost")])
        self.juliet.lose()
        self.assertIsNone(self.known[JID.parse("juliet@localhost")])

    def test_change_elsewhere(self) -> None:
        """What another node has changed holds as soon as this one is told."""
        privacy = self.host.modules["mod_privacy"]
        assert isinstance(privacy, Privacy)
        self.befriend()
        self.put(DENY)
        self.clear()
        store = privacy.lists.store
        self.await_(store.set_default_list(JID.parse("juliet@localhost"), "n"))
        self.says(self.romeo, "juliet@localhost/b", "old")
        privacy.forget(JID.parse("juliet@localhost"))
        self.assertEqual(self.presences(self.romeo), [("juliet@localhost/b", "unavailable")])
        self.says(self.romeo, "juliet@localhost/b", "new")
        self.assertEqual(self.bodies(self.juliet), ["old"])

    def hold(self) -> Callable[[], None]:
        """Has reads of lists wait until the answer is called."""
        gate: Deferred[None] = Deferred()
        read: Any = self.server.db.read

        def later(name: str, function: Any) -> Any:
            if not name.startswith("privacy_"):
                return read(name, function)
            result: Deferred[Any] = Deferred()
            gate.addCallback(lambda _: read(name, function).chainDeferred(result) and None)
            return result

        self.patch(self.server.db, "read", later)
        return lambda: gate.callback(None)

    def test_waits_for_lists(self) -> None:
        """A message waits until its recipient's lists have been read, and so do those behind."""
        self.apply(DENY)
        self.juliet.lose()
        self.forget("juliet@localhost")
        go_on = self.hold()
        self.says(self.romeo, "juliet@localhost")
        self.says(self.romeo, "romeo@localhost/a", "later")
        self.romeo.nothing()
        go_on()
        self.assertEqual([s.type for s in self.taken(self.romeo)], ["error", "chat"])

    def test_read_once(self) -> None:
        """Many who write to the same user at once have the lists read once."""
        self.juliet.lose()
        self.forget("juliet@localhost")
        tybalt = self.connect("tybalt@localhost/c")
        go_on = self.hold()
        calls = self.calls()
        self.says(self.romeo, "juliet@localhost", "1")
        self.says(tybalt, "juliet@localhost", "2")
        go_on()
        self.assertEqual(calls.count("privacy_get_default_list"), 1)
        juliet = self.connect("juliet@localhost/b")
        juliet.send("<presence/>")
        self.assertEqual(set(self.bodies(juliet)), {"1", "2"})

    def forget(self, user: str) -> None:
        """Drops what is in memory."""
        privacy = self.host.modules["mod_privacy"]
        assert isinstance(privacy, Privacy)
        privacy.forget(JID.parse(user))

    def lose_database(self) -> None:
        """Default lists can no longer be read."""
        read: Any = self.server.db.read

        def broken(name: str, function: Any) -> Any:
            if name == "privacy_get_default_list":
                return fail(DatabaseUnavailable("gone"))
            return read(name, function)

        self.patch(self.server.db, "read", broken)

    def test_lost_database(self) -> None:
        """Lists that cannot be read refuse everything for now; what is in memory goes on."""
        self.apply(DENY)
        tybalt = self.connect("tybalt@localhost/c")
        self.lose_database()
        self.says(tybalt, "juliet@localhost/b")
        self.assertEqual(self.bodies(self.juliet), ["x"])
        self.says(tybalt, "nobody@localhost")
        self.assertIn(b"<internal-server-error", self.errors(tybalt)[0])

    def test_started_late(self) -> None:
        """The lists of clients that are connected already hold as soon as the module starts."""
        self.apply(DENY)
        self.put("<item action='allow' order='1'/>", "all")
        phone = self.connect("juliet@localhost/phone")
        self.use("active", "all", phone)
        self.restart()
        self.says(self.romeo, "juliet@localhost/b")
        self.says(self.romeo, "juliet@localhost/phone")
        self.assertEqual((self.bodies(self.juliet), self.bodies(phone)), ([], ["x"]))

    def test_presence_after_late_start(self) -> None:
        """Presence, which takes a shorter way, is kept from connected clients as well."""
        self.befriend()
        self.apply(DENY)
        self.restart()
        self.romeo.send("<presence/>")
        self.assertEqual(self.presences(self.juliet), [])

    def test_cannot_read_back(self) -> None:
        """Once a change is stored but cannot be read, nothing passes until it can be."""
        self.put(DENY)
        self.clear()
        read: Any = self.server.db.read
        self.lose_database()
        self.juliet.send(PRIVACY.format("set", "<default name='n'/>"))
        self.says(self.romeo, "juliet@localhost/b")
        self.assertIn(b"<internal-server-error", self.errors(self.romeo)[0])
        self.patch(self.server.db, "read", read)
        self.says(self.romeo, "juliet@localhost/b")
        self.assertEqual(self.bodies(self.juliet), [])

    def restart(self) -> None:
        """Stops and starts mod_privacy."""
        configured = dict(self.host.config.modules)
        self.await_(stop_modules(self.host, ["mod_privacy"]))
        self.await_(start_modules(self.host, {"mod_privacy": configured["mod_privacy"]}))

    def test_nothing_left(self) -> None:
        """A stopped module has no handlers and refuses nothing."""
        self.apply(DENY)
        self.await_(stop_modules(self.host, ["mod_blocking", "mod_privacy"]))
        owners = {entry["owner"] for entry in self.host.hooks.describe()}
        owners |= {owner for owner, _ in self.host.iq_handlers.values()}
        self.assertTrue(owners.isdisjoint({"mod_privacy", "mod_blocking"}))
        self.says(self.romeo, "juliet@localhost/b")
        self.assertEqual(self.bodies(self.juliet), ["x"])

    def test_late_session(self) -> None:
        """A session that began while the module was starting gets presence, and its lists hold."""
        self.befriend()
        self.apply(DENY)
        self.known.clear()
        self.juliet.send("<presence/>")  # read again
        self.assertEqual(self.presences(self.romeo), [])
        self.known.clear()
        self.romeo.send("<presence/>")
        self.taken(self.juliet)
        self.romeo.send("<presence/>")
        self.juliet.nothing()

    def test_nobody_shown_unread(self) -> None:
        """As long as it is not known from whom a user hides, the user is shown to nobody."""
        self.befriend()
        self.apply(DENY_ROMEO.format("<presence-out/>"))
        phone = self.connect("romeo@localhost/phone")
        del self.known[JID.parse("juliet@localhost")]
        go_on = self.hold()
        phone.send("<presence/>")
        self.assertNotIn(("juliet@localhost/b", ""), self.presences(phone))
        go_on()

    def test_counted(self) -> None:
        """Checks, denials and uses of the store are counted under MongooseIM's names."""
        privacy = self.host.modules["mod_privacy"]
        assert isinstance(privacy, Privacy)
        counts = (privacy.checked, privacy.denied, privacy.blocked)
        used = privacy.used.labels("replace_privacy_list")
        before = used.value
        self.apply(DENY)
        self.assertEqual(used.value, before + 1)
        values = [count.value for count in counts]
        self.says(self.romeo, "tybalt@localhost")
        self.assertEqual([count.value for count in counts], values)
        self.says(self.romeo, "juliet@localhost/b")
        self.assertEqual([count.value for count in counts], [value + 1 for value in values])
