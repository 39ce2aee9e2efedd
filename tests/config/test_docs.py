"""Tests of the reference of options."""

from dataclasses import dataclass
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from mongoosetw.config.docs import TARGET, page, render
from mongoosetw.config.options import INFINITY, Infinity, option, options_of


@dataclass(frozen=True)
class Example:
    """Options of a module."""

    size: int | Infinity = option(INFINITY, minimum=1, unit="bytes", doc="Size | weight.")
    name: str = option(doc="Name.")


class DocsTests(SynchronousTestCase):
    """The page follows the declarations."""

    def test_up_to_date(self) -> None:
        """docs/configuration.md is what `python -m mongoosetw.config.docs` writes."""
        current = (Path(__file__).parents[2] / TARGET).read_text(encoding="utf-8")
        self.assertEqual(current, page(), "run python -m mongoosetw.config.docs")

    def test_row(self) -> None:
        """A row tells values, bounds, unit and default."""
        rows = render(Example, "[modules.mod_x]").splitlines()[2:]
        self.assertEqual(
            rows,
            [
                '| `size` | an integer or "infinity" (bytes), at least 1 | `"infinity"` '
                "| Size \\| weight. |",
                "| `name` | a string | **required** | Name. |",
            ],
        )

    def test_undeclared(self) -> None:
        """A field without documentation is a mistake of the programmer."""

        @dataclass(frozen=True)
        class Wrong:
            size: int = 1

        error = self.assertRaises(TypeError, options_of, Wrong)
        self.assertEqual(str(error), "Wrong.size is not declared with option(doc=…)")
