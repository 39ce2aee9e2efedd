"""How ``mongoosectl`` lays answers out for reading."""

from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import Any


def of_command(command: str, result: Any) -> list[str]:
    """Lay out the answer to a command."""
    if command == "reload" and not result:
        return ["nothing has changed"]
    if command == "hooks":
        return list(_hooks(result))
    return lines(result)


def _hooks(domains: dict[str, list[dict[str, Any]]]) -> Iterator[str]:
    """The chains of each domain: every hook with its handlers below, in their order."""
    for domain, entries in domains.items():
        yield "all domains:" if domain == "*" else f"{domain}:"
        columns = [len(max((str(e[c]) for e in entries), key=len)) for c in ("owner", "handler")]
        for hook, handlers in groupby(entries, key=lambda entry: entry["hook"]):
            yield f"  {hook}"
            for entry in handlers:
                owner, handler = entry["owner"].ljust(columns[0]), entry["handler"]
                doc = entry["doc"]
                line = f"    {entry['priority']:>3}  {owner}  {handler.ljust(columns[1])}  {doc}"
                yield line.rstrip()


def lines(result: Any) -> list[str]:
    """Lay a result out: a line for each entry, tables for lists of objects."""
    if isinstance(result, dict):
        found = []
        for key, value in result.items():
            if isinstance(value, list | dict):
                found += [f"{key}:", *(f"  {line}" for line in lines(value))]
            else:
                found.append(f"{key or 'default'}: {_text(value)}")
        return found
    if isinstance(result, list):
        if result and all(isinstance(row, dict) for row in result):
            return table(result)
        return [_text(item) for item in result]
    return [_text(result)]


def table(rows: Sequence[dict[str, Any]]) -> list[str]:
    """Lay out rows with equal keys in columns, under a heading."""
    names = list(rows[0])
    cells = [names, *([_text(row.get(name)) for name in names] for row in rows)]
    widths = [max(len(row[column]) for row in cells) for column in range(len(names))]
    return [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in cells
    ]


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list):
        return ", ".join(_text(item) for item in value)
    return "-" if value is None else str(value)
