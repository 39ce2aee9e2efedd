"""Tests of what a reload can apply."""

from twisted.trial.unittest import SynchronousTestCase

from mongoosetw.config.diff import changed
from mongoosetw.config.load import load_text
from tests.config.test_load import module_options

HEAD = '[general]\nhosts = ["localhost"]\n'
LISTEN = "[[listen.c2s]]\nport = 5222\nip_address = '127.0.0.1'\n"


class ChangedTests(SynchronousTestCase):
    """Changes are listed once, with whether a reload applies them."""

    def assert_changed(self, old: str, new: str, *expected: tuple[str, bool]) -> None:
        """Compare two texts that follow the same head."""
        before, after = (load_text(HEAD + text, module_options) for text in (old, new))
        found = [(change.path, change.reloadable) for change in changed(before, after)]
        self.assertEqual(found, list(expected))

    def test_nothing(self) -> None:
        """A file that says the same otherwise has no changes."""
        self.assert_changed("workers = 1\n", "[modules]\n")

    def test_modules(self) -> None:
        """Modules come, go and change by a reload."""
        ping = "[modules.mod_ping]\nlimit = {}\n"
        self.assert_changed("", ping.format(1), ("modules.mod_ping", True))
        self.assert_changed(ping.format(1), "", ("modules.mod_ping", True))
        self.assert_changed(
            ping.format(1), ping.format(2), ("modules.mod_ping.options.limit", True)
        )

    def test_acl(self) -> None:
        """ACLs and access rules are reloaded."""
        acl = "[acl]\nadmin = [{{user = '{}'}}]\n"
        self.assert_changed(
            acl.format("a"), acl.format("b"), ("hosts.localhost.acl.admin[0].user", True)
        )

    def test_restart(self) -> None:
        """Ports, hosts, and the data directory need a restart."""
        self.assert_changed(LISTEN, LISTEN.replace("5222", "5223"), ("listen.c2s[0].port", False))
        self.assert_changed(
            "",
            "data_dir = 'elsewhere'\n",
            ("general.data_dir", False),
            ("general.control_socket", False),
            ("outgoing_pools.rdbms.default.path", False),
        )

    def test_listener(self) -> None:
        """A new listener is one change; another log level is applied."""
        self.assert_changed(
            "", "loglevel = 'info'\n" + LISTEN, ("general.loglevel", True), ("listen.c2s[0]", False)
        )
