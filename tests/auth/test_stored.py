"""Tests of methods that keep keys: checks, cache, renewal."""

from twisted.internet.task import Clock

from mongoosetw.auth.backend import AccountExists, RegistrationRefused
from mongoosetw.auth.cache import MISSING, AccountCache
from mongoosetw.auth.keys import Credentials, KeyPolicy
from mongoosetw.auth.stored import Secret
from tests.auth.fakes import JULIET, QUICK, ROMEO, AsyncTestCase, CountingBackend, backend


class PasswordTests(AsyncTestCase):
    """Registering and checking."""

    def test_register_and_check(self) -> None:
        """A registered account opens with its password only."""
        store = backend()
        self.done(store.register(ROMEO, "secret"))
        self.assertTrue(self.done(store.check_password(ROMEO, "secret")))
        self.assertFalse(self.done(store.check_password(ROMEO, "wrong")))
        self.assertFalse(self.done(store.check_password(JULIET, "secret")))

    def test_register_twice(self) -> None:
        """The second registration of a name fails and leaves the first password."""
        store = backend()
        self.done(store.register(ROMEO, "secret"))
        self.raises(AccountExists, store.register(ROMEO, "other"))
        self.assertTrue(self.done(store.check_password(ROMEO, "secret")))

    def test_impossible_password(self) -> None:
        """A password that no client can send is not taken."""
        error = self.raises(RegistrationRefused, backend().register(ROMEO, ""))
        assert isinstance(error, RegistrationRefused)
        self.assertEqual(error.condition, "not-acceptable")

    def test_ready_made_keys(self) -> None:
        """Keys derived once can serve many accounts, for imports and load generators."""
        store = backend()
        keys = Credentials.derive("secret", QUICK)
        self.done(store.register(ROMEO, keys))
        self.done(store.register(JULIET, keys))
        self.assertTrue(self.done(store.check_password(JULIET, "secret")))

    def test_set_password(self) -> None:
        """A new password replaces the old one at once."""
        store = backend()
        self.done(store.register(ROMEO, "old"))
        self.assertTrue(self.done(store.set_password(ROMEO, "new")))
        self.assertTrue(self.done(store.check_password(ROMEO, "new")))
        self.assertFalse(self.done(store.check_password(ROMEO, "old")))
        self.assertFalse(self.done(store.set_password(JULIET, "new")))

    def test_remove(self) -> None:
        """A removed account is gone at once."""
        store = backend()
        self.done(store.register(ROMEO, "secret"))
        self.assertTrue(self.done(store.remove(ROMEO)))
        self.assertFalse(self.done(store.exists(ROMEO)))
        self.assertIsNone(self.done(store.scram_keys(ROMEO, "sha256")))
        self.assertFalse(self.done(store.remove(ROMEO)))

    def test_remembered_keys(self) -> None:
        """What is known of an account is answered at once, also that there is none."""
        store = backend()
        for user, keys in ((ROMEO, True), (JULIET, False)):
            if keys:
                self.done(store.register(user, "secret"))
            store.invalidate(user)
            self.assertIs(store.remembered_keys(user, "sha256"), MISSING)
            loaded = self.done(store.scram_keys(user, "sha256"))
            self.assertEqual(loaded is not None, keys)
            self.assertIs(store.remembered_keys(user, "sha256"), loaded)

    def test_scram_keys(self) -> None:
        """There are keys for the configured hashes, and mechanisms accordingly."""
        store = backend(policy=KeyPolicy(("sha256",), 8))
        self.done(store.register(ROMEO, "secret"))
        keys = self.done(store.scram_keys(ROMEO, "sha256"))
        assert keys is not None
        self.assertEqual(keys.iterations, 8)
        self.assertIsNone(self.done(store.scram_keys(ROMEO, "sha1")))
        self.assertEqual(store.mechanisms, {"PLAIN", "SCRAM-SHA-256"})


