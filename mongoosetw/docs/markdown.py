"""Pieces of Markdown, and docstrings taken apart."""

import inspect
import re
from collections.abc import Iterable
from typing import Any

GENERATED = "<!-- Written by `make docs` from declarations in the code: change those. -->"
_FIELD = re.compile(r"^:\w+ ?([\w.]*):\s*", re.MULTILINE)
_ROLE = re.compile(r":\w+:`~?(?:[\w.]+\.)?([\w.]+)`")
_PREFIX = re.compile(r"\b(?:[a-z_]\w*\.)+(?=[A-Za-z])")


def table(heading: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    """A table; nothing if it has no rows."""
    lines = [" | ".join(cell.replace("|", "\\|") for cell in row) for row in rows]
    if not lines:
        return ""
    lines = [" | ".join(heading), "|".join(["---"] * len(heading)), *lines]
    return "\n".join(f"|{line}|" if line.startswith("---") else f"| {line} |" for line in lines)


def blocks(parts: Iterable[str]) -> str:
    """The parts that are not empty, a blank line between them."""
    return "\n\n".join(part for part in parts if part) + "\n"


def code(text: str) -> str:
    """Text as code."""
    return f"`{text}`"


def anchor(heading: str) -> str:
    """The fragment by which a heading is linked to."""
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")


def prose(thing: Any) -> str:
    """A docstring without its fields, in Markdown."""
    text = _plain(inspect.getdoc(thing) or "")
    return text[: match.start()].rstrip() if (match := _FIELD.search(text)) else text


def summary(thing: Any) -> str:
    """A docstring's first paragraph, as one line."""
    return " ".join(prose(thing).partition("\n\n")[0].split())


def described(thing: Any) -> dict[str, str]:
    """What a docstring says of attributes and parameters (``:ivar name: …``), by name."""
    parts = _FIELD.split(_plain(inspect.getdoc(thing) or ""))[1:]
    return {
        name: " ".join(meaning.split())
        for name, meaning in zip(parts[::2], parts[1::2], strict=True)
    }


def _plain(text: str) -> str:
    """reStructuredText's inline markup as Markdown's."""
    return _ROLE.sub(r"`\1`", text.replace("``", "`"))


def type_name(annotation: Any) -> str:
    """A type as it is written in the code, without the modules' names."""
    if isinstance(annotation, str):
        return annotation.strip("\"'")
    if isinstance(annotation, type) and not hasattr(annotation, "__args__"):
        return annotation.__name__
    return _PREFIX.sub("", str(annotation)).replace("NoneType", "None").replace("'", "")
