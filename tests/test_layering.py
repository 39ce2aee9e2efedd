"""Imports point one way: xmpp, hooks, the rest of mongoosetw, modules."""

import ast
from collections.abc import Iterator
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

ROOT = Path(__file__).resolve().parents[1]


def imports(path: Path) -> Iterator[str]:
    """The modules that a file imports when it runs (what only types need is left out)."""
    tree = ast.parse(path.read_text())
    for node in ast.walk(tree):
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test):
            node.body = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (name.name for name in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module


class LayeringTests(SynchronousTestCase):
    """Which part may import which."""

    def assert_free(self, folder: str, *forbidden: str, but: tuple[str, ...] = ()) -> None:
        """Asserts that no file of a folder imports anything forbidden."""
        for path in (ROOT / folder).rglob("*.py"):
            name = str(path.relative_to(ROOT))
            if name.startswith(but):
                continue
            bad = [i for i in imports(path) if i.startswith(forbidden)]
            self.assertEqual(bad, [], name)

    def test_xmpp_knows_only_itself(self) -> None:
        """The protocol does no I/O and knows nothing of the server."""
        others = [p.stem for p in (ROOT / "mongoosetw").iterdir() if p.stem != "xmpp"]
        above = [f"mongoosetw.{name}" for name in others if name != "__init__"]
        self.assert_free("mongoosetw/xmpp", "twisted.internet", "modules", *above)

    def test_hooks_know_only_xmpp(self) -> None:
        """Hooks depend on the protocol alone."""
        others = [p.stem for p in (ROOT / "mongoosetw").iterdir()]
        above = [f"mongoosetw.{n}" for n in others if n not in ("xmpp", "hooks", "__init__")]
        self.assert_free("mongoosetw/hooks", "modules", *above)

    def test_core_knows_no_module(self) -> None:
        """The core has no features."""
        self.assert_free("mongoosetw", "modules")

    def test_sql_stays_in_its_place(self) -> None:
        """Only storage, the message log and the accounts' store speak SQL."""
        place = (
            "mongoosetw/storage",
            "mongoosetw/messagelog",
            "mongoosetw/auth/rdbms.py",
            "mongoosetw/testing",
        )
        self.assert_free("mongoosetw", "sqlalchemy", but=place)
