"""sql/ shows the tables of the core and of all modules as they are declared."""

from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from mongoosetw import core_tables
from mongoosetw.loading import find, shipped
from mongoosetw.storage import offline
from mongoosetw.storage.schema import Schema

ROOT = Path(__file__).resolve().parents[1]
FILES = {"postgresql": ROOT / "sql" / "pg.sql", "sqlite": ROOT / "sql" / "sqlite.sql"}


def schemas() -> list[Schema]:
    """Of the core, then of the modules by name."""
    of_modules = [schema for name in shipped() if (schema := find(name).schema) is not None]
    return [*core_tables.SCHEMAS, *of_modules]


class SQLTests(SynchronousTestCase):
    """The files in sql/."""

    def test_fresh(self) -> None:
        """They are what the code creates."""
        for dialect, path in FILES.items():
            stale = f"{path.name} is stale: run make docs"
            self.assertEqual(path.read_text(), offline.sql(dialect, schemas()) + "\n", stale)


if __name__ == "__main__":
    for dialect, path in FILES.items():
        path.write_text(offline.sql(dialect, schemas()) + "\n")
