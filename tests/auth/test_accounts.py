"""Tests of the chain of methods."""

from mongoosetw.auth.accounts import Accounts
from mongoosetw.auth.anonymous import AnonymousBackend
from mongoosetw.auth.backend import AccountExists, RegistrationRefused
from mongoosetw.auth.dummy import DummyBackend
from mongoosetw.auth.pki import PkiBackend
from mongoosetw.hooks.bus import HookBus
from mongoosetw.hooks.users import RegisterUser, RemoveUser
from mongoosetw.xmpp.jid import JID
from tests.auth.fakes import JULIET, ROMEO, AsyncTestCase, backend


class AccountsTests(AsyncTestCase):
    """Several methods as one."""

    def setUp(self) -> None:
        self.first, self.second = backend(), backend()
        self.accounts = Accounts([self.first, self.second])
        self.done(self.second.register(JULIET, "secret"))

    def test_every_method_is_asked(self) -> None:
        """An account of the second method exists and can log in."""
        self.assertTrue(self.done(self.accounts.exists(JULIET)))
        self.assertTrue(self.done(self.accounts.check_password(JULIET, "secret")))
        self.assertFalse(self.done(self.accounts.check_password(JULIET, "wrong")))
        self.assertIsNotNone(self.done(self.accounts.scram_keys(JULIET, "sha256")))
        self.assertIsNone(self.done(self.accounts.scram_keys(ROMEO, "sha256")))

    def test_register(self) -> None:
        """Accounts are made in the first method, if no other has the name."""
        self.done(self.accounts.register(ROMEO.with_resource("x"), "secret"))
        self.assertTrue(self.done(self.first.exists(ROMEO)))
        self.raises(AccountExists, self.accounts.register(JULIET, "other"))
        self.raises(AccountExists, self.accounts.register(ROMEO, "other"))

    def test_lists(self) -> None:
        """Names and numbers are those of all methods together."""
        self.done(self.accounts.register(ROMEO, "secret"))
        self.assertEqual(self.done(self.accounts.list("example.com")), ["juliet", "romeo"])
        self.assertEqual(self.done(self.accounts.list("example.net")), [])
        self.assertEqual(self.done(self.accounts.count()), 2)

    def test_domain_is_no_account(self) -> None:
        """A domain is no account and cannot become one."""
        domain = JID.parse("example.com")
        self.assertFalse(self.done(self.accounts.exists(domain)))
        self.raises(RegistrationRefused, self.accounts.register(domain, "x"))

    def test_limit(self) -> None:
        """A full domain takes no more accounts, another one does."""
        accounts = Accounts([backend()], max_users_per_domain=1)
        self.done(accounts.register(ROMEO, "x"))
        self.raises(RegistrationRefused, accounts.register(JULIET, "x"))
        self.done(accounts.register(JID.parse("romeo@example.net"), "x"))

    def test_hooks(self) -> None:
        """Modules hear of registrations and removals, once each."""
        seen: list[object] = []
        bus = HookBus()
        bus.add(RegisterUser, 50, "test", seen.append)
        bus.add(RemoveUser, 50, "test", seen.append)
        bus.publish()
        accounts = Accounts([backend()], hooks=bus)
        self.done(accounts.register(ROMEO, "x"))
        self.assertTrue(self.done(accounts.remove(ROMEO)))
        self.assertFalse(self.done(accounts.remove(ROMEO)))
        self.assertEqual(seen, [RegisterUser(ROMEO), RemoveUser(ROMEO)])

    def test_set_password(self) -> None:
        """A changed password counts, an unknown account has none to change."""
        self.done(self.accounts.register(ROMEO, "old"))
        self.assertTrue(self.done(self.accounts.set_password(ROMEO, "new")))
        self.assertTrue(self.done(self.accounts.check_password(ROMEO, "new")))
        self.assertFalse(self.done(self.accounts.set_password(JID.parse("x@y"), "new")))

    def test_mechanisms(self) -> None:
        """A mechanism is supported if some method can serve it."""
        for name in ("PLAIN", "SCRAM-SHA-1", "SCRAM-SHA-512-PLUS", "EXTERNAL"):
            self.assertTrue(self.accounts.supports(name))
        for name in ("ANONYMOUS", "SCRAM-SHA-384"):
            self.assertFalse(self.accounts.supports(name))


class AnonymousTests(AsyncTestCase):
    """Guests."""

    def test_guests_take_no_accounts(self) -> None:
        """With any password one may be a guest, but never under the name of an account."""
        store = backend()
        accounts = Accounts([AnonymousBackend("login_anon"), store])
        self.done(accounts.register(ROMEO, "secret"))
        self.assertFalse(self.done(accounts.check_password(ROMEO, "any")))
        self.assertTrue(self.done(accounts.check_password(ROMEO, "secret")))
        self.assertTrue(self.done(accounts.check_password(JULIET, "any")))

    def test_guest_exists_while_connected(self) -> None:
        """A guest exists while it has a session."""
        connected = {ROMEO}
        accounts = Accounts([AnonymousBackend("both", is_connected=connected.__contains__)])
        self.assertTrue(self.done(accounts.exists(ROMEO)))
        self.assertFalse(self.done(accounts.exists(JULIET)))

    def test_name_in_use(self) -> None:
        """Two guests do not share a name unless configured."""
        for several in (False, True):
            guests = AnonymousBackend("login_anon", several, {ROMEO}.__contains__)
            self.assertIs(self.done(guests.check_password(ROMEO, "x")), several)

    def test_limited_methods(self) -> None:
        """Where only guests are let in, accounts are not, nor may a guest take their names."""
        store = backend()
        accounts = Accounts([store, AnonymousBackend("both")])
        self.done(accounts.register(ROMEO, "secret"))
        guests = accounts.limited_to(["anonymous"])
        self.assertFalse(guests.supports("SCRAM-SHA-1"))
        self.assertTrue(guests.supports("ANONYMOUS"))
        self.assertFalse(self.done(guests.check_password(ROMEO, "secret")))
        self.assertFalse(self.done(guests.check_password(ROMEO, "any")))
        self.assertTrue(self.done(guests.check_password(JULIET, "any")))
        self.assertTrue(self.done(accounts.check_password(ROMEO, "secret")))

    def test_certificates_alone(self) -> None:
        """Method pki knows everybody and believes no password."""
        accounts = Accounts([PkiBackend()])
        self.assertTrue(accounts.trusts_certificates)
        self.assertTrue(self.done(accounts.exists(ROMEO)))
        self.assertFalse(self.done(accounts.check_password(ROMEO, "x")))
        self.assertFalse(accounts.limited_to(["internal"]).trusts_certificates)

    def test_sasl_only(self) -> None:
        """With sasl_anon alone, a password opens nothing and nobody can register."""
        accounts = Accounts([AnonymousBackend()])
        self.assertFalse(self.done(accounts.check_password(ROMEO, "x")))
        self.assertTrue(accounts.supports("ANONYMOUS"))
        self.assertFalse(accounts.supports("PLAIN"))
        self.raises(RegistrationRefused, accounts.register(ROMEO, "x"))


class DummyTests(AsyncTestCase):
    """The load test's method."""

    def test_everybody_after_a_delay(self) -> None:
        """Every password opens every account after the configured time."""
        slept: list[float] = []

        async def sleep(seconds: float) -> None:
            slept.append(seconds)

        accounts = Accounts([DummyBackend(100, 50, sleep)])
        self.assertTrue(self.done(accounts.check_password(ROMEO, "x")))
        self.assertTrue(self.done(accounts.exists(JULIET)))
        self.assertTrue(0.1 <= slept[0] <= 0.15)
