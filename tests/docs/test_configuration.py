"""Tests of the reference of options."""

from dataclasses import dataclass

from twisted.trial.unittest import SynchronousTestCase

from mongoosetw.config.options import INFINITY, Infinity, option, options_of
from mongoosetw.docs.configuration import render


@dataclass(frozen=True)
class Example:
    """Options of a module."""

    size: int | Infinity = option(INFINITY, minimum=1, unit="bytes", doc="Size | weight.")
    name: str = option(doc="Name.")


class DocsTests(SynchronousTestCase):
    """The page follows the declarations."""

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
