"""What differs between two configurations, and which of it a reload can apply."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields, is_dataclass
from typing import Any

from mongoosetw.config.load import Config

_RELOADABLE = re.compile(
    r"general\.(hosts|host_types|default_server_domain|language|loglevel|registration_timeout)$"
    r"|shaper\."
    r"|modules\."
    r"|hosts\.[^ ]+?\.(modules|acl|access)(\.|$)"
    r"|listen\.c2s\[\d+\]\.(?!port$|ip_address$|backlog$)"
)


@dataclass(frozen=True, slots=True)
class Change:
    """One option whose value is another now.

    :ivar path: the option, such as ``listen.c2s[0].port``; ``hosts.DOMAIN.…`` for what holds for
        one host.
    :ivar reloadable: False if the server has to be restarted for it.
    """

    path: str
    reloadable: bool


def changed(old: Config, new: Config) -> list[Change]:
    """List the options that differ, without their values (some are passwords).

    A table that came or went is one change.
    """
    before, after = dict(_flat(old)), dict(_flat(new))
    absent = object()
    paths = [*before, *(path for path in after if path not in before)]
    different = [path for path in paths if before.get(path, absent) != after.get(path, absent)]
    whole = {path for path in different if path not in before or path not in after}
    return [
        Change(path, _RELOADABLE.match(path) is not None)
        for path in different
        if path != "file" and not _is_told(path, whole, different)
    ]


def _is_told(path: str, whole: set[str], different: list[str]) -> bool:
    """Tell whether the change is a part of one that is listed anyway."""
    if any(path.startswith((f"{table}.", f"{table}[")) for table in whole):
        return True
    # What holds for all hosts is listed once.
    return path.startswith("hosts.") and any(
        path.endswith(f".{other}") for other in different if not other.startswith("hosts.")
    )


def _flat(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """Yield every option with its path, and every table with its kind."""
    if is_dataclass(value):
        if path:
            yield path, type(value)
        for item in fields(value):
            yield from _flat(getattr(value, item.name), f"{path}.{item.name}".lstrip("."))
    elif isinstance(value, Mapping):
        for key, item in value.items():
            yield from _flat(item, f"{path}.{key}")
    elif isinstance(value, tuple) and value and is_dataclass(value[0]):
        for position, item in enumerate(value):
            yield from _flat(item, f"{path}[{position}]")
    elif value != ():
        yield path, value
