"""Runs the examples' own tests, so that the tutorial works as written."""

from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from examples.greeter.test_greeter import GreeterTests

ROOT = Path(__file__).resolve().parents[1]


class TutorialTests(SynchronousTestCase):
    """The tutorial's text."""

    def test_code_is_the_examples_code(self) -> None:
        """Each code block of the tutorial that names a file is that file."""
        text = (ROOT / "docs/tutorial/first-module.md").read_text()
        for name in ("greeter.py", "test_greeter.py"):
            code = (ROOT / "examples/greeter" / name).read_text()
            self.assertIn(f"```python\n{code}```", text, name)


__all__ = ["GreeterTests", "TutorialTests"]
