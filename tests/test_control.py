"""The control socket and its commands."""

import json
import os
import socket
import stat
from collections.abc import Awaitable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from twisted.internet import defer, reactor
from twisted.internet.error import CannotListenError
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.internet.threads import deferToThread
from twisted.trial.unittest import SynchronousTestCase, TestCase

from mongoosetw.auth.backend import AccountExists
from mongoosetw.config.diff import Change
from mongoosetw.control import Control, ControlFactory, ControlService
from mongoosetw.control_commands import server_control
from mongoosetw.ctl import Failed, ask
from mongoosetw.xmpp.jid import JID


class FakeAccounts:
    """Accounts in a dictionary, with the interface of the core's."""

    def __init__(self) -> None:
        self.passwords: dict[str, str] = {}

    async def exists(self, user: JID) -> bool:
        """Say whether there is such an account."""
        return str(user) in self.passwords

    async def register(self, user: JID, password: str) -> None:
        """Create an account."""
        if str(user) in self.passwords:
            raise AccountExists(user)
        self.passwords[str(user)] = password

    async def set_password(self, user: JID, password: str) -> None:
        """Set a password."""
        self.passwords[str(user)] = password

    async def remove(self, user: JID) -> None:
        """Remove an account."""
        del self.passwords[str(user)]

    async def check_password(self, user: JID, password: str) -> bool:
        """Compare a password."""
        return self.passwords[str(user)] == password

    async def list(self, domain: str) -> "list[str]":
        """Return the names of a domain's accounts."""
        return [jid.split("@")[0] for jid in self.passwords if jid.endswith(f"@{domain}")]

    async def count(self, domain: str | None = None) -> int:
        """Return the number of accounts."""
        return len(self.passwords)


class FakeSession:
    """A session that notes how it was closed."""

    available, priority, address, secure, local = True, 5, "192.0.2.1", True, True

    def __init__(self, jid: str) -> None:
        self.jid = JID.parse(jid)
        self.closed: tuple[Any, ...] | None = None

    def close(self, condition: str | None = None, text: str | None = None) -> None:
        """Note the reason."""
        self.closed = (condition, text)


class Registry:
    """A session registry with the interface of the core's."""

    def __init__(self) -> None:
        self.sessions: list[FakeSession] = []

    def get(self, full: JID) -> FakeSession | None:
        """Return the session of a full JID."""
        return next((s for s in self.sessions if s.jid == full), None)

    def of(self, bare: JID) -> tuple[FakeSession, ...]:
        """Return an account's sessions."""
        return tuple(s for s in self.sessions if s.jid.bare == bare)

    def count(self) -> int:
        """Return how many there are."""
        return len(self.sessions)

    @property
    def local_count(self) -> int:
        """Return how many there are: all are here."""
        return len(self.sessions)

    def __iter__(self) -> Any:
        return iter(self.sessions)


class FakeModule:
    """XEP-0199: XMPP Ping."""

    xeps = (SimpleNamespace(number=199, version="2.0"),)


class FakeServer:
    """One host, one module, one handler."""

    def __init__(self) -> None:
        described = [
            {"hook": "UserSendMessage", "priority": 89, "owner": "mod_x", "handler": "X.copy"},
            {"hook": "SessionOpened", "priority": 50, "owner": "mod_y", "handler": "Y.note"},
        ]
        self.host = SimpleNamespace(
            domain="localhost",
            accounts=FakeAccounts(),
            sessions=Registry(),
            prepare=lambda users: None,
            modules={"mod_ping": FakeModule()},
            hooks=SimpleNamespace(describe=lambda: described),
        )
        self.hosts = {"localhost": self.host}
        self.hooks = SimpleNamespace(describe=list)
        self.listeners: list[Any] = []
        self.config = SimpleNamespace(file="mongoosetw.toml")
        self.db = SimpleNamespace(dialect="sqlite")
        self.started_at = 0.0
        self.stopped = False
        self.cluster = None

    async def reload(self) -> list[Change]:
        """Report two changes."""
        return [Change("modules.mod_csi", True), Change("listen.c2s[0].port", False)]

    def stop(self) -> None:
        """Note that the server was stopped."""
        self.stopped = True


