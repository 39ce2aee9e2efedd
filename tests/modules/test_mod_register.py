"""mod_register: who may make an account, with which password, and who is told (XEP-0077)."""

from mongoosetw.testing.client import Connection
from mongoosetw.testing.server import ServerTestCase
from mongoosetw.xmpp import ns


class RegisterTestCase(ServerTestCase):
    """Connections that want an account."""

    modules = {"mod_presence": {}, "mod_register": {}}

    def ask(self, name: str, password: str = "secret", address: str = "192.0.2.1") -> str:
        """What the server says to a registration on a new connection."""
        return self.send(
            f"<query xmlns='{ns.REGISTER}'><username>{name}</username>"
            f"<password>{password}</password></query>",
            address,
        )

    def send(self, query: str, address: str = "192.0.2.1", kind: str = "set") -> str:
        """What the server says to a request on a new connection."""
        client: Connection = self.connect_raw(address)
        client.open()
        before = len(client.output())
        client.send(f"<iq type='{kind}' id='r'>{query}</iq>")
        return client.output()[before:].decode()

    def accounts(self) -> list[str]:
        """The names of all accounts."""
        return self.await_(self.host.accounts.list("localhost"))


class FormTests(RegisterTestCase):
    """The form and what is wrong with submissions."""

    def test_form(self) -> None:
        """A stranger is told which fields there are."""
        answer = self.send(f"<query xmlns='{ns.REGISTER}'/>", kind="get")
        self.assertIn("<instructions>", answer)
        self.assertIn("<username></username><password/>", answer)
        self.assertNotIn("<registered/>", answer)

    def test_form_of_an_account(self) -> None:
        """The owner of an account is told that there is one, and its name."""
        romeo = self.connect("romeo@localhost/a")
        answer = romeo.request(f"<iq type='get' id='f'><query xmlns='{ns.REGISTER}'/></iq>")
        self.assertIn(b"<registered/><username>romeo</username>", answer.inner)

    def test_wrong(self) -> None:
        """Names that are none, missing fields and removals before a login are refused."""
        for query, condition in (
            ("<username>a b</username><password>x</password>", "jid-malformed"),
            ("<username>romeo</username>", "not-acceptable"),
            ("<password>x</password>", "not-acceptable"),
            ("<remove/>", "unexpected-request"),
        ):
            answer = self.send(f"<query xmlns='{ns.REGISTER}'>{query}</query>")
            self.assertIn(f"<{condition} ", answer)
        self.assertEqual(self.accounts(), [])

    def test_other_account(self) -> None:
        """Nobody changes somebody else's password."""
        self.register("juliet@localhost", "hers")
        romeo = self.connect("romeo@localhost/a")
        fields = "<username>juliet</username><password>mine</password>"
        answer = romeo.request(
            f"<iq type='set' id='c'><query xmlns='{ns.REGISTER}'>{fields}</query></iq>"
        )
        self.assertIn(b"<not-allowed", answer.inner)
        juliet = self.register("juliet@localhost")
        self.assertTrue(self.await_(self.host.accounts.check_password(juliet, "hers")))


class ToldTests(RegisterTestCase):
    """Messages about a new account."""

    modules = {
        "mod_presence": {},
        "mod_register": {
            "welcome_message": {"subject": "Hi", "body": "Welcome & enjoy"},
            "registration_watchers": ["admin@localhost"],
        },
    }

    def configuration(self) -> str:
        """The welcome message is a table."""
        text = super().configuration()
        table = "welcome_message = {subject = 'Hi', body = 'Welcome & enjoy'}"
        return "\n".join(
            table if line.startswith("welcome_message") else line for line in text.splitlines()
        )

    def test_told(self) -> None:
        """The new user is welcomed, and the watchers are told who it is."""
        admin = self.connect("admin@localhost/a")
        admin.send("<presence/>")
        admin.pump()
        admin.events.clear()
        self.assertIn("type='result'", self.ask("romeo"))
        admin.receives(
            "<message from='localhost'><body>The user romeo@localhost was registered.</body>"
            "</message>"
        )


class WelcomeTests(ToldTests):
    """The welcome, kept for the first login."""

    modules = {**ToldTests.modules, "mod_offline": {}}

    def test_told(self) -> None:
        """The message waits until the user comes."""
        self.ask("romeo")
        romeo = self.connect("romeo@localhost/a")
        romeo.send("<presence/>")
        (welcome,) = [s for s in romeo.received if s.kind == "message"]
        self.assertEqual(welcome.body, "Welcome & enjoy")
        self.assertTrue(welcome.has(ns.CLIENT, "subject"))


class RuleTests(RegisterTestCase):
    """Access rules and networks."""

    modules = {"mod_register": {"access": "register"}}
    extra = """
[acl]
short = [{user_glob = "??"}]
[access]
register = [{acl = "short", value = "deny"}, {acl = "all", value = "allow"}]
[[modules.mod_register.ip_access]]
address = "203.0.113.0/24"
policy = "deny"
[[modules.mod_register.ip_access]]
address = "203.0.113.7"
policy = "allow"
"""

    def configuration(self) -> str:
        """The networks stand behind the module's table."""
        text = super().configuration()
        networks = self.extra[self.extra.index("[[modules") :]
        return text.replace(networks, "") + "\n" + networks

    def test_access(self) -> None:
        """Names that the rule denies get no account."""
        self.assertIn("<forbidden", self.ask("ab"))
        self.assertIn("type='result'", self.ask("abc"))

    def test_networks(self) -> None:
        """The smallest network that has the address decides; others may register."""
        self.assertIn("<forbidden", self.ask("one", address="203.0.113.8"))
        self.assertIn("type='result'", self.ask("two", address="203.0.113.7"))
        self.assertIn("type='result'", self.ask("three", address="2001:db8::1"))
        self.assertIn("<forbidden", self.ask("four", address="::ffff:203.0.113.9"))


class StrengthTests(RegisterTestCase):
    """Passwords that are too easy to guess."""

    modules = {"mod_register": {"password_strength": 40}}

    def test_weak(self) -> None:
        """A weak password is refused, at a change too; a long or varied one is taken."""
        self.assertIn("<not-acceptable", self.ask("romeo", "secret"))
        self.assertIn("type='result'", self.ask("romeo", "s3cret!Words"))
        romeo = self.connect("romeo@localhost/a")
        fields = "<username>romeo</username><password>1234</password>"
        answer = romeo.request(
            f"<iq type='set' id='c'><query xmlns='{ns.REGISTER}'>{fields}</query></iq>"
        )
        self.assertIn(b"<not-acceptable", answer.inner)


class TimeoutTests(RegisterTestCase):
    """One account from one address in a while."""

    general = "registration_timeout = 60"

    def test_later(self) -> None:
        """After the time the address may register again; a name that is taken costs no time."""
        self.assertIn("type='result'", self.ask("romeo"))
        self.assertIn("<resource-constraint", self.ask("juliet"))
        self.clock.advance(61)
        self.assertIn("<conflict", self.ask("romeo"))
        self.assertIn("type='result'", self.ask("juliet"))
