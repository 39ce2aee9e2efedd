"""The tests of mod_greeter."""

from mongoosetw.testing.server import ServerTestCase

COUNT = "<iq type='get' id='c' to='localhost'><count xmlns='urn:example:greeter'/></iq>"


class GreeterTests(ServerTestCase):
    """What a user sees of the module."""

    modules = {
        "mod_presence": {},
        "mod_greeter": {"class": "acme_greeter:Greeter", "greeting": "Hi & hello"},
    }

    def test_greets(self) -> None:
        """Who comes online is greeted."""
        romeo = self.connect("romeo@localhost/a")
        romeo.send("<presence/>")
        romeo.receives("<presence/>")
        romeo.receives("<message from='localhost'><body>Hi &amp; hello</body></message>")

    def test_counts(self) -> None:
        """The greetings are counted, and the count can be asked for."""
        for resource in ("a", "b"):
            self.connect(f"romeo@localhost/{resource}").send("<presence/>")
        romeo = self.connect("romeo@localhost/c")
        self.assertIn(b">2</count>", romeo.request(COUNT).inner)

    def test_metric(self) -> None:
        """The operator sees how many were greeted."""
        before = self.metric("mod_greeter_greetings_count", host_type="localhost")
        self.connect("romeo@localhost/a").send("<presence/>")
        after = self.metric("mod_greeter_greetings_count", host_type="localhost")
        self.assertEqual(after, before + 1)

    def test_removed_account(self) -> None:
        """A new account of the same name starts at nothing."""
        romeo = self.connect("romeo@localhost/a")
        romeo.send("<presence/>")
        self.await_(self.host.accounts.remove(romeo.jid))
        romeo = self.connect("romeo@localhost/b")
        self.assertIn(b">0</count>", romeo.request(COUNT).inner)
