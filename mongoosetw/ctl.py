"""``mongoosectl``: the operator's command line."""

import argparse
import getpass
import json
import os
import secrets
import socket
import sys
import tomllib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from mongoosetw import ctl_layout as layout
from mongoosetw.config.errors import ConfigErrors
from mongoosetw.socketpath import PathTooLong, check_path

if TYPE_CHECKING:
    from mongoosetw.config.load import Config
    from mongoosetw.storage.schema import Schema

SOCKET_NAME: Final = "mongoosectl.sock"
DEFAULT_CONFIG: Final = "mongoosetw.toml"
TIMEOUT: Final = 60.0
"""Seconds until a silent server is given up."""


class Failed(Exception):
    """The command could not be carried out; the text is for the operator."""


_COMMANDS: Final[set[str]] = set()
"""The words that a command line begins with; filled by :func:`parser`."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command.

    :returns: the exit status: 0, 1 for a failure that was said on standard error, 2 for usage.
    """
    commands = parser()
    options = commands.parse_args(_spelled_out(sys.argv[1:] if arguments is None else arguments))
    run: Callable[[argparse.Namespace], int] = options.run
    try:
        return run(options)
    except Failed as error:
        print(f"mongoosectl: {error}", file=sys.stderr)
        return 1
    except ConfigErrors as errors:
        print(errors, file=sys.stderr)
        return 1
    except BrokenPipeError:
        # "mongoosectl session list | head": not worth a message, but nothing more can be written.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except KeyboardInterrupt:
        return 130


def _spelled_out(arguments: Sequence[str]) -> list[str]:
    """Commands of modules may leave the word ``module`` out: ``mam stats alice@localhost``."""
    position = 0
    while position < len(arguments) and arguments[position].startswith("-"):
        position += 2 if arguments[position] in ("--config", "--socket") else 1
    words = list(arguments)
    if position < len(words) and words[position] not in _COMMANDS:
        words.insert(position, "module")
    return words


def parser() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    top = argparse.ArgumentParser(prog="mongoosectl", description="Operate a mongoosetw server.")
    top.add_argument(
        "--config",
        metavar="FILE",
        help=f"the server's configuration, which says where its control socket is "
        f"(default: {DEFAULT_CONFIG}, or $MONGOOSETW_CONFIG)",
    )
    top.add_argument("--socket", metavar="PATH", help="the server's control socket itself")
    top.add_argument("--node", metavar="NAME", help="ask this worker only, where there are several")
    top.add_argument("--json", action="store_true", help="print the answer as JSON")
    commands = top.add_subparsers(metavar="COMMAND", required=True)
    _add_account(commands)
    _add_domain(commands)
    _add_session(commands)
    _add_server(commands)
    _add_cluster(commands)
    _add_offline(commands)
    name = ("module", "the module's name without mod_, such as mam")
    doc = "run a command of a module; also without the word module"
    command = _command(commands, "module", doc, _send, name, send="module")
    command.add_argument("words", nargs=argparse.REMAINDER, help="the command and its arguments")
    _COMMANDS.update(commands.choices)
    return top


def _command(
    commands: Any,
    name: str,
    doc: str,
    run: Callable[[argparse.Namespace], int],
    *arguments: tuple[str, str],
    **defaults: Any,
) -> argparse.ArgumentParser:
    command: argparse.ArgumentParser = commands.add_parser(name, help=doc, description=doc)
    for argument, explanation in arguments:
        optional = argument.endswith("?")
        command.add_argument(
            argument.rstrip("?"), nargs="?" if optional else None, help=explanation
        )
    command.set_defaults(run=run, **defaults)
    return command


def _group(commands: Any, name: str, doc: str) -> Any:
    group = commands.add_parser(name, help=doc, description=doc)
    return group.add_subparsers(metavar="ACTION", required=True)


def _add_account(commands: Any) -> None:
    group = _group(commands, "account", "accounts")
    jid = ("jid", "the account's address, such as alice@localhost")
    domain = ("domain?", "only this domain")
    for name, doc in (
        ("register", "create an account"),
        ("change-password", "set another password"),
    ):
        command = _command(group, name, doc, _with_password, jid, send=f"account {name}")
        command.add_argument(
            "--password",
            help="otherwise it is asked for; off a terminal it is read from standard input",
        )
        command.add_argument("--generate", action="store_true", help="make one up and print it")
    _command(group, "unregister", "remove an account", _send, jid, send="account unregister")
    command = _command(
        group, "check", "say whether an account exists", _send, jid, send="account check"
    )
    command.add_argument("--password", help="also say whether this is its password")
    _command(group, "list", "list accounts", _send, domain, send="account list")
    _command(group, "count", "count accounts", _send, domain, send="account count")


