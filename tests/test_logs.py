"""Logging: readable lines, JSON on request, and nothing secret in either."""

import json
import logging
from io import StringIO
from pathlib import Path
from typing import Any

from twisted.application.service import Application
from twisted.logger import ILogObserver, Logger, LogPublisher
from twisted.trial.unittest import SynchronousTestCase

from mongoosetw.logs import (
    LoggedService,
    UnknownLevel,
    configure,
    current_levels,
    set_level,
    twistd_logfile,
)
from mongoosetw.xmpp.jid import JID
from mongoosetw.xmpp.stanza import Stanza

MESSAGE = "<message to='juliet@localhost' id='m1'><body>the nightingale</body></message>"


class LogCase(SynchronousTestCase):
    """Has the root logger to itself."""

    def setUp(self) -> None:
        """Keep what the root logger had."""
        root = logging.getLogger()
        handlers, level = root.handlers[:], root.level
        self.stream = StringIO()

        def restore() -> None:
            root.handlers[:] = handlers
            root.setLevel(level)

        root.handlers[:] = []
        self.addCleanup(restore)

    def entry(self) -> dict[str, Any]:
        """Return the last line, read as JSON."""
        found: dict[str, Any] = json.loads(self.stream.getvalue().splitlines()[-1])
        return found


class Lines(LogCase):
    """What a line looks like."""

    def test_text(self) -> None:
        """A line has time, level, logger, event and fields."""
        configure("info", stream=self.stream)
        logging.getLogger("mongoosetw.c2s").info("session_opened jid=%s", JID.parse("a@b/c"))
        line = self.stream.getvalue()
        self.assertRegex(line, r"^\d{4}-\d\d-\d\dT[\d:.]+Z info mongoosetw\.c2s: ")
        self.assertTrue(line.endswith("session_opened jid=a@b/c\n"), line)

    def test_json(self) -> None:
        """On request a line is a JSON object with the fields by name and type."""
        configure("info", json_lines=True, stream=self.stream)
        logging.getLogger("x").info("login_failed jid=%s attempts=%d", JID.parse("a@b"), 3)
        entry = self.entry()
        self.assertEqual((entry["what"], entry["jid"]), ("login_failed", "a@b"))
        self.assertEqual(entry["attempts"], 3)
        self.assertEqual((entry["level"], entry["at"]), ("info", "x"))

    def test_traceback(self) -> None:
        """An exception's traceback is part of the entry."""
        configure("info", json_lines=True, stream=self.stream)
        try:
            raise KeyError("gone")
        except KeyError:
            logging.getLogger("x").exception("handler_failed owner=%s", "mod_x")
        self.assertIn("KeyError: 'gone'", self.entry()["traceback"])

    def test_field_does_not_hide_the_level(self) -> None:
        """A field named like one of the entry's own does not replace it."""
        configure("info", json_lines=True, stream=self.stream)
        logging.getLogger("x").info("changed level=%s", "loud")
        self.assertEqual((self.entry()["level"], self.entry()["level_"]), ("info", "loud"))

    def test_one_line(self) -> None:
        """A peer cannot forge a line: control characters are written as escapes."""
        configure("info", stream=self.stream)
        logging.getLogger("x").info("refused text=%s", "a\n2026 info x: forged\x1b[2J")
        self.assertEqual(self.stream.getvalue().count("\n"), 1)
        self.assertNotIn("\x1b", self.stream.getvalue())

    def test_wrong_arguments(self) -> None:
        """A message with too few arguments is logged all the same."""
        configure("info", stream=self.stream)
        logging.getLogger("x").info("odd a=%s b=%d", "one")
        self.assertIn("odd", self.stream.getvalue())

    def test_file_moved_away(self) -> None:
        """After logrotate moved the file, lines go to a new one of the old name."""
        path = Path(self.mktemp())
        configure("info", logfile=str(path))
        logging.getLogger("x").info("first")
        path.rename(f"{path}.1")
        logging.getLogger("x").info("second")
        self.assertIn("second", path.read_text())


