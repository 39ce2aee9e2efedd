"""docs/configuration.md: the options of the server's own sections."""

from collections.abc import Iterator
from dataclasses import MISSING, Field, fields, is_dataclass
from typing import Any, cast, get_args, get_origin, get_type_hints

from mongoosetw.config.options import INFINITY, OptionInfo
from mongoosetw.config.reading import expected, show, without_none
from mongoosetw.config.schema import Root
from mongoosetw.docs.markdown import GENERATED

_INTRODUCTION = f"""\
# Configuration

{GENERATED}

The configuration is a [TOML](https://toml.io/en/v1.0.0) file. Names are MongooseIM's wherever
it has the option. Times are in seconds unless another unit is given, relative paths count from
the file's directory, and `"infinity"` means no limit where it is allowed.

`mongoosectl check FILE` lists everything that is wrong in a file. An unknown option is an error.

The options of each module stand in `[modules.NAME]`; see [the modules](modules/README.md). A
module of another package is named by `class = "package:Class"` in its table, if no entry point
announces it.
"""


def render(cls: type[Any] = Root, heading: str = "") -> str:
    """Render a section's options, and those of the sections in it, as Markdown.

    :param cls: the section's dataclass.
    :param heading: its table's name, such as ``[general]``; empty for the file as a whole.
    """
    return "\n".join(_section(cls, heading, {})) + "\n"


def page() -> str:
    """Render the whole page."""
    return _INTRODUCTION + render()


def _section(cls: type[Any], heading: str, seen: dict[type[Any], str]) -> Iterator[str]:
    seen[cls] = heading
    hints = get_type_hints(cls, include_extras=True)
    nested: list[tuple[type[Any], str, str]] = []
    rows: list[str] = []
    for item in fields(cls):
        info: OptionInfo = item.metadata["option"]
        inner, below = _nested(hints[item.name], heading, item.name)
        if inner is not None:
            nested.append((inner, below, info.doc))
        elif heading or not info.is_section:
            rows.append(_row(item, hints[item.name], info))
    if rows:
        yield "| option | value | default | meaning |\n|---|---|---|---|"
        yield from rows
    for inner, below, doc in nested:
        same = f" Options as in `{seen[inner]}`." if inner in seen else ""
        yield f"\n## `{below}`\n\n{doc}{same}\n"
        if not same:
            yield from _section(inner, below, seen)


def _row(item: Field[Any], hint: Any, info: OptionInfo) -> str:
    value = expected(without_none(hint), info)
    if get_origin(without_none(hint)) is tuple and info.choices is None:
        each = OptionInfo(doc="", form=info.form)
        value = f"an array, each {expected(get_args(without_none(hint))[0], each)}"
    cells = (f"`{item.name}`", value, _default(item), info.doc)
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def _default(item: Field[Any]) -> str:
    if item.default is MISSING:
        return "**required**"
    if item.default is None:
        return "not set"
    if isinstance(item.default, tuple):
        return "`[" + ", ".join(show(value) for value in item.default) + "]`"
    return '`"infinity"`' if item.default == INFINITY else f"`{show(item.default)}`"


def _nested(hint: Any, heading: str, name: str) -> tuple[type[Any] | None, str]:
    """Return the class of a nested section and how its table is written."""
    hint = without_none(hint)
    origin, arguments = get_origin(hint), get_args(hint)
    inside = heading.strip("[]")
    table = f"{inside}.{name}" if inside else name
    if isinstance(hint, type) and is_dataclass(hint):
        return hint, f"[{table}]"
    if origin is tuple and is_dataclass(arguments[0]):
        return cast(type[Any], arguments[0]), f"[[{table}]]"
    if origin is dict:
        inner, below = _nested(arguments[1], f"[{table}]", "NAME")
        return inner, below
    return None, ""