def _add_domain(commands: Any) -> None:
    group = _group(commands, "domain", "domains of the host types in general.host_types")
    domain = ("domain", "the domain, such as example.org")
    host_type = ("host_type", "its host type")
    _command(group, "add", "serve a new domain", _send, domain, host_type, send="domain add")
    make_sure = ("host_type?", "its host type, to make sure that it is the right one")
    remove = "remove a domain with all its accounts and data"
    _command(group, "remove", remove, _send, domain, make_sure, send="domain remove")
    enable = "serve a domain that was disabled"
    _command(group, "enable", enable, _send, domain, send="domain enable")
    disable = "serve a domain no longer, and keep its data"
    _command(group, "disable", disable, _send, domain, send="domain disable")
    only = ("host_type?", "only those of this host type")
    _command(group, "list", "list domains", _send, only, send="domain list")


def _add_session(commands: Any) -> None:
    group = _group(commands, "session", "open sessions")
    domain = ("domain?", "only this domain")
    command = _command(group, "list", "list sessions", _send, domain, send="session list")
    command.add_argument("--jid", help="only those of this account")
    _command(group, "count", "count sessions", _send, domain, send="session count")
    jid = ("jid", "a full address for one session, a bare one for all of an account")
    reason = ("reason?", "what the client is told")
    _command(group, "kick", "close sessions", _send, jid, reason, send="session kick")


def _add_server(commands: Any) -> None:
    domain = ("domain?", "only this domain")
    _command(commands, "status", "say what runs", _send, send="status")
    _command(commands, "modules", "list running modules", _send, domain, send="modules")
    command = _command(commands, "hooks", "list hook chains", _send, domain, send="hooks")
    command.add_argument("--hook", help="only this hook, such as UserSendMessage")
    _command(commands, "reload", "read the configuration again", _send, send="reload")
    _command(commands, "stop", "stop the server", _send, send="stop")
    group = _group(commands, "loglevel", "what is logged")
    _command(group, "get", "show the levels", _send, send="loglevel get")
    level = ("level", "none, critical, error, warning, notice, info or debug")
    name = ("logger?", "a module's name such as mongoosetw.router; otherwise all others")
    _command(group, "set", "change a level", _send, level, name, send="loglevel set")


def _add_cluster(commands: Any) -> None:
    group = _group(commands, "cluster", "the nodes and their links")
    doc = "show the nodes, their links and what happened lately"
    _command(group, "status", doc, _send, send="cluster status")
    _command(group, "nodes", "list the nodes", _send, send="cluster nodes")
    for name, doc in (
        ("drain", "send all clients to other nodes, and take no more"),
        ("leave", "do so, and stop"),
        ("restart", "replace the workers one after the other, each drained before"),
    ):
        _command(group, name, f"{doc}; with --node one worker only", _send, send=f"cluster {name}")


def _add_offline(commands: Any) -> None:
    file = ("file?", f"the file; otherwise --config or {DEFAULT_CONFIG}")
    _command(commands, "check", "check a configuration file, all of it at once", _check, file)
    page = ("page?", "configuration, hooks, metrics, xeps or a module's name; without: the pages")
    _command(commands, "docs", "print a page of the reference", _docs, page)
    group = _group(commands, "db", "the database's tables")
    _command(group, "upgrade", "create missing tables and upgrade old ones", _db_upgrade)
    command = _command(group, "sql", "print the SQL that creates all tables", _db_sql)
    dialect = "of this database; otherwise of the configured one"
    command.add_argument("--dialect", choices=("postgresql", "sqlite"), help=dialect)


def _arguments(options: argparse.Namespace) -> dict[str, Any]:
    known = (
        *("jid", "domain", "host_type", "password", "reason", "hook", "level", "logger"),
        *("module", "words", "node"),
    )
    found = {name: getattr(options, name, None) for name in known}
    return {name: value for name, value in found.items() if value is not None}


def _send(options: argparse.Namespace) -> int:
    result = ask(socket_path(options), options.send, _arguments(options))
    _show(result, options)
    return 0


def _show(result: Any, options: argparse.Namespace) -> None:
    if options.json:
        print(json.dumps(result, indent=2, ensure_ascii=False))
        return
    for line in layout.of_command(options.send, result):
        print(line)


def _with_password(options: argparse.Namespace) -> int:
    where = socket_path(options)
    generated = secrets.token_urlsafe(15) if options.generate else None
    options.password = generated or options.password or read_password(options.jid)
    result = ask(where, options.send, _arguments(options))
    _show(result | ({"password": generated} if generated else {}), options)
    return 0


