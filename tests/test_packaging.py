"""The package as it is installed: everything that the code needs is in it."""

import configparser
import importlib
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

ROOT = Path(__file__).parent.parent


def folders_with_code(top: str) -> set[str]:
    """Return the dotted names of all packages below a folder of the tree."""
    return {
        ".".join(path.parent.relative_to(ROOT).parts) for path in (ROOT / top).rglob("__init__.py")
    }


class Packaging(SynchronousTestCase):
    """setup.cfg against the tree."""

    def setUp(self) -> None:
        """Read setup.cfg."""
        self.setup = configparser.ConfigParser()
        self.setup.read(ROOT / "setup.cfg", "utf-8")

    def test_packages(self) -> None:
        """Every package of the tree is listed and every listed one is in the tree."""
        listed = set(self.setup["options"]["packages"].split()) - {"twisted.plugins"}
        self.assertEqual(listed, folders_with_code("mongoosetw") | folders_with_code("modules"))

    def test_plugin_folder(self) -> None:
        """The plugin's folders are no packages of ours: that would hide Twisted's own."""
        self.assertIn("twisted.plugins", self.setup["options"]["packages"].split())
        self.assertEqual(folders_with_code("twisted"), set())

    def test_commands(self) -> None:
        """The commands that an installation makes exist."""
        scripts = self.setup["options.entry_points"]["console_scripts"].split("\n")
        for target in (line.partition("=")[2].strip() for line in scripts if line):
            module, _, name = target.partition(":")
            self.assertTrue(callable(getattr(importlib.import_module(module), name)), target)

    def test_twistd_plugin(self) -> None:
        """`twistd mongoose` is there and what it names can be imported."""
        text = (ROOT / "twisted" / "plugins" / "mongoosetw_plugin.py").read_text()
        names: dict[str, object] = {}
        exec(compile(text, "plugin", "exec"), names)
        maker = names["mongoose"]
        self.assertEqual(getattr(maker, "tapname", None), "mongoose")
        tap = importlib.import_module(str(getattr(maker, "module", "")))
        self.assertTrue(callable(tap.makeService))
