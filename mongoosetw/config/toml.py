"""TOML documents that know on which line each of their values stands.

:mod:`tomllib` reads the values; the index of lines is made by a second, tolerant walk over the
same text, which is known to be valid TOML 1.0 by then.
"""

import re
import tomllib
from bisect import bisect_right
from dataclasses import dataclass
from pathlib import Path as FilePath
from typing import Any

from mongoosetw.config.errors import ConfigError, ConfigErrors, Path

_BLANK = re.compile(r"(?:[ \t\r\n]+|#[^\n]*)*")
_SPACES = re.compile(r"[ \t]*")
_BARE_KEY = re.compile(r"[A-Za-z0-9_-]+")
_SCALAR = re.compile(r"[^,\]}\n#]+")
_STRING = re.compile(
    r'"""(?:[^\\]|\\.)*?"""(?!")'
    r"|'''.*?'''(?!')"
    r'|"(?:[^"\\]|\\.)*"'
    r"|'[^']*'",
    re.DOTALL,
)
_ERROR_LINE = re.compile(r"\(at line (\d+), column \d+\)")


@dataclass(frozen=True, slots=True)
class Document:
    """A TOML document.

    :ivar file: its name, for errors.
    :ivar values: its content as :func:`tomllib.loads` returns it.
    :ivar lines: line (from 1) of every key, table and element of an array.
    """

    file: str
    values: dict[str, Any]
    lines: dict[Path, int]

    def line(self, path: Path) -> int:
        """Return the line of ``path``, or of the nearest table around it that has one."""
        while path:
            found = self.lines.get(path)
            if found is not None:
                return found
            path = path[:-1]
        return 1

    def error(self, path: Path, text: str, message: str) -> ConfigError:
        """Build the error for the value at ``path``, which is called ``text``."""
        return ConfigError(self.file, self.line(path), text, message)


def read(path: str) -> Document:
    """Read a file.

    :raises ConfigErrors: if it can't be read or is not TOML.
    """
    try:
        text = FilePath(path).read_text(encoding="utf-8")
    except OSError as error:
        message = f"can't be read: {error.strerror or error}"
        raise ConfigErrors([ConfigError(path, 1, "", message)]) from error
    except UnicodeDecodeError as error:
        raise ConfigErrors([ConfigError(path, 1, "", "expected UTF-8 text")]) from error
    except ValueError as error:  # a name that no file can have
        raise ConfigErrors([ConfigError(path, 1, "", f"can't be read: {error}")]) from error
    return parse(text, path)


def parse(text: str, file: str = "<string>") -> Document:
    """Parse a document's text.

    :param file: the name that errors give.
    :raises ConfigErrors: if it is not TOML.
    """
    text = text.replace("\r\n", "\n")
    try:
        values = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigErrors([_syntax_error(error, text, file)]) from error
    except (ValueError, RecursionError) as error:
        # Numbers of thousands of digits, nesting of hundreds of levels.
        message = f"not a configuration: {error}"
        raise ConfigErrors([ConfigError(file, 1, "", message)]) from error
    index = _LineIndex(text)
    index.document()
    return Document(file, values, index.lines)


def _syntax_error(error: tomllib.TOMLDecodeError, text: str, file: str) -> ConfigError:
    found = _ERROR_LINE.search(str(error))
    line = int(found[1]) if found else text.count("\n") + 1
    message = _ERROR_LINE.sub("", str(error)).strip()
    return ConfigError(file, line, "", f"not valid TOML: {message}")


class _LineIndex:
    """Walks over valid TOML and notes the line of each path."""

    def __init__(self, text: str) -> None:
        self.lines: dict[Path, int] = {}
        self._text = text
        self._position = 0
        self._starts = [0, *(match.end() for match in re.finditer("\n", text))]
        self._arrays: dict[Path, int] = {}

    def document(self) -> None:
        """Walk over everything."""
        table: Path = ()
        while self._skip_blank():
            if self._peek("["):
                table = self._header()
            else:
                self._key_and_value(table)

    def _skip_blank(self) -> bool:
        self._take(_BLANK)
        return self._position < len(self._text)

    def _take(self, pattern: re.Pattern[str]) -> str:
        match = pattern.match(self._text, self._position)
        if match is None:
            return ""
        self._position = match.end()
        return match.group()

    def _peek(self, text: str) -> bool:
        return self._text.startswith(text, self._position)

    def _skip(self, text: str) -> bool:
        if not self._peek(text):
            return False
        self._position += len(text)
        return True

    def _note(self, path: Path) -> None:
        self.lines.setdefault(path, bisect_right(self._starts, self._position))

    def _keys(self) -> list[str]:
        keys: list[str] = []
        while True:
            self._take(_SPACES)
            keys.append(self._take(_BARE_KEY) or self._quoted_key())
            self._take(_SPACES)
            if not self._skip("."):
                return keys

    def _quoted_key(self) -> str:
        key: str = tomllib.loads("key = " + self._take(_STRING))["key"]
        return key

    def _header(self) -> Path:
        self._skip("[")
        is_array = self._skip("[")
        start = self._position
        keys = self._keys()
        self._skip("]]" if is_array else "]")
        path = self._resolve(keys[:-1])
        path = (*path, keys[-1])
        end, self._position = self._position, start
        if is_array:
            self._note(path)
            self._arrays[path] = self._arrays.get(path, -1) + 1
        path = self._last_element(path)
        self._note_all(path)
        self._position = end
        return path

    def _resolve(self, keys: list[str]) -> Path:
        path: Path = ()
        for key in keys:
            path = self._last_element((*path, key))
        return path

    def _last_element(self, path: Path) -> Path:
        """A header below ``[[name]]`` means the newest element of ``name``."""
        return (*path, self._arrays[path]) if path in self._arrays else path

    def _note_all(self, path: Path) -> None:
        for length in range(1, len(path) + 1):
            self._note(path[:length])

    def _key_and_value(self, table: Path) -> None:
        start = self._position
        path = (*table, *self._keys())
        end, self._position = self._position, start
        self._note_all(path)
        self._position = end
        self._skip("=")
        self._take(_SPACES)
        self._value(path)

    def _value(self, path: Path) -> None:
        if self._skip("["):
            self._array(path)
        elif self._skip("{"):
            self._inline_table(path)
        elif not self._take(_STRING):
            self._take(_SCALAR)

    def _array(self, path: Path) -> None:
        position = 0
        while self._skip_blank() and not self._skip("]"):
            self._note((*path, position))
            self._value((*path, position))
            position += 1
            self._skip_blank()
            self._skip(",")

    def _inline_table(self, path: Path) -> None:
        while self._skip_blank() and not self._skip("}"):
            self._key_and_value(path)
            self._skip_blank()
            self._skip(",")
