"""Stream management over real sockets: with slixmpp, and with bytes."""

import subprocess
import sys
from pathlib import Path

from mongoosetw.xmpp import ns
from tests.integration.node import CONFIG, NodeTestCase

CLIENT = Path(__file__).with_name("slixmpp_resume.py").resolve()
MODULES = """
[modules.mod_roster]
[modules.mod_presence]
[modules.mod_carboncopy]
[modules.mod_csi]
[modules.mod_ping]
[modules.mod_offline]
[modules.mod_stream_management]
"""


class StreamManagementTests(NodeTestCase):
    """A node with stream management and a message log."""

    config = CONFIG + MODULES

    def setUp(self) -> None:
        """Two accounts."""
        super().setUp()
        for user in ("alice", "bob"):
            self.ctl("account", "register", f"{user}@localhost", "--password", "secret")

    def test_slixmpp_resumes(self) -> None:
        """A client whose socket is cut resumes: each message arrives once, in order, both ways."""
        certificate = next((self.folder / "data").glob("*.crt"))
        done = subprocess.run(
            [sys.executable, str(CLIENT), str(self.port), str(certificate)],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        lines = done.stdout.splitlines()
        self.assertEqual(len(lines), 4, done.stderr)
        heard = [f"b{cut}{number}" for cut in range(3) for number in range(10)]
        self.assertEqual(lines[0].split(), heard)
        self.assertEqual(lines[1].split(), ["a0", "a1", "a2"])
        self.assertEqual(lines[2].split(), ["a0", "a1", "a2"])
        self.assertEqual(lines[3], "3")

    def test_cut_and_asked(self) -> None:
        """The server asks on an idle line; a new connection takes over from one that hangs."""
        alice = self.client()
        alice.login("alice", "a")
        alice.send(f"<enable xmlns='{ns.SM}' resume='true'/>")
        enabled = alice.until("/>")
        previous = enabled.partition(" id='")[2].partition("'")[0]
        bob = self.client()
        bob.login("bob", "b")
        bob.send("<message to='alice@localhost/a' type='chat'><body>1</body></message>")
        alice.until(f"<r xmlns='{ns.SM}'/>")
        again = self.client()
        again.open()
        again.plain("alice")
        again.open()
        again.send(f"<resume xmlns='{ns.SM}' previd='{previous}' h='0'/>")
        self.assertIn("<resumed ", again.until("<body>1</body>"))
        self.assertIn("<conflict ", alice.rest())
