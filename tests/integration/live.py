"""The server on real sockets within the test's process, its clients in a thread.

class SomeTests(LiveTestCase):
    @threaded
    def test_greeting(self) -> None:
        \"\"\"…\"\"\"
        client = self.client()
        client.open()
"""

import shutil
import socket
import tempfile
import time
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Any, ClassVar, TypeVar

from twisted.internet import reactor as _reactor
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.internet.threads import blockingCallFromThread, deferToThread
from twisted.trial.unittest import TestCase

from mongoosetw.c2s.listener import ClientListener
from mongoosetw.config.load import Config, load
from mongoosetw.loading import options_of
from mongoosetw.server import Server
from mongoosetw.storage.database import Database
from mongoosetw.xmpp.jid import JID
from tests.integration.raw import RawClient

reactor: Any = _reactor
PATIENCE = 60.0
"""Seconds after which a test that waits is given up."""
T = TypeVar("T")
S = TypeVar("S", bound="LiveTestCase")


def threaded(method: Callable[[S], None]) -> Callable[[S], "Deferred[None]"]:
    """Runs a test method in a thread, where it may block."""

    @wraps(method)
    def run(self: S) -> "Deferred[None]":
        return deferToThread(method, self)

    return run


def wait_until(condition: Callable[[], object]) -> None:
    """Waits for something that is bound to happen.

    :raises AssertionError: it does not.
    """
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.01)


def free_port() -> int:
    """A TCP port that nobody uses."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


class LiveClock(Clock):
    """Time passes when the test says so, but what is due at once is done at once."""

    def callLater(self, delay: float, call: Any, *args: Any, **kwargs: Any) -> Any:
        """Arranges a call."""
        clock = super() if delay else reactor
        return clock.callLater(delay, call, *args, **kwargs)


class LiveTestCase(TestCase):
    """Starts a server with one listener for each test, and stops it.

    :cvar hosts: the served domains.
    :cvar users: names of the accounts of each domain, all with the password ``secret``.
    :cvar listener_options: lines of ``[[listen.c2s]]``.
    :cvar extra: further lines of the configuration file.
    :ivar clock: the server's time.
    :ivar folder: where relative paths of the configuration count from.
    """

    hosts: ClassVar[tuple[str, ...]] = ("localhost",)
    users: ClassVar[tuple[str, ...]] = ("alice", "bob")
    listener_options: ClassVar[str] = "allow_plain_without_tls = true"
    extra: ClassVar[str] = ""
    timeout = 2 * PATIENCE

    def setUp(self) -> "Deferred[None]":
        """Starts the server."""
        self.folder = Path(tempfile.mkdtemp(prefix="mongoosetw-"))
        self.addCleanup(shutil.rmtree, self.folder, ignore_errors=True)
        self.port = free_port()
        self.prepare()
        return Deferred.fromCoroutine(self._start())

    def prepare(self) -> None:
        """Makes the files that the configuration names; for subclasses."""

    async def _start(self) -> None:
        self.write_configuration(self.configuration())
        config, db = self.load(), self.database()
        self.clock = LiveClock()
        self.server = Server(config, db, self.clock, load=self.load, threads=False)
        self.addCleanup(lambda: Deferred.fromCoroutine(self.server.shut_down()))
        await self.server.start()
        self.server.listen(reactor)
        for user in self.users:
            for domain in self.hosts:
                account = JID.of(user, domain)
                await self.server.hosts[domain].accounts.register(account, "secret")

    def database(self) -> Database:
        """The server's database."""
        return Database.in_memory()

    def configuration(self) -> str:
        """The configuration file."""
        return "\n".join(
            (
                "[general]",
                f"hosts = {list(self.hosts)}",
                f"[[listen.c2s]]\nport = {self.port}\nip_address = '127.0.0.1'",
                self.listener_options.format(folder=self.folder),
                "[auth]\npassword.scram_iterations = 4096",
                self.extra.format(folder=self.folder),
            )
        )

    def write_configuration(self, text: str) -> None:
        """Replaces the configuration file."""
        (self.folder / "mongoosetw.toml").write_text(text)

    def load(self) -> Config:
        """Reads the configuration file, as the running server does."""
        return load(str(self.folder / "mongoosetw.toml"), options_of)

    @property
    def listener(self) -> ClientListener:
        """The listener."""
        return self.server.listeners[0]

    def in_reactor(self, function: Callable[..., T], *args: Any) -> T:
        """Calls a function in the reactor's thread, waits for it, and for its Deferred."""
        result: T = blockingCallFromThread(reactor, function, *args)
        return result

    def advance(self, seconds: float) -> None:
        """Lets so much time pass in the server."""
        self.in_reactor(self.clock.advance, seconds)

    def reload(self) -> None:
        """Has the server read its configuration again; raises what that raises."""
        self.in_reactor(lambda: Deferred.fromCoroutine(self.server.reload()))

    def client(self, domain: str = "localhost") -> RawClient:
        """A new connection, closed after the test."""
        client = RawClient(self.port, domain)
        self.addCleanup(client.close)
        return client
