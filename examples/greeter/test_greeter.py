"""The tests of mod_greeter."""

from mongoosetw.testing.server import ServerTestCase

MODULES = {
    "mod_presence": {},
    "mod_greeter": {"class": "examples.greeter.greeter:Greeter", "greeting": "Hi & hello"},
}
COUNT = "<iq type='get' id='c' to='localhost'><count xmlns='urn:example:greeter'/></iq>"


class GreeterTests(ServerTestCase):
    """What a user sees of the module."""

    modules = MODULES

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
