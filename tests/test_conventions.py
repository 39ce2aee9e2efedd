"""Rules of the code that CONTRIBUTING.md states, checked over all of it."""

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from mongoosetw.docs import found
from mongoosetw.hooks.bus import Hook

ROOT = Path(__file__).resolve().parents[1]
CODE = ("mongoosetw", "modules", "examples")
LONGEST_FILE = 500
LONGEST_FUNCTION = 60
VAGUE = re.compile(r"(^|_)(utils?|helpers?|managers?|common|misc)(_|$)", re.IGNORECASE)
VAGUE_CLASS = re.compile(r"(Util|Helper|Manager)s?$")
Function = ast.FunctionDef | ast.AsyncFunctionDef


@cache
def parsed(path: Path) -> ast.Module:
    """A file's tree."""
    return ast.parse(path.read_text(encoding="utf-8"))


def files(*tops: str) -> Iterator[tuple[str, ast.Module]]:
    """Every Python file below some folders: its path and its tree."""
    for top in tops:
        for path in sorted((ROOT / top).rglob("*.py")):
            yield str(path.relative_to(ROOT)), parsed(path)


def functions(tree: ast.Module) -> Iterator[Function]:
    """All functions of a file."""
    return (node for node in ast.walk(tree) if isinstance(node, Function))


def public(node: ast.AST) -> Iterator[Function | ast.ClassDef]:
    """What a file offers to others: no private name, nothing within a function."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, Function | ast.ClassDef):
            if not child.name.startswith("_"):
                yield child
                if isinstance(child, ast.ClassDef):
                    yield from public(child)
        elif isinstance(child, ast.If | ast.Try):
            yield from public(child)


def is_overload(node: Function | ast.ClassDef) -> bool:
    """Whether this is but one of several signatures."""
    return any(isinstance(d, ast.Name) and d.id == "overload" for d in node.decorator_list)


class SourceTests(SynchronousTestCase):
    """What each file is like."""

    def test_length(self) -> None:
        """No file and no function is too long to be read at a time."""
        for path, tree in files(*CODE, "tests", "benchmarks"):
            lines = len((ROOT / path).read_text(encoding="utf-8").splitlines())
            self.assertLessEqual(lines, LONGEST_FILE, path)
            for node in functions(tree):
                length = (node.end_lineno or 0) - node.lineno + 1
                self.assertLessEqual(length, LONGEST_FUNCTION, f"{path}: {node.name}")

    def test_docstrings(self) -> None:
        """Every file, public class and public function says what it is for."""
        for path, tree in files(*CODE):
            self.assertTrue(ast.get_docstring(tree), path)
            for node in public(tree):
                if not is_overload(node):
                    self.assertTrue(ast.get_docstring(node), f"{path}: {node.name}")

    def test_names(self) -> None:
        """Names are the field's terms: nothing is a util, a helper or a manager."""
        for path, tree in files(*CODE, "tests", "benchmarks"):
            self.assertIsNone(VAGUE.search(Path(path).stem), path)
            for node in ast.walk(tree):
                if isinstance(node, ast.ClassDef):
                    self.assertIsNone(VAGUE_CLASS.search(node.name), f"{path}: {node.name}")

    def test_exceptions(self) -> None:
        """All exceptions are caught only where a comment says that it is a boundary."""
        for path, tree in files(*CODE):
            lines = (ROOT / path).read_text(encoding="utf-8").splitlines()
            for node in ast.walk(tree):
                if isinstance(node, ast.ExceptHandler) and catches_all(node):
                    self.assertIn("#", lines[node.lineno - 1], f"{path}:{node.lineno}")


def catches_all(node: ast.ExceptHandler) -> bool:
    """Whether a handler takes every exception, and does not raise it again."""
    name = node.type.id if isinstance(node.type, ast.Name) else None
    if node.type is not None and name not in ("Exception", "BaseException"):
        return False
    last = node.body[-1]
    return not (isinstance(last, ast.Raise) and last.exc is None)


class HookTests(SynchronousTestCase):
    """Every hook that there is, wherever it is declared."""

    def setUp(self) -> None:
        """Finds them."""
        self.hooks = [cls for _, classes in found.hooks() for cls in classes]

    def test_docstrings(self) -> None:
        """Each has a docstring of its own: it is the hook's documentation."""
        for cls in self.hooks:
            doc = cls.__doc__ or ""
            self.assertFalse(doc.startswith(f"{cls.__name__}(") or len(doc) < 20, cls.__name__)

    def test_fired(self) -> None:
        """Each is fired somewhere: made, or named in a table of hooks to make.

        A test may stand for modules elsewhere that fire it.
        """
        fired = {name for _, tree in files("mongoosetw", "modules", "tests") for name in made(tree)}
        self.assertEqual({c.__name__ for c in self.hooks} - fired, set())

    def test_exercised(self) -> None:
        """Each is handled by a module, or by a test."""
        handled: set[type[Hook]] = set(found.uses())
        texts = [p.read_text(encoding="utf-8") for p in (ROOT / "tests").rglob("*.py")]
        for cls in self.hooks:
            if cls not in handled:
                name = re.compile(rf"\b{cls.__name__}\b")
                self.assertTrue(any(name.search(text) for text in texts), cls.__name__)


def made(tree: ast.Module) -> Iterator[str]:
    """The names that a file calls, or chooses from to call what it has chosen."""
    for node in ast.walk(tree):
        chosen: list[ast.expr] = []
        if isinstance(node, ast.Call):
            chosen = [node.func]
        elif isinstance(node, ast.Dict):
            chosen = node.values
        elif isinstance(node, ast.IfExp):
            chosen = [node.body, node.orelse]
        yield from (value.id for value in chosen if isinstance(value, ast.Name))


class MetricTests(SynchronousTestCase):
    """Every metric that is declared."""

    def test_counted(self) -> None:
        """Each is used beyond its declaration: what cannot count is not declared.

        Those of the core are proven one by one, in tests.integration.test_metrics.
        """
        used = {name for _, tree in files("mongoosetw", "modules") for name in attributes(tree)}
        for item in found.metrics():
            if item.metric.attribute and not item.where.endswith("server_metrics"):
                self.assertIn(item.metric.attribute, used, item.metric.name)


def attributes(tree: ast.Module) -> Iterator[str]:
    """The attributes that a file reads."""
    return (node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute))
