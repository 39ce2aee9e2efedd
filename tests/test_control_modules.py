"""Commands that modules declare."""

from typing import Any

from mongoosetw.control import CommandError
from mongoosetw.control_modules import ModuleCommands
from mongoosetw.testing.server import ServerTestCase


class ModuleCommandTests(ServerTestCase):
    """``mongoosectl mam …`` on a server with two domains."""

    modules = {"mod_mam": {}}
    hosts = ("localhost", "example.org")

    def run_words(self, module: str, *words: str) -> Any:
        """What the command answers."""
        commands = ModuleCommands(self.server)
        return self.await_(commands.run({"module": module, "words": list(words)}))

    def refused(self, module: str, *words: str) -> str:
        """What the operator is told."""
        commands = ModuleCommands(self.server)
        coroutine = commands.run({"module": module, "words": list(words)})
        return str(self.assertRaises(CommandError, coroutine.send, None))

    def test_on_the_accounts_domain(self) -> None:
        """A command for an account runs on its domain's module, and answers for it alone."""
        self.assertEqual(self.run_words("mam", "stats", "a@example.org")["messages"], 0)

    def test_options(self) -> None:
        """Options may stand anywhere, with or without an equals sign."""
        for words in (("--keep", "3", "a@localhost"), ("a@localhost", "--keep=3")):
            self.assertEqual(self.run_words("mam", "purge", *words)["removed"], 0)

    def test_what_is_wrong_is_said(self) -> None:
        """Unknown modules, actions, options and domains are named."""
        self.assertIn("no module mod_fly runs", self.refused("fly"))
        self.assertIn("mam purge JID [--before BEFORE]", self.refused("mam"))
        self.assertIn("usage:", self.refused("mam", "fly"))
        self.assertIn("jid is missing", self.refused("mam", "stats"))
        self.assertIn("too much", self.refused("mam", "stats", "a@localhost", "b"))
        self.assertIn("no option --colour", self.refused("mam", "purge", "a@b", "--colour", "red"))
        self.assertIn("does not run", self.refused("mam", "stats", "a@elsewhere"))
        self.assertIn("no address", self.refused("mam", "stats", "@"))
