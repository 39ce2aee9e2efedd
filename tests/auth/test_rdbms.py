"""Tests of table users."""

from sqlalchemy import Connection, select

from mongoosetw.auth.backend import AccountExists
from mongoosetw.auth.keys import Credentials, KeyPolicy
from mongoosetw.auth.rdbms import RdbmsBackend, users
from mongoosetw.auth.stored import run_in_place
from mongoosetw.storage.database import Database
from tests.auth.fakes import JULIET, QUICK, ROMEO, AsyncTestCase


class RdbmsTests(AsyncTestCase):
    """Accounts in rows."""

    def setUp(self) -> None:
        self.db = Database.in_memory()
        self.successResultOf(self.db.run("create", users.create))

    def backend(self, policy: KeyPolicy = QUICK) -> RdbmsBackend:
        """A back end as a freshly started server has it: it remembers nothing."""
        return RdbmsBackend(self.db, policy, run_in_thread=run_in_place)

    def row(self) -> tuple[str, str | None]:
        """The only row's password columns."""

        def work(connection: Connection) -> tuple[str, str | None]:
            row = connection.execute(select(users.c.password, users.c.pass_details)).one()
            return row.password, row.pass_details

        return self.successResultOf(self.db.read("row", work))

    def add(self, password: str, details: str | None) -> None:
        """A row as another server left it."""
        row = {"username": "romeo", "server": "example.com", "password": password}

        def work(connection: Connection) -> None:
            connection.execute(users.insert(), row | {"pass_details": details})

        self.successResultOf(self.db.run("add", work))

    def test_accounts_survive(self) -> None:
        """Another process finds the account, and no plain password in the table."""
        self.done(self.backend().register(ROMEO, "secret"))
        self.assertTrue(self.done(self.backend().check_password(ROMEO, "secret")))
        self.assertFalse(self.done(self.backend().check_password(ROMEO, "wrong")))
        password, details = self.row()
        self.assertEqual(password, "")
        self.assertTrue((details or "").startswith("==MULTI_SCRAM==,8,"))

    def test_registered_elsewhere(self) -> None:
        """Two nodes cannot both register a name."""
        self.done(self.backend().register(ROMEO, "secret"))
        self.raises(AccountExists, self.backend().register(ROMEO, "other"))

    def test_same_name_in_another_domain(self) -> None:
        """Accounts of two domains have nothing to do with one another."""
        store = self.backend()
        self.done(store.register(ROMEO, "secret"))
        other = type(ROMEO).parse("romeo@example.net")
        self.assertFalse(self.done(store.exists(other)))
        self.done(store.register(other, "x"))
        self.assertEqual(self.done(store.count()), 2)
        self.assertEqual(self.done(store.count("example.net")), 1)

    def test_set_password(self) -> None:
        """A new password is stored, for known accounts only."""
        self.done(self.backend().register(ROMEO, "old"))
        self.assertTrue(self.done(self.backend().set_password(ROMEO, "new")))
        self.assertFalse(self.done(self.backend().set_password(JULIET, "new")))
        self.assertTrue(self.done(self.backend().check_password(ROMEO, "new")))

    def test_remove_and_list(self) -> None:
        """The list shows what has not been removed, in order."""
        store = self.backend()
        for user in (ROMEO, JULIET):
            self.done(store.register(user, "x"))
        self.assertEqual(self.done(store.list("example.com")), ["juliet", "romeo"])
        self.assertTrue(self.done(store.remove(JULIET)))
        self.assertFalse(self.done(store.remove(JULIET)))
        self.assertEqual(self.done(store.list("example.com")), ["romeo"])

    def test_weak_keys_are_renewed(self) -> None:
        """A PLAIN login stores keys that meet the policy."""
        weak = Credentials.derive("secret", KeyPolicy(("sha1",), 4))
        self.add("", weak.to_text())
        self.assertTrue(self.done(self.backend().check_password(ROMEO, "secret")))
        self.assertFalse(Credentials.from_text(self.row()[1] or "").outdated(QUICK))

    def test_plain_row_is_converted(self) -> None:
        """A plain password left by another server is replaced by keys."""
        self.add("secret", None)
        self.assertTrue(self.done(self.backend().check_password(ROMEO, "secret")))
        self.assertEqual(self.row()[0], "")

    def test_change_during_renewal(self) -> None:
        """A password that was changed meanwhile is not overwritten by old keys."""
        store = self.backend()
        weak = Credentials.derive("old", KeyPolicy(("sha1",), 4))
        self.add("", weak.to_text())
        self.done(store.exists(ROMEO))
        self.done(self.backend().set_password(ROMEO, "new"))
        self.assertTrue(self.done(store.check_password(ROMEO, "old")))
        self.assertTrue(self.done(self.backend().check_password(ROMEO, "new")))
