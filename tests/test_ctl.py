"""mongoosectl: what an operator types and reads."""

import contextlib
import io
import json
import socket
import sqlite3
import sys
import threading
from pathlib import Path
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from mongoosetw import ctl
from mongoosetw.config.load import load
from mongoosetw.module import Module, NoOptions


class FakeServer(threading.Thread):
    """Answers one request on a Unix socket and notes it."""

    def __init__(self, path: Path, answer: bytes) -> None:
        super().__init__(daemon=True)
        self.listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.listening.bind(str(path))
        self.listening.listen()
        self.listening.settimeout(10)
        self.answer = answer
        self.request: dict[str, Any] = {}
        self.start()

    def run(self) -> None:
        """Take one connection."""
        connection, _ = self.listening.accept()
        with connection, self.listening, connection.makefile("rb") as requests:
            self.request = json.loads(requests.readline())
            connection.sendall(self.answer)


class CommandLine(SynchronousTestCase):
    """Runs mongoosectl in this process, against a fake server."""

    def setUp(self) -> None:
        """Collect what is printed."""
        self.out, self.err, self.input = io.StringIO(), io.StringIO(), io.StringIO()
        self.patch(sys, "stdout", self.out)
        self.patch(sys, "stderr", self.err)
        self.patch(sys, "stdin", self.input)

    def run_against(self, answer: object, *arguments: str) -> tuple[int, dict[str, Any]]:
        """Return the exit status and the request that the server got."""
        path = self.path()
        line = answer if isinstance(answer, bytes) else json.dumps(answer).encode() + b"\n"
        server = FakeServer(path, line)
        status = ctl.main(["--socket", str(path), *arguments])
        server.join(10)
        return status, server.request

    def path(self) -> Path:
        """Return a path short enough for a Unix socket."""
        path = Path(self.mktemp())
        return path.relative_to(Path.cwd()) if path.is_absolute() else path

    def test_register(self) -> None:
        """The password of --password goes to the server and is not printed."""
        status, request = self.run_against(
            {"result": {"jid": "alice@localhost"}},
            *("account", "register", "alice@localhost", "--password", "secret"),
        )
        self.assertEqual(status, 0)
        self.assertEqual(request["command"], "account register")
        self.assertEqual(request["args"], {"jid": "alice@localhost", "password": "secret"})
        self.assertEqual(self.out.getvalue(), "jid: alice@localhost\n")

    def test_password_from_standard_input(self) -> None:
        """Off a terminal the password is the first line of standard input."""
        self.input.write("from a pipe\n")
        self.input.seek(0)
        _, request = self.run_against({"result": {}}, "account", "change-password", "a@b")
        self.assertEqual(request["args"]["password"], "from a pipe")

    def test_no_password(self) -> None:
        """Without any password nothing is sent and the exit status is 1."""
        self.assertEqual(ctl.main(["--socket", "none", "account", "register", "a@b"]), 1)
        self.assertIn("no password given; nothing was done", self.err.getvalue())

    def test_generated_password(self) -> None:
        """--generate makes a password, sends it and prints it once."""
        _, request = self.run_against(
            {"result": {"jid": "a@b"}}, "account", "register", "a@b", "--generate"
        )
        self.assertGreaterEqual(len(request["args"]["password"]), 16)
        self.assertIn(f"password: {request['args']['password']}\n", self.out.getvalue())

    def test_refused(self) -> None:
        """What the server refuses is said on standard error with exit status 1."""
        status, _ = self.run_against({"error": "there is no account a@b"}, "session", "kick", "a@b")
        self.assertEqual(status, 1)
        self.assertEqual(self.err.getvalue(), "mongoosectl: there is no account a@b\n")

    def test_no_answer(self) -> None:
        """A server that dies while answering is an error, not half an answer."""
        status, _ = self.run_against(b'{"result": ', "status")
        self.assertEqual(status, 1)
        self.assertIn("without an answer", self.err.getvalue())

    def test_not_running(self) -> None:
        """Without a server every command says so, with the socket's path, and exits with 1."""
        for arguments in (["status"], ["session", "list"], ["stop"], ["hooks"]):
            self.assertEqual(ctl.main(["--socket", "nowhere.sock", *arguments]), 1)
            self.assertIn(
                "the server is not running: nobody listens on nowhere.sock", self.err.getvalue()
            )

    def test_table(self) -> None:
        """Sessions are printed as a table with a heading."""
        rows = [
            {"jid": "a@b/c", "available": True, "priority": 5},
            {"jid": "longer@b/c", "available": False, "priority": None},
        ]
        self.run_against({"result": rows}, "session", "list")
        self.assertEqual(
            self.out.getvalue(),
            "jid         available  priority\n"
            "a@b/c       yes        5\n"
            "longer@b/c  no         -\n",
        )

    def test_json(self) -> None:
        """With --json the answer is JSON for scripts."""
        self.run_against({"result": {"localhost": 2}}, "--json", "session", "count")
        self.assertEqual(json.loads(self.out.getvalue()), {"localhost": 2})

    def test_socket_from_configuration(self) -> None:
        """The control socket is in data_dir, which counts from the configuration file."""
        folder = Path(self.mktemp())
        folder.mkdir()
        (folder / "x.toml").write_text('[general]\ndata_dir = "state"\n')
        self.assertEqual(ctl.main(["--config", str(folder / "x.toml"), "status"]), 1)
        self.assertIn(str(folder / "state" / "mongoosectl.sock"), self.err.getvalue())

    def test_same_socket_as_the_server(self) -> None:
        """The server, which reads the whole file, opens the same socket."""
        for text in ("", 'data_dir = "state"', 'control_socket = "run/x.sock"'):
            path = self.path()
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(f'[general]\nhosts = ["localhost"]\n{text}\n')
            options = ctl.parser().parse_args(["--config", str(path), "status"])
            config = load(str(path), lambda name: None)
            found = str(ctl.socket_path(options).absolute())
            self.assertEqual(found, config.general.control_socket)

    def test_no_configuration(self) -> None:
        """A configuration file that is not there is named."""
        self.assertEqual(ctl.main(["--config", "none.toml", "status"]), 1)
        self.assertIn("cannot read none.toml: No such file", self.err.getvalue())

    def test_usage(self) -> None:
        """A command that does not exist exits with 2 and the usage."""
        error = self.assertRaises(SystemExit, ctl.main, ["account", "fly"])
        self.assertEqual(error.code, 2)
        self.assertIn("usage: mongoosectl", self.err.getvalue())