class Commands(SynchronousTestCase):
    """What each command does to the server."""

    def setUp(self) -> None:
        """Have a server with two sessions of one account."""
        self.clock = Clock()
        self.server = FakeServer()
        self.sessions = [FakeSession(f"romeo@localhost/{name}") for name in ("a", "b")]
        self.server.host.sessions.sessions += self.sessions
        server: Any = self.server
        self.control = server_control(server, self.clock.callLater)

    def answer(self, command: str, **args: str) -> dict[str, Any]:
        """Return the answer to a request."""
        line = json.dumps({"command": command, "args": args}).encode()
        answer = self.successResultOf(defer.Deferred.fromCoroutine(self.control.answer(line)))
        found: dict[str, Any] = json.loads(answer)
        return found

    def result(self, command: str, **args: str) -> Any:
        """Return the result of a request that succeeds."""
        return self.answer(command, **args)["result"]

    def error(self, command: str, **args: str) -> str:
        """Return the error of a request that is refused."""
        text: str = self.answer(command, **args)["error"]
        return text

    def test_account_life(self) -> None:
        """An account is created, its password checked and changed, and it is removed."""
        alice = {"jid": "alice@localhost"}
        self.assertEqual(self.result("account register", **alice, password="one"), alice)
        self.assertEqual(self.result("account list"), ["alice@localhost"])
        self.assertTrue(self.result("account check", **alice, password="one")["password_correct"])
        self.result("account change-password", **alice, password="two")
        self.assertFalse(self.result("account check", **alice, password="one")["password_correct"])
        self.result("account unregister", **alice)
        self.assertFalse(self.result("account check", **alice)["exists"])

    def test_account_exists(self) -> None:
        """An account is not created twice, and the password stays."""
        self.result("account register", jid="alice@localhost", password="one")
        error = self.error("account register", jid="alice@localhost", password="two")
        self.assertEqual(error, "the account alice@localhost exists already")
        self.assertEqual(self.server.host.accounts.passwords, {"alice@localhost": "one"})

    def test_resource_is_ignored(self) -> None:
        """An account given with a resource is the account."""
        self.result("account register", jid="Alice@localhost/phone", password="one")
        self.assertEqual(self.result("account list", domain="localhost"), ["alice@localhost"])

    def test_refused(self) -> None:
        """What cannot be an account of this server is refused with the reason."""
        for jid, said in (
            ("alice@elsewhere.test", "'elsewhere.test' is not served here; the domains are: loc"),
            ("localhost", "give it as user@domain"),
            ("a b@localhost", "is no address"),
            ("", "the argument 'jid' is missing"),
        ):
            self.assertIn(said, self.error("account register", jid=jid, password="x"))
        self.assertIn("there is no account", self.error("account unregister", jid="no@localhost"))

    def test_unregister_closes_sessions(self) -> None:
        """A removed account's sessions end."""
        self.result("account register", jid="romeo@localhost", password="x")
        self.result("account unregister", jid="romeo@localhost")
        self.assertTrue(all(session.closed for session in self.sessions))

    def test_session_list(self) -> None:
        """Sessions are listed with address, availability and encryption."""
        listed = self.result("session list")
        self.assertEqual([row["jid"] for row in listed], ["romeo@localhost/a", "romeo@localhost/b"])
        self.assertEqual((listed[0]["address"], listed[0]["secure"]), ("192.0.2.1", True))
        self.assertEqual(len(self.result("session list", jid="romeo@localhost/a")), 1)
        self.assertEqual(self.result("session count"), {"localhost": 2})

    def test_kick_one(self) -> None:
        """A full JID names one session; its client learns the reason."""
        self.result("session kick", jid="romeo@localhost/a", reason="maintenance")
        self.assertEqual(self.sessions[0].closed, ("policy-violation", "maintenance"))
        self.assertIsNone(self.sessions[1].closed)

    def test_kick_all(self) -> None:
        """A bare JID names all sessions of the account."""
        kicked = self.result("session kick", jid="romeo@localhost")["kicked"]
        self.assertEqual(len(kicked), 2)
        self.assertIn("has no session", self.error("session kick", jid="juliet@localhost"))

    def test_modules_and_hooks(self) -> None:
        """Modules are listed with their XEPs, hooks in their order or one alone."""
        (ping,) = self.result("modules")["localhost"]
        self.assertEqual((ping["name"], ping["xeps"]), ("mod_ping", ["XEP-0199"]))
        self.assertEqual(len(self.result("hooks")["localhost"]), 2)
        (entry,) = self.result("hooks", hook="SessionOpened")["localhost"]
        self.assertEqual(entry["owner"], "mod_y")

    def test_status(self) -> None:
        """Status tells domains and sessions."""
        status = self.result("status")
        self.assertEqual((status["domains"], status["sessions"]), (["localhost"], 2))

    def test_reload(self) -> None:
        """A reload answers with what changed and what needs a restart."""
        csi, port = self.result("reload")
        self.assertEqual(csi, {"option": "modules.mod_csi", "applied": "now"})
        self.assertEqual(port["applied"], "after a restart")

    def test_stop(self) -> None:
        """The server stops after the answer has left."""
        self.result("stop")
        self.assertFalse(self.server.stopped)
        self.clock.advance(1)
        self.assertTrue(self.server.stopped)

    def test_loglevel(self) -> None:
        """A level is changed and shown; an unknown one is refused."""
        self.addCleanup(self.result, "loglevel set", level="none", logger="sample.logger")
        levels = self.result("loglevel set", level="debug", logger="sample.logger")
        self.assertEqual(levels["sample.logger"], "debug")
        self.assertIn("is no log level", self.error("loglevel set", level="loud"))


