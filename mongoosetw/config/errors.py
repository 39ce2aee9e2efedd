"""Errors of the configuration: each with its file, line and option."""

from collections.abc import Sequence
from dataclasses import dataclass

Path = tuple[str | int, ...]
"""Where a value stands: keys, and positions in arrays (from 0)."""


def path_text(path: Path) -> str:
    """Write a path as operators know it: ``listen.c2s[0].port``."""
    text = ""
    for part in path:
        if isinstance(part, int):
            text += f"[{part}]"
        else:
            text += f".{part}" if text else part
    return text


@dataclass(frozen=True, slots=True)
class ConfigError:
    """One thing that is wrong in a configuration file.

    :ivar file: the file as the operator named it.
    :ivar line: line in the file, from 1.
    :ivar path: the option, such as ``listen.c2s[0].port``; empty for the file as a whole.
    :ivar message: what was expected and what was found; never a password.
    """

    file: str
    line: int
    path: str
    message: str

    def __str__(self) -> str:
        where = f"{self.path}: " if self.path else ""
        return f"{self.file}:{self.line}: {where}{self.message}"


class ConfigErrors(Exception):
    """A configuration can't be used; holds all that is wrong with it, in the file's order.

    :ivar errors: at least one :class:`ConfigError`.
    """

    def __init__(self, errors: Sequence[ConfigError]) -> None:
        self.errors = sorted(errors, key=lambda error: error.line)
        super().__init__("\n".join(str(error) for error in self.errors))
