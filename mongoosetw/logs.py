"""Logging: the standard library's loggers, as text or JSON lines, and Twisted's log in them.

Every message begins with the name of the event and goes on with fields, ``session_opened jid=%s``.
What must not be in a log is kept out here, whatever a caller passes: stanzas, elements and bytes
appear as a summary, and fields with the name of a secret appear as ``***``.
"""

import json
import logging
import re
import sys
import time
from collections.abc import Iterable, Mapping
from logging.handlers import WatchedFileHandler
from typing import Any, Final, TextIO, cast

from twisted.application.service import MultiService
from twisted.logger import ILogObserver, STDLibLogObserver
from twisted.python.components import Componentized
from twisted.words.xish.domish import Element

from mongoosetw.xmpp.jid import JID
from mongoosetw.xmpp.stanza import Stanza

NOTICE: Final = 25
_NUMBERS: Final = {
    "none": logging.CRITICAL + 10,
    "emergency": logging.CRITICAL,
    "alert": logging.CRITICAL,
    "critical": logging.CRITICAL,
    "error": logging.ERROR,
    "warning": logging.WARNING,
    "notice": NOTICE,
    "info": logging.INFO,
    "debug": logging.DEBUG,
    "all": logging.DEBUG,
}
_SECRET_FIELDS: Final = frozenset(
    ("password", "passwd", "secret", "token", "body", "subject", "auth", "credentials", "xml")
)
_FIELD: Final = re.compile(r"(?:(?P<name>[A-Za-z_][\w.]*)=)?(?P<directive>%[-+ #0-9.]*[a-zA-Z])")
_RESERVED: Final = frozenset(("when", "level", "at", "what", "text", "node"))
_CONTROLS: Final = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")


class UnknownLevel(ValueError):
    """A log level that does not exist."""


def level_number(name: str) -> int:
    """Return the number of a level's name, as in the option ``loglevel``.

    :raises UnknownLevel: when there is none.
    """
    try:
        return _NUMBERS[name.lower()]
    except KeyError:
        raise UnknownLevel(f"{name!r} is no log level; one of {', '.join(_NUMBERS)}") from None


def level_name(number: int) -> str:
    """Return the configuration's name of a level's number."""
    if number > logging.CRITICAL:
        return "none"
    return {NOTICE: "notice"}.get(number, logging.getLevelName(number).lower())


def harmless(value: object) -> object:
    """Return what of ``value`` may be logged: content of stanzas and bytes may not."""
    if isinstance(value, Stanza):
        return f"<{value.kind} type={value.type} from={value.from_} to={value.to} id={value.id}>"
    if isinstance(value, Element):
        return f"<{value.name} xmlns={value.uri}>"
    if isinstance(value, bytes | bytearray | memoryview):
        return f"<{len(value)} bytes>"
    if isinstance(value, str | JID):
        # A line of the log is one line: a peer cannot forge another.
        return _CONTROLS.sub(lambda found: found[0].encode("unicode_escape").decode(), str(value))
    if isinstance(value, bool | int | float | None):
        return value
    return harmless(str(value)) if not isinstance(value, list | tuple | dict) else _inside(value)


def _inside(value: object) -> object:
    if isinstance(value, dict):
        return {
            str(key): "***" if str(key).lower() in _SECRET_FIELDS else harmless(item)
            for key, item in value.items()
        }
    assert isinstance(value, list | tuple)
    return [harmless(item) for item in value]


def safe_arguments(record: logging.LogRecord) -> tuple[object, ...] | dict[str, object]:
    """Return the record's arguments with everything secret taken out."""
    if isinstance(record.args, Mapping):
        cleaned = _inside(dict(record.args))
        assert isinstance(cleaned, dict)
        return cleaned
    arguments = tuple(harmless(argument) for argument in record.args or ())
    fields = _FIELD.finditer(str(record.msg).replace("%%", ""))
    names = [(found["name"] or "").lower() for found in fields]
    names += [""] * (len(arguments) - len(names))
    return tuple(
        "***" if name in _SECRET_FIELDS else argument
        for name, argument in zip(names, arguments, strict=False)
    )


def _message(record: logging.LogRecord) -> str:
    arguments = safe_arguments(record)
    try:
        text = str(record.msg) % arguments if arguments else str(record.msg)
    except (TypeError, ValueError):
        # A secret or a summary took the place of a number.
        text = f"{record.msg} {arguments}"
    return str(harmless(text))


class TextFormatter(logging.Formatter):
    """``2026-01-31T12:00:00.123Z warning mongoosetw.router: event field=value node=alpha.1``."""

    def __init__(self, node: str = "") -> None:
        """Name the node in every line, if it has a name."""
        super().__init__()
        self._tail = f" node={node}" if node else ""

    def format(self, record: logging.LogRecord) -> str:
        """Return one line, and a traceback's lines after it."""
        level = level_name(record.levelno)
        text = f"{_when(record)} {level} {record.name}: {_message(record)}{self._tail}"
        if record.exc_info:
            text += "\n" + self.formatException(record.exc_info)
        return text