class Secrets(LogCase):
    """What must not be in a log."""

    def logged(self, message: str, *arguments: object) -> str:
        """Return what a message looks like as text and as JSON."""
        configure("debug", stream=self.stream)
        logging.getLogger("x").info(message, *arguments)
        configure("debug", json_lines=True, stream=self.stream)
        logging.getLogger("x").info(message, *arguments)
        return self.stream.getvalue()

    def test_stanza(self) -> None:
        """A stanza appears with its addresses but without its content."""
        text = self.logged("dropped stanza=%s", Stanza.parse(MESSAGE))
        self.assertIn("juliet@localhost", text)
        self.assertNotIn("nightingale", text)

    def test_element_and_bytes(self) -> None:
        """Elements and bytes appear without content."""
        stanza = Stanza.parse(MESSAGE)
        text = self.logged("odd element=%s raw=%r", stanza.element, MESSAGE.encode())
        self.assertNotIn("nightingale", text)
        self.assertIn("message", text)

    def test_inside_containers(self) -> None:
        """Nor does content appear from inside a list or a dictionary."""
        text = self.logged("odd all=%s more=%s", [MESSAGE.encode()], {"password": "r0m30"})
        self.assertNotIn("nightingale", text)
        self.assertNotIn("r0m30", text)

    def test_secret_field(self) -> None:
        """A field with the name of a secret is masked, its neighbours are not."""
        text = self.logged("login jid=%s password=%s attempt=%d", "a@b", "r0m30", 2)
        self.assertNotIn("r0m30", text)
        self.assertIn("jid=a@b password=*** attempt=2", text)


class Levels(LogCase):
    """Levels, from the configuration and at run time."""

    def test_change(self) -> None:
        """One module's level changes while the server runs, and back to the common one."""
        configure("warning", stream=self.stream)
        log = logging.getLogger("mongoosetw.sample")
        log.info("hidden")
        set_level("debug", "mongoosetw.sample")
        log.debug("shown")
        self.assertEqual(current_levels()["mongoosetw.sample"], "debug")
        set_level(None, "mongoosetw.sample")
        log.info("hidden")
        self.assertEqual(current_levels()[""], "warning")
        self.assertNotIn("mongoosetw.sample", current_levels())
        self.assertEqual(len(self.stream.getvalue().splitlines()), 1)

    def test_none(self) -> None:
        """The level none logs nothing at all."""
        configure("none", stream=self.stream)
        logging.getLogger("x").critical("hidden")
        self.assertEqual(self.stream.getvalue(), "")
        self.assertEqual(current_levels()[""], "none")

    def test_unknown(self) -> None:
        """An unknown level is refused with the ones that exist."""
        with self.assertRaisesRegex(UnknownLevel, "'loud' is no log level; one of .*warning"):
            set_level("loud")


class TwistedLog(LogCase):
    """Twisted's own log goes the same way."""

    def test_bridge(self) -> None:
        """A failure that Twisted logs is a line here, with its traceback."""
        observer = configure("warning", stream=self.stream)
        log = Logger("twisted.sample", observer=LogPublisher(observer))
        log.info("starting factory")
        try:
            raise RuntimeError("from a callback")
        except RuntimeError:
            log.failure("Unhandled error in Deferred")
        text = self.stream.getvalue()
        self.assertNotIn("starting", text)
        self.assertIn("RuntimeError: from a callback", text)

    def test_under_twistd(self) -> None:
        """A service under twistd gives it the observer, instead of twistd's own."""
        observer = configure("warning", stream=self.stream)
        application = Application("sample")
        LoggedService(observer).setServiceParent(application)
        self.assertIs(application.getComponent(ILogObserver), observer)

    def test_file_of_twistd(self) -> None:
        """The log goes where twistd's options say; a daemon's never to a terminal."""
        self.assertIsNone(twistd_logfile({"nodaemon": True, "logfile": None}))
        self.assertIsNone(twistd_logfile({"nodaemon": True, "logfile": "-"}))
        self.assertEqual(twistd_logfile({"nodaemon": True, "logfile": "a.log"}), "a.log")
        self.assertEqual(twistd_logfile({"nodaemon": False, "logfile": None}), "twistd.log")