class Requests(SynchronousTestCase):
    """The protocol of the socket."""

    def setUp(self) -> None:
        """Connect to a table with a slow and a quick command."""
        control = Control()
        self.slow: defer.Deferred[str] = defer.Deferred()

        async def wait(args: dict[str, Any]) -> str:
            return await self.slow

        control.command("slow")(wait)
        control.command("quick")(lambda args: args)
        control.command("broken")(lambda args: 1 // 0)
        self.protocol = ControlFactory(control).buildProtocol(None)
        self.transport = StringTransport()
        self.protocol.makeConnection(self.transport)

    def answers(self, data: bytes) -> list[Any]:
        """Return what is answered to ``data``."""
        self.transport.clear()
        self.protocol.dataReceived(data)
        return [json.loads(line) for line in self.transport.value().splitlines()]

    def test_order(self) -> None:
        """Answers come in the order of the requests, even when the first takes longer."""
        self.assertEqual(self.answers(b'{"command":"slow"}\n{"command":"quick"}\n'), [])
        self.slow.callback("done")
        lines = self.transport.value().splitlines()
        self.assertEqual([json.loads(line) for line in lines], [{"result": "done"}, {"result": {}}])

    def test_split(self) -> None:
        """A request may arrive in pieces."""
        self.assertEqual(self.answers(b'{"command":"qu'), [])
        self.assertEqual(self.answers(b'ick","args":{"a":1}}\n'), [{"result": {"a": 1}}])

    def test_no_request(self) -> None:
        """Whatever is no request gets an error, and the next request is answered."""
        for line in (b"hello", b"[]", b'{"command":1}', b'{"command":"quick","args":[]}', b"\xff"):
            (answer,) = self.answers(line + b"\n")
            self.assertIn("error", answer)
        self.assertEqual(self.answers(b'{"command":"quick"}\n'), [{"result": {}}])

    def test_unknown_command(self) -> None:
        """An unknown command is answered with the known ones."""
        (answer,) = self.answers(b'{"command":"fly"}\n')
        self.assertEqual(answer["error"], "unknown command 'fly'; there are: broken, quick, slow")

    def test_command_raises(self) -> None:
        """A mistake in a command is answered, and the server and the connection live."""
        with self.assertLogs("mongoosetw.control", "ERROR"):
            (answer,) = self.answers(b'{"command":"broken"}\n')
        self.assertIn("ZeroDivisionError", answer["error"])
        self.assertEqual(self.answers(b'{"command":"quick"}\n'), [{"result": {}}])

    def test_client_left(self) -> None:
        """A client that left before the answer is no error."""
        self.protocol.dataReceived(b'{"command":"slow"}\n')
        self.protocol.connectionLost()
        self.slow.callback("done")
        self.assertEqual(self.transport.value(), b"")


class RealSocket(TestCase):
    """The real socket, with mongoosectl's own client."""

    def setUp(self) -> None:
        """Have a short path: a Unix socket's is limited to 107 bytes."""
        self.path = Path(os.path.relpath(self.mktemp()))
        self.control = Control()
        self.control.command("echo")(lambda args: args)

    def service(self) -> ControlService:
        """Return a service on the test's socket, not yet started."""
        return ControlService(reactor, self.control, self.path)

    async def test_ask(self) -> None:
        """A request goes to the server and its answer comes back."""
        service = self.service()
        service.startService()
        self.addCleanup(service.stopService)
        self.assertEqual(await deferToThread(ask, self.path, "echo", {"a": "ä"}), {"a": "ä"})
        with self.assertRaisesRegex(Failed, "unknown command"):
            await deferToThread(ask, self.path, "fly", {})

    async def test_private(self) -> None:
        """Only the server's user can open the socket."""
        service = self.service()
        service.startService()
        self.addCleanup(service.stopService)
        self.assertEqual(stat.S_IMODE(self.path.stat().st_mode), 0o600)

    async def test_stopped(self) -> None:
        """A stopped server leaves no socket, and mongoosectl says that it is not running."""
        service = self.service()
        service.startService()
        stopped: Awaitable[None] | None = service.stopService()
        if stopped is not None:
            await stopped
        self.assertFalse(self.path.exists())
        with self.assertRaisesRegex(Failed, "the server is not running"):
            ask(self.path, "echo", {})

    async def test_left_by_a_crash(self) -> None:
        """A socket that a killed server left behind does not keep the next one from starting."""
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as left:
            left.bind(str(self.path))
        service = self.service()
        service.startService()
        self.addCleanup(service.stopService)
        self.assertEqual(await deferToThread(ask, self.path, "echo", {}), {})

    async def test_second_server(self) -> None:
        """A second server in the same data directory does not take the socket of the first."""
        first, second = self.service(), self.service()
        first.startService()
        self.addCleanup(first.stopService)
        self.assertRaises(CannotListenError, second.startService)
        self.assertEqual(await deferToThread(ask, self.path, "echo", {}), {})
