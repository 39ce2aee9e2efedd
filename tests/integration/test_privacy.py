"""Slixmpp's own plugins for blocking (XEP-0191) and privacy lists (XEP-0016)."""

import subprocess
import sys
from pathlib import Path

from tests.integration.live import LiveTestCase, threaded

SCRIPT = Path(__file__).with_name("slixmpp_privacy.py").resolve()
MODULES = """
[modules.mod_roster]
[modules.mod_presence]
[modules.mod_disco]
[modules.mod_ping]
[modules.mod_blocking]
"""


class SlixmppTests(LiveTestCase):
    """Two clients in a process of their own, over TLS."""

    listener_options = "tls.mode = 'starttls'"
    extra = MODULES

    def story(self, name: str) -> list[str]:
        """What the clients have seen."""
        certificate = next((self.folder / "data").glob("*.crt"))
        done = subprocess.run(
            [sys.executable, str(SCRIPT), name, str(self.port), str(certificate)],
            capture_output=True,
            text=True,
            timeout=50,
            check=False,
        )
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        return done.stdout.splitlines()

    @threaded
    def test_blocking(self) -> None:
        """A contact is blocked, nothing passes, and everything does when it is unblocked."""
        blocked = ["bob@localhost", "eve@localhost"]
        expected = [
            "server: True",
            "alice: []",
            f"alice: {sorted([f'blocked {blocked}', 'unavailable bob@localhost/b'])}",
            "bob: ['unavailable alice@localhost/a']",
            "bob: error service-unavailable",
            "alice: error not-acceptable blocked",
            "bob: service-unavailable",
            f"alice: {blocked}",
            f"alice: {sorted(['unblocked ' + str(blocked[:1]), 'available bob@localhost/b'])}",
            "bob: ['available alice@localhost/a']",
            "alice: message hello again",
        ]
        self.assertEqual(self.story("blocking"), expected)

    @threaded
    def test_lists(self) -> None:
        """A privacy list is made, chosen, applied, declined and removed."""
        expected = [
            "alice: ['quiet', 'quiet', 'quiet']",
            "alice: [('jid', 'bob@localhost', 'deny', '1', True), ('', '', 'allow', '2', False)]",
            "bob: error service-unavailable",
            "alice: item-not-found",
            "alice: message shown",
            "alice: 0",
        ]
        self.assertEqual(self.story("lists"), expected)