class JSONFormatter(logging.Formatter):
    """One JSON object a line: ``when``, ``level``, ``at``, ``what`` and the event's fields."""

    def __init__(self, node: str = "") -> None:
        """Name the node in every line, if it has a name."""
        super().__init__()
        self._node = {"node": node} if node else {}

    def format(self, record: logging.LogRecord) -> str:
        """Return one line."""
        text = _message(record)
        entry: dict[str, object] = {
            "when": _when(record),
            "level": level_name(record.levelno),
            "at": record.name,
            "what": text.split(" ", 1)[0],
            "text": text,
            **self._node,
        }
        entry.update(_fields(record))
        if record.exc_info:
            entry["traceback"] = self.formatException(record.exc_info)
        return json.dumps(entry, ensure_ascii=False, default=str)


def _fields(record: logging.LogRecord) -> Iterable[tuple[str, object]]:
    arguments = safe_arguments(record)
    if isinstance(arguments, dict):
        return arguments.items()
    fields = _FIELD.finditer(str(record.msg).replace("%%", ""))
    pairs = zip((found["name"] for found in fields), arguments, strict=False)
    # The fields that every entry has keep their meaning.
    return [
        (f"{name}_" if name in _RESERVED else name, value)
        for name, value in pairs
        if name
    ]


def _when(record: logging.LogRecord) -> str:
    seconds = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created))
    return f"{seconds}.{int(record.msecs):03d}Z"


def configure(
    level: str = "warning",
    *,
    json_lines: bool = False,
    logfile: str | None = None,
    stream: TextIO | None = None,
    levels: Mapping[str, str] | None = None,
    node: str = "",
) -> ILogObserver:
    """Send all logging to one place; replaces what an earlier call set up.

    Give the result to twistd (``application.setComponent(ILogObserver, …)``) or to
    ``globalLogBeginner``, so that Twisted's own log arrives in the same place.

    :param level: for every logger without a level of its own.
    :param json_lines: JSON objects instead of text.
    :param logfile: path; the file is opened again when it was moved away (logrotate).
    :param stream: where there is no ``logfile``; standard error by default.
    :param levels: levels by logger name.
    :param node: appears in every line, where several nodes share a log.
    :raises UnknownLevel: for a level that does not exist.
    :raises OSError: when the file cannot be opened.
    """
    number = level_number(level)
    logging.addLevelName(NOTICE, "NOTICE")
    handler: logging.Handler
    if logfile is None:
        # Not "sys.stderr": twistd replaces that by a writer to this very log.
        handler = logging.StreamHandler(stream or sys.__stderr__)
    else:
        handler = WatchedFileHandler(logfile, encoding="utf-8")
    handler.setFormatter(JSONFormatter(node) if json_lines else TextFormatter(node))
    root = logging.getLogger()
    for old in root.handlers[:]:
        root.removeHandler(old)
        old.close()
    root.addHandler(handler)
    root.setLevel(number)
    for name, own in (levels or {}).items():
        set_level(own, name)
    return cast(ILogObserver, STDLibLogObserver())


def twistd_logfile(options: Mapping[str, Any]) -> str | None:
    """Return the file that twistd's own options name; None for the terminal.

    :param options: ``parent`` of the plugin's options, with ``logfile`` and ``nodaemon``.
    """
    named: str | None = options.get("logfile")
    if options.get("nodaemon"):
        return None if named in (None, "", "-") else named
    # A daemon has no terminal; the name is twistd's default.
    return named or "twistd.log"


class LoggedService(MultiService):
    """A service under twistd whose log is what :func:`configure` set up, Twisted's own included.

    Without it twistd writes its log in its own format to its own file.
    """

    def __init__(self, observer: ILogObserver) -> None:
        """Take over the log when twistd makes the service a part of its application."""
        MultiService.__init__(self)
        self._observer = observer

    def setServiceParent(self, parent: Any) -> None:
        """Become a part of ``parent``; twistd asks it for an observer afterwards."""
        if isinstance(parent, Componentized):
            parent.setComponent(ILogObserver, self._observer)
        MultiService.setServiceParent(self, parent)


def set_level(level: str | None, logger: str = "") -> None:
    """Change a level while the server runs.

    :param level: a level's name; None makes the logger follow its parent again.
    :param logger: a module's dotted name such as ``mongoosetw.router``; empty: all the others.
    :raises UnknownLevel: for a level that does not exist.
    """
    number = logging.NOTSET if level is None else level_number(level)
    logging.getLogger(logger or None).setLevel(number)


def current_levels() -> dict[str, str]:
    """Return the level of every logger that has its own; the common one has the name ``""``."""
    root = logging.getLogger()
    found = {"": level_name(root.level)}
    known: dict[str, Any] = root.manager.loggerDict
    for name in sorted(known):
        logger = known[name]
        if isinstance(logger, logging.Logger) and logger.level != logging.NOTSET:
            found[name] = level_name(logger.level)
    return found
