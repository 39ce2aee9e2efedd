"""``python -m mongoosetw.docs [--check] [FOLDER]``."""

import sys
from pathlib import Path

from mongoosetw.docs.pages import stale, write

TARGET = Path("docs")


def main(arguments: list[str]) -> int:
    """Write the pages, or check them; returns the exit status."""
    folder = next((Path(a) for a in arguments if not a.startswith("-")), TARGET)
    if "--check" not in arguments:
        write(folder)
        return 0
    found = stale(folder)
    for path in found:
        print(f"{path}: stale, run python -m mongoosetw.docs", file=sys.stderr)
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
