"""Turn the tables of a document into the dataclasses that declare them.

Nothing here stops at the first error: what is wrong is noted, the default is taken in its place,
and reading goes on.
"""

import difflib
import types
from collections.abc import Callable, Iterable
from dataclasses import MISSING, dataclass, field, fields, is_dataclass
from pathlib import Path as FilePath
from typing import Any, Literal, TypeVar, Union, cast, get_args, get_origin, get_type_hints

from mongoosetw.config.errors import ConfigError, Path, path_text
from mongoosetw.config.options import INFINITY, Infinity, OptionInfo, options_of
from mongoosetw.config.toml import Document

T = TypeVar("T")
_PLAIN = OptionInfo(doc="")
_WRONG: Any = object()
"""What a value that has been complained about becomes."""


class Mismatch(Exception):
    """A value is not of the declared type; the text says what was expected."""


@dataclass(slots=True)
class Reader:
    """Reads sections of one document and gathers the errors.

    :ivar document: what is read.
    :ivar lacking: tells by a dotted path (without positions) whether it is an option that
        MongooseIM has and we do not.
    :ivar errors: what was found wrong so far.
    """

    document: Document
    lacking: Callable[[str], bool] = lambda path: False
    errors: list[ConfigError] = field(default_factory=list)

    def error(self, path: Path, message: str) -> None:
        """Note that the value at ``path`` is wrong."""
        self.errors.append(self.document.error(path, path_text(path), message))

    def section(self, cls: type[T], table: Any, path: Path) -> T | None:
        """Read a table as an instance of ``cls``.

        :returns: None if an option that has no default is missing or wrong.
        """
        if not isinstance(table, dict):
            self.error(path, f"expected a table, got {_kind(table)}")
            return None
        known = options_of(cls)
        self._refuse_unknown(table, known, path)
        hints = get_type_hints(cls, include_extras=True)
        values: dict[str, Any] = {}
        complete = True
        for item in fields(cast(Any, cls)):
            name = item.name
            required = item.default is MISSING and item.default_factory is MISSING
            if name in table:
                value = self.value(hints[name], known[name], table[name], (*path, name))
                if value is not _WRONG:
                    values[name] = value
                elif required:
                    complete = False
            elif required:
                self.error((*path, name), f"is missing: expected {expected(hints[name])}")
                complete = False
        return cls(**values) if complete else None

    def _refuse_unknown(self, table: dict[str, Any], known: Iterable[str], path: Path) -> None:
        for key in table:
            if key not in known:
                self.unknown((*path, key), known)

    def unknown(self, path: Path, known: Iterable[str]) -> None:
        """Note that there is no option of this name, and which may have been meant."""
        dotted = ".".join(part for part in path if isinstance(part, str))
        if self.lacking(dotted):
            self.error(path, "mongoosetw does not have it (yet)")
            return
        near = difflib.get_close_matches(str(path[-1]), list(known), n=1)
        hint = f"; did you mean {near[0]}?" if near else ""
        self.error(path, f"unknown option{hint}")

    def value(self, hint: Any, info: OptionInfo, value: Any, path: Path) -> Any:
        """Read one value; notes an error and returns a marker if it does not fit."""
        hint = without_none(hint)
        if isinstance(hint, type) and is_dataclass(hint):
            found = self.section(hint, value, path)
            return _WRONG if found is None else found
        if get_origin(hint) in (Union, types.UnionType) and isinstance(value, list):
            hint = next((part for part in get_args(hint) if get_origin(part) is tuple), hint)
        origin = get_origin(hint)
        if origin is tuple and isinstance(value, list):
            return self._tuple(get_args(hint)[0], info, value, path)
        if origin is dict and isinstance(value, dict):
            return self._dict(get_args(hint)[1], info, value, path)
        return self._scalar(hint, info, value, path)

    def _tuple(self, hint: Any, info: OptionInfo, value: list[Any], path: Path) -> Any:
        read = [self.value(hint, info, item, (*path, n)) for n, item in enumerate(value)]
        return _WRONG if any(item is _WRONG for item in read) else tuple(read)

    def _dict(self, hint: Any, info: OptionInfo, value: dict[str, Any], path: Path) -> Any:
        read = {key: self.value(hint, info, item, (*path, key)) for key, item in value.items()}
        return _WRONG if any(item is _WRONG for item in read.values()) else read

    def _scalar(self, hint: Any, info: OptionInfo, value: Any, path: Path) -> Any:
        try:
            found = fit(hint, value)
            _check_bounds(info, found)
        except Mismatch:
            dotted = ".".join(part for part in path if isinstance(part, str))
            if isinstance(value, str) and self.lacking(f"{dotted}={value}"):
                self.error(path, f"{show(value)}: mongoosetw does not have it (yet)")
                return _WRONG
            got = _kind(value) if info.secret else show(value)
            self.error(path, f"expected {expected(hint, info)}, got {got}")
            return _WRONG
        if info.path and isinstance(found, str) and found:
            return self._file(found, path)
        return found

    def _file(self, name: str, path: Path) -> Any:
        """A file's absolute path."""
        try:
            file = FilePath(name).expanduser()
        except RuntimeError:
            self.error(path, f"{name}: there is no such user")
            return _WRONG
        return str(FilePath(self.document.file).absolute().parent / file)