class Check(CommandLine):
    """`mongoosectl check` works without a server."""

    def check(self, text: str) -> int:
        """Return the exit status of a check of a file with this text."""
        path = self.path().with_suffix(".toml")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        return ctl.main(["check", str(path)])

    def test_good(self) -> None:
        """A good file exits with 0."""
        self.assertEqual(self.check('[general]\nhosts = ["localhost"]\n'), 0, self.err.getvalue())
        self.assertIn("no errors", self.out.getvalue())

    def test_all_errors(self) -> None:
        """Every error is printed with its line, and the exit status is 1."""
        status = self.check('[general]\nhosts = ["localhost"]\nlogllevel = 1\n[nonsense]\na = 1\n')
        self.assertEqual(status, 1)
        self.assertIn(".toml:3: general.logllevel", self.err.getvalue())
        self.assertIn(".toml:4: nonsense", self.err.getvalue())

    def test_example(self) -> None:
        """The configuration that `make run` starts with has no errors."""
        example = Path(__file__).parent.parent / "docs" / "mongoosetw.example.toml"
        self.assertEqual(ctl.main(["check", str(example)]), 0, self.err.getvalue())

    def test_no_file(self) -> None:
        """A file that is not there is named, without a traceback."""
        self.assertEqual(ctl.main(["check", "none.toml"]), 1)
        self.assertIn("none.toml", self.err.getvalue())


class Elsewhere(Module[NoOptions]):
    """A module of another package."""

    name = "mod_elsewhere"


class Docs(CommandLine):
    """`mongoosectl docs` works without a server."""

    def test_pages(self) -> None:
        """Without a page the pages are listed, modules among them."""
        self.assertEqual(ctl.main(["docs"]), 0)
        self.assertIn("hooks\n", self.out.getvalue())
        self.assertIn("mod_ping\n", self.out.getvalue())

    def test_page(self) -> None:
        """A module's page is printed, also that of a class in another package."""
        self.assertEqual(ctl.main(["docs", "mod_ping"]), 0)
        self.assertIn("| `ping_interval` |", self.out.getvalue())
        self.assertEqual(ctl.main(["docs", f"{__name__}:Elsewhere"]), 0)
        self.assertIn("# mod_elsewhere\n", self.out.getvalue())

    def test_unknown(self) -> None:
        """A page that does not exist is refused."""
        self.assertEqual(ctl.main(["docs", "mod_nonsense"]), 1)
        self.assertIn("there is no module mod_nonsense", self.err.getvalue())


class DatabaseCommands(CommandLine):
    """`mongoosectl db` works without a server."""

    def setUp(self) -> None:
        """Have a configuration whose data lies beside it."""
        super().setUp()
        self.config = self.path() / "x.toml"
        self.config.parent.mkdir(parents=True)
        self.configure("")

    def configure(self, more: str) -> None:
        """Write the configuration."""
        self.config.write_text(f'[general]\nhosts = ["localhost"]\n{more}')

    def db(self, *arguments: str) -> int:
        """Return the exit status of a db command."""
        return ctl.main(["--config", str(self.config), "db", *arguments])

    def test_upgrade(self) -> None:
        """Tables are created, and a second upgrade finds them."""
        self.assertEqual(self.db("upgrade"), 0, self.err.getvalue())
        self.assertIn("auth: version 1, was missing\n", self.out.getvalue())
        self.out.truncate(0)
        self.assertEqual(self.db("upgrade"), 0, self.err.getvalue())
        self.assertNotIn("was", self.out.getvalue())

    def test_newer_tables(self) -> None:
        """Tables of a newer server are left alone, with exit status 1."""
        self.db("upgrade")
        (database,) = self.config.parent.rglob("*.sqlite")
        with contextlib.closing(sqlite3.connect(database)) as connection, connection:
            connection.execute("UPDATE schema_version SET version = 99")
        self.assertEqual(self.db("upgrade"), 1)
        self.assertIn("version 99, newer than this program", self.err.getvalue())

    def test_unreachable(self) -> None:
        """A database that does not answer is one line and exit status 1."""
        self.configure('[outgoing_pools.rdbms.default]\ndriver = "pgsql"\nport = 1\n')
        self.assertEqual(self.db("upgrade"), 1)
        self.assertIn("mongoosectl: cannot reach the database", self.err.getvalue())

    def test_sql(self) -> None:
        """The printed SQL makes the tables in an empty database."""
        self.assertEqual(self.db("sql"), 0, self.err.getvalue())
        with contextlib.closing(sqlite3.connect(":memory:")) as connection:
            connection.executescript(self.out.getvalue())
            tables = connection.execute("SELECT name FROM sqlite_master").fetchall()
        self.assertIn(("users",), tables)
        self.assertEqual(self.db("sql", "--dialect", "postgresql"), 0)