def read_password(jid: str) -> str:
    """Ask for a password twice, or read one line where standard input is no terminal.

    :raises Failed: when the two differ or none is given.
    """
    if sys.stdin is None or not sys.stdin.isatty():
        password = sys.stdin.readline().rstrip("\r\n") if sys.stdin else ""
    else:
        password = getpass.getpass(f"Password for {jid}: ")
        if password and password != getpass.getpass("Again: "):
            raise Failed("the two passwords differ; nothing was done")
    if not password:
        raise Failed("no password given; nothing was done (--generate makes one up)")
    return password


def config_path(options: argparse.Namespace) -> Path:
    """Return the configuration file that the options or the environment name."""
    return Path(options.config or os.environ.get("MONGOOSETW_CONFIG") or DEFAULT_CONFIG)


def socket_path(options: argparse.Namespace) -> Path:
    """Return where the server's control socket is.

    :raises Failed: when the configuration file does not say.
    """
    if options.socket:
        return Path(options.socket)
    path = config_path(options)
    try:
        # Not the whole configuration: the running server may have an older, valid one.
        general = tomllib.loads(path.read_text("utf-8")).get("general", {})
    except (OSError, ValueError) as error:
        raise Failed(f"cannot read {path}: {_reason(error)} (see --config, --socket)") from None
    where = general.get("control_socket") or Path(general.get("data_dir", "data"), SOCKET_NAME)
    return path.parent / where


def _reason(error: Exception) -> str:
    return (isinstance(error, OSError) and error.strerror) or str(error)


def ask(path: Path, command: str, args: dict[str, Any]) -> Any:
    """Send one command to the server and return its result.

    :raises Failed: when the server does not run, does not answer, or refuses.
    """
    request = json.dumps({"command": command, "args": args}).encode() + b"\n"
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
            connection.settimeout(TIMEOUT)
            check_path(Path(path))
            connection.connect(str(path))
            connection.sendall(request)
            with connection.makefile("rb") as answers:
                line = answers.readline()
    except (FileNotFoundError, ConnectionRefusedError):
        raise Failed(f"the server is not running: nobody listens on {path}") from None
    except OSError as error:
        raise Failed(f"cannot talk to the server at {path}: {_reason(error)}") from None
    if not line.endswith(b"\n"):
        raise Failed("the server closed the connection without an answer")
    answer = json.loads(line)
    if "error" in answer:
        raise Failed(answer["error"])
    return answer["result"]


def _load(path: Path) -> "Config":
    # Imported here: the other commands start without the configuration's whole schema.
    from mongoosetw.config.load import load
    from mongoosetw.loading import options_of

    try:
        return load(str(path), options_of)
    except OSError as error:
        raise Failed(f"cannot read {path}: {_reason(error)}") from None


def _check(options: argparse.Namespace) -> int:
    path = Path(options.file) if options.file else config_path(options)
    config = _load(path)
    try:
        check_path(Path(config.general.control_socket))
    except PathTooLong as error:
        raise Failed(f"{path}: {error}") from None
    print(f"{path}: no errors")
    return 0


def _docs(options: argparse.Namespace) -> int:
    from mongoosetw.docs.pages import PageUnknown, names, text

    if options.page is None:
        print("\n".join(names()))
        return 0
    try:
        print(text(options.page), end="")
    except PageUnknown as error:
        raise Failed(str(error)) from None
    return 0


def _schemas(config: "Config") -> "list[Schema]":
    """Return the schemas of the core and of every module that would run, each once."""
    from mongoosetw import core_tables
    from mongoosetw.loading import find, with_needs

    found = {schema.owner: schema for schema in core_tables.SCHEMAS}
    for host in config.hosts.values():
        for module in with_needs(host.modules).values():
            schema = find(module.class_path or module.name).schema
            if schema is not None:
                found[schema.owner] = schema
    return list(found.values())


def _db_upgrade(options: argparse.Namespace) -> int:
    from mongoosetw.storage import offline
    from mongoosetw.storage.lane import DatabaseUnavailable
    from mongoosetw.storage.migrate import SchemaRefused

    config = _load(config_path(options))
    os.makedirs(config.general.data_dir, mode=0o700, exist_ok=True)
    try:
        for owner, old, new in offline.upgrade(
            config.rdbms, config.general.data_dir, _schemas(config)
        ):
            print(f"{owner}: version {new}" + ("" if old == new else f", was {old or 'missing'}"))
    except DatabaseUnavailable as error:
        raise Failed(f"cannot reach the database: {error}") from None
    except SchemaRefused as error:
        raise Failed(str(error)) from None
    return 0


def _db_sql(options: argparse.Namespace) -> int:
    from mongoosetw.storage import offline

    config = _load(config_path(options))
    configured = "sqlite" if config.rdbms.driver == "sqlite" else "postgresql"
    print(offline.sql(options.dialect or configured, _schemas(config)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