def fit(hint: Any, value: Any) -> Any:
    """Return ``value`` as the annotated type ``hint`` wants it.

    :raises Mismatch: if it is of another type.
    """
    if hint is Any:
        return value
    if hint == Infinity:
        return _infinite(value)
    if hint is float:
        return _float(value)
    origin = get_origin(hint)
    if origin in (Union, types.UnionType):
        return _first_fitting(get_args(hint), value)
    if origin is Literal:
        if isinstance(value, str | int) and value in get_args(hint):
            return value
    elif hint in (bool, int, str) and type(value) is hint:
        return value
    raise Mismatch


def _infinite(value: Any) -> float:
    if value == "infinity":
        return INFINITY
    raise Mismatch


def _float(value: Any) -> float:
    if isinstance(value, int | float) and not isinstance(value, bool):
        return float(value)
    raise Mismatch


def _first_fitting(hints: tuple[Any, ...], value: Any) -> Any:
    for hint in hints:
        try:
            return fit(hint, value)
        except Mismatch:
            continue
    raise Mismatch


def _check_bounds(info: OptionInfo, value: Any) -> None:
    if info.choices is not None and value not in info.choices:
        raise Mismatch
    if info.form is not None and isinstance(value, str) and not info.form.fits(value):
        raise Mismatch
    if isinstance(value, int | float) and not isinstance(value, bool):
        # "not (a <= b)" so that nan is refused as well.
        if info.minimum is not None and not info.minimum <= value:
            raise Mismatch
        if info.maximum is not None and value != INFINITY and not value <= info.maximum:
            raise Mismatch


def without_none(hint: Any) -> Any:
    """Return ``X`` of ``X | None``: TOML has no null, None only stands for "not given"."""
    if get_origin(hint) not in (Union, types.UnionType):
        return hint
    parts = [part for part in get_args(hint) if part is not types.NoneType]
    return parts[0] if len(parts) == 1 else hint


_NAMES = {bool: "true or false", int: "an integer", float: "a number", str: "a string"}


def expected(hint: Any, info: OptionInfo = _PLAIN) -> str:
    """Say what a value of this type looks like: ``an integer (seconds), at least 1``."""
    if info.choices is not None:
        return "one of " + ", ".join(show(choice) for choice in info.choices)
    if info.form is not None and get_origin(hint) is not tuple:
        return info.form.name
    text = _expected_type(hint)
    if info.unit:
        text += f" ({info.unit})"
    if info.minimum is not None:
        text += f", at least {info.minimum:g}"
    if info.maximum is not None:
        text += f", at most {info.maximum:.15g}"
    return text


def _expected_type(hint: Any) -> str:
    if hint == Infinity:
        return '"infinity"'
    origin, arguments = get_origin(hint), get_args(hint)
    if origin in (Union, types.UnionType):
        kinds = [_expected_type(part) for part in arguments if part is not types.NoneType]
        return " or ".join(kinds)
    if origin is Literal:
        shown = ", ".join(show(choice) for choice in arguments)
        return f"one of {shown}" if len(arguments) > 1 else shown
    if origin is tuple:
        return "an array"
    if origin is dict or is_dataclass(hint):
        return "a table"
    return _NAMES.get(hint, "a value")


def show(value: Any) -> str:
    """Write a value as TOML does, shortened."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return f'"{value}"' if len(value) <= 60 else f'"{value[:57]}…"'
    if isinstance(value, int | float):
        return "infinity" if value == INFINITY else str(value)
    if isinstance(value, list | tuple) and all(isinstance(item, str) for item in value):
        return "[" + ", ".join(show(item) for item in value[:6]) + "]"
    return _kind(value)


def _kind(value: Any) -> str:
    if isinstance(value, dict):
        return "a table"
    if isinstance(value, list | tuple):
        return "an array"
    return _NAMES.get(type(value), "a date or time")