class CacheTests(AsyncTestCase):
    """What is remembered."""

    def test_rows_are_read_once(self) -> None:
        """A second login within a minute does not read the row again."""
        clock = Clock()
        store = backend(clock.seconds)
        store._rows[ROMEO] = Secret("", Credentials.derive("secret", QUICK).to_text())
        for _ in range(3):
            self.done(store.scram_keys(ROMEO, "sha1"))
        self.assertEqual(store.loads, 1)
        clock.advance(61)
        self.done(store.scram_keys(ROMEO, "sha1"))
        self.assertEqual(store.loads, 2)

    def test_unknown_names_are_remembered_shortly(self) -> None:
        """An unknown name is looked up again after two seconds, and known when registered."""
        clock = Clock()
        store = backend(clock.seconds)
        for _ in range(2):
            self.assertFalse(self.done(store.exists(ROMEO)))
        self.assertEqual(store.loads, 1)
        clock.advance(2)
        self.done(store.exists(ROMEO))
        self.assertEqual(store.loads, 2)
        self.done(store.register(ROMEO, "secret"))
        self.assertTrue(self.done(store.exists(ROMEO)))

    def test_invalidate(self) -> None:
        """After word from another node the row is read again."""
        store = backend()
        self.done(store.register(ROMEO, "old"))
        store._rows[ROMEO] = Secret("", Credentials.derive("new", QUICK).to_text())
        store.invalidate(ROMEO)
        self.assertTrue(self.done(store.check_password(ROMEO, "new")))

    def test_change_while_loading(self) -> None:
        """A removal during a look-up is not undone by the cache."""
        store = backend()
        store._rows[ROMEO] = Secret("", Credentials.derive("secret", QUICK).to_text())
        store.while_loading = lambda: self.assertTrue(self.done(store.remove(ROMEO)))
        self.done(store.exists(ROMEO))
        store.while_loading = lambda: None
        self.assertFalse(self.done(store.exists(ROMEO)))


class RenewalTests(AsyncTestCase):
    """Rows that do not meet the policy."""

    def stored(self, store: CountingBackend) -> Credentials:
        return Credentials.from_text(store._rows[ROMEO].pass_details or "")

    def test_plain_login_renews(self) -> None:
        """A PLAIN login brings weak keys up to the policy; a wrong password does not."""
        store = backend()
        weak = Credentials.derive("secret", KeyPolicy(("sha1",), 4))
        store._rows[ROMEO] = Secret("", weak.to_text())
        self.done(store.check_password(ROMEO, "wrong"))
        self.assertEqual(self.stored(store), weak)
        self.assertTrue(self.done(store.check_password(ROMEO, "secret")))
        self.assertFalse(self.stored(store).outdated(QUICK))
        self.assertTrue(self.done(store.check_password(ROMEO, "secret")))
        self.assertIsNotNone(self.done(store.scram_keys(ROMEO, "sha512")))

    def test_plain_rows(self) -> None:
        """A plain password left by another server is replaced by keys."""
        store = backend()
        store._rows[ROMEO] = Secret("secret", None)
        self.assertIsNotNone(self.done(store.scram_keys(ROMEO, "sha256")))
        self.assertEqual(store._rows[ROMEO].password, "")
        self.assertTrue(self.done(store.check_password(ROMEO, "secret")))

    def test_plain_passwords_may_stay(self) -> None:
        """Where plain passwords are configured they are stored so, and SCRAM works all the same."""
        store = backend(policy=KeyPolicy(iterations=8, keep_plain=True))
        self.done(store.register(ROMEO, "secret"))
        store.invalidate(ROMEO)
        self.assertIsNotNone(self.done(store.scram_keys(ROMEO, "sha256")))
        self.assertTrue(self.done(store.check_password(ROMEO, "secret")))
        self.assertEqual(store._rows[ROMEO], Secret("secret", None))

    def test_unusable_rows(self) -> None:
        """An account with unreadable or no keys exists, but cannot log in."""
        for secret in (Secret("", None), Secret("", "garbage"), Secret("\x00", None)):
            store = CountingBackend(cache=AccountCache())
            store._rows[ROMEO] = secret
            self.assertTrue(self.done(store.exists(ROMEO)))
            for password in ("", "garbage", "\x00"):
                self.assertFalse(self.done(store.check_password(ROMEO, password)))
            self.assertIsNone(self.done(store.scram_keys(ROMEO, "sha1")))
