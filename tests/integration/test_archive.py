"""Archives and stream management with a client that others have written."""

import subprocess
import sys
from pathlib import Path

from twisted.trial.unittest import SkipTest

from mongoosetw.testing.postgres import PostgreSQL
from tests.integration.node import CONFIG, NodeTestCase

VERBOSE = CONFIG.replace("[general]", '[general]\nloglevel = "info"')
SCRIPT = Path(__file__).with_name("slixmpp_archive.py").resolve()
MODULES = """
[modules.mod_presence]
[modules.mod_disco]
[modules.mod_carboncopy]
[modules.mod_offline]
[modules.mod_stream_management]
[modules.mod_mam]
[modules.mod_mam.pm]
"""


class SlixmppArchiveTests(NodeTestCase):
    """slixmpp's xep_0313, xep_0059 and xep_0198 on SQLite."""

    config = VERBOSE + MODULES

    def test_archive_pages_and_resumption(self) -> None:
        """The client finds every message once, and gets what it missed after resuming."""
        for user in ("alice", "bob"):
            self.ctl("account", "register", f"{user}@localhost", "--password", "secret")
        done = subprocess.run(
            [sys.executable, str(SCRIPT), str(self.port)],
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        steps = ("received", "resumed", "archive", "newest", "words", "metadata")
        expected = [f"{what} True" for what in steps]
        log = (self.folder / "log").read_text()
        seen = f"{done.stderr}\nthe server:\n{log}"
        self.assertEqual(done.stdout.splitlines(), expected, seen)


class PostgreSQLSlixmppArchiveTests(SlixmppArchiveTests):
    """The same on PostgreSQL."""

    def setUp(self) -> None:
        """Starts PostgreSQL first."""
        if not PostgreSQL.installed():
            raise SkipTest("PostgreSQL is not installed")
        database = PostgreSQL()
        self.addCleanup(database.close)
        database.start()
        self.config = VERBOSE + MODULES + database.configuration
        super().setUp()
