"""The tutorial and the README do what they say: their code is taken out of them and run."""

import os
import re
import shutil
import subprocess
import sys
import tempfile
import tomllib
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from mongoosetw.loading import LoadError, find
from mongoosetw.module import Module

ROOT = Path(__file__).resolve().parents[1]
TUTORIAL = ROOT / "docs" / "tutorial" / "first-module.md"
EXAMPLE = ROOT / "examples" / "greeter"
FILE = re.compile(r"^`([\w./]+)`:\n\n```\w+\n(.*?)^```$", re.MULTILINE | re.DOTALL)
CONFIGURATION = "mongoosetw.toml"


def tutorial_files() -> dict[str, str]:
    """The files that the tutorial has its reader make, by their paths."""
    return dict(FILE.findall(TUTORIAL.read_text(encoding="utf-8")))


def announce(folder: Path, project: dict[str, object], name: str = "") -> None:
    """Puts the metadata beside a package that an installer would put there."""
    name = name or str(project["name"]).replace("-", "_")
    metadata = folder / f"{name}-{project['version']}.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text(
        f"Metadata-Version: 2.1\nName: {name}\nVersion: {project['version']}\n"
    )
    groups: dict[str, dict[str, str]] = project["entry-points"]  # type: ignore[assignment]
    lines = [
        line
        for group, points in groups.items()
        for line in (f"[{group}]", *(f"{point} = {target}" for point, target in points.items()))
    ]
    (metadata / "entry_points.txt").write_text("\n".join(lines) + "\n")


class TutorialTests(SynchronousTestCase):
    """The tutorial, followed to the letter."""

    def setUp(self) -> None:
        """Makes the files, and installs the package."""
        self.files = tutorial_files()
        # A short path: the control socket's may have 107 bytes at most.
        self.folder = Path(tempfile.mkdtemp(prefix="mongoosetw-"))
        self.addCleanup(shutil.rmtree, self.folder, ignore_errors=True)
        for name, text in self.files.items():
            (self.folder / name).parent.mkdir(parents=True, exist_ok=True)
            (self.folder / name).write_text(text, encoding="utf-8")
        announce(self.folder, tomllib.loads(self.files["pyproject.toml"])["project"])

    def run_python(self, *arguments: str) -> str:
        """Runs Python in the folder, with the package installed; it has to succeed."""
        done = subprocess.run(
            [sys.executable, *arguments],
            cwd=self.folder,
            env={**os.environ, "PYTHONPATH": os.pathsep.join((str(self.folder), str(ROOT)))},
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        return done.stdout

    def test_is_the_example(self) -> None:
        """The example's files are the tutorial's, all of them."""
        example = {
            str(path.relative_to(EXAMPLE)): path.read_text(encoding="utf-8")
            for path in EXAMPLE.rglob("*")
            if path.suffix in (".py", ".toml")
        }
        self.assertEqual(self.files, {**example, CONFIGURATION: self.files[CONFIGURATION]})

    def test_own_tests(self) -> None:
        """The tests in the tutorial pass by the command in the tutorial."""
        command = "python -m twisted.trial acme_greeter"
        self.assertIn(f"    {command}\n", TUTORIAL.read_text(encoding="utf-8"))
        said = self.run_python(*command.split()[1:])
        self.assertRegex(said, r"PASSED \(successes=[1-9]")

    def test_found_by_entry_point(self) -> None:
        """The installed package's module is found by its name alone, with options and page."""
        ctl = ("-m", "mongoosetw.ctl")
        self.assertIn("no errors", self.run_python(*ctl, "check", CONFIGURATION))
        page = self.run_python(*ctl, "docs", "mod_greeter")
        self.assertIn('| `greeting` | a string | `"Welcome!"` | What is said. |', page)


class EntryPointTests(SynchronousTestCase):
    """Packages that announce modules."""

    def install(self, *names: str) -> None:
        """Installs packages that all offer the same module."""
        folder = Path(self.mktemp()).absolute()
        folder.mkdir()
        points = {"mongoosetw.modules": {"mod_offered": f"{__name__}:Offered"}}
        for name in names:
            announce(folder, {"version": "1.0", "entry-points": points}, name)
        self.patch(sys, "path", [str(folder), *sys.path])

    def test_found(self) -> None:
        """A module that a package announces is found."""
        self.install("acme")
        self.assertIs(find("mod_offered"), Offered)

    def test_offered_twice(self) -> None:
        """Two packages that offer the same name are refused, and both are named."""
        self.install("acme", "other")
        error = self.assertRaises(LoadError, find, "mod_offered")
        self.assertRegex(str(error), "mod_offered is offered .*: (acme, other|other, acme)$")

    def test_gone(self) -> None:
        """Without the package there is no such module."""
        self.assertRaises(LoadError, find, "mod_offered")


class Offered(Module[object]):
    """A module of a package elsewhere."""

    name = "mod_offered"


class ReadmeTests(SynchronousTestCase):
    """The README's code."""

    def test_module(self) -> None:
        """The module in the README is one that can be imported as it stands."""
        text = (ROOT / "README.md").read_text(encoding="utf-8")
        blocks = re.findall(r"(?:^    .*\n|^\n)+", text, re.MULTILINE)
        (code,) = [block for block in blocks if "mongoosetw.api" in block]
        names: dict[str, type[Module[object]]] = {}
        exec(compile(re.sub("^    ", "", code, flags=re.MULTILINE), "README.md", "exec"), names)
        self.assertEqual([d for d, _ in names["Shout"].declarations()], ["listen"])
