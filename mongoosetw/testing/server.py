"""The real server in a test: memory transports, a test's clock, a database in memory.

    class PingTests(ServerTestCase):
        modules = {"mod_ping": {}}

        def test_server_answers_pings(self) -> None:
            \"\"\"A client that pings the server gets a result.\"\"\"
            romeo = self.connect("romeo@localhost/phone")
            romeo.send("<iq type='get' id='1'><ping xmlns='urn:xmpp:ping'/></iq>")
            romeo.receives("<iq type='result' id='1'/>")
"""

import json
from collections.abc import Coroutine
from typing import Any, ClassVar, TypeVar

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from mongoosetw.c2s.listener import ClientListener
from mongoosetw.config.load import load_text
from mongoosetw.host import Host
from mongoosetw.loading import options_of
from mongoosetw.metrics import REGISTRY
from mongoosetw.server import Server
from mongoosetw.storage.database import Database
from mongoosetw.testing.client import Client, Connection
from mongoosetw.xmpp.jid import JID

T = TypeVar("T")


class ConfiguredTestCase(SynchronousTestCase):
    """What tests of one server and of several have in common.

    :cvar modules: options of each module that runs, by name.
    :cvar hosts: the served domains.
    :cvar general: further lines of ``[general]``.
    :cvar extra: further lines of the configuration file.
    :cvar listener_options: lines of ``[[listen.c2s]]``.
    """

    modules: ClassVar[dict[str, dict[str, Any]]] = {}
    hosts: ClassVar[tuple[str, ...]] = ("localhost",)
    general: ClassVar[str] = ""
    extra: ClassVar[str] = ""
    listener_options: ClassVar[str] = ""

    clock: Clock

    def configuration(self) -> str:
        """The configuration file of the test's server."""
        lines = ["[general]", f"hosts = {json.dumps(self.hosts)}", self.general]
        lines += ["[[listen.c2s]]", "port = 5222"]
        lines += [self.listener_options, "[auth]", "password.scram_iterations = 4096", self.extra]
        for name, options in self.modules.items():
            lines.append(f"[modules.{name}]")
            lines += [f"{key} = {json.dumps(value)}" for key, value in options.items()]
        return "\n".join(lines)

    def await_(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """The result of a coroutine that is ready as soon as what is due now has happened."""
        started = Deferred.fromCoroutine(coroutine)
        self.settle()
        result: T = self.successResultOf(started)
        return result

    def failure(self, coroutine: Coroutine[Any, Any, object], *expected: type[Exception]) -> str:
        """What a coroutine says that fails with one of the expected exceptions."""
        failed = self.failureResultOf(Deferred.fromCoroutine(coroutine), *expected)
        return str(failed.value)

    def metric(self, name: str, **labels: str) -> float:
        """What is exposed for a series; 0 if there is none.

        The process counts on from test to test, so compare with what it was before.
        """
        samples = (sample for family in REGISTRY.collect() for sample in family.samples)
        found = (s.value for s in samples if s.name == name and s.labels == labels)
        return float(next(found, 0.0))

    def settle(self) -> None:
        """Lets everything happen that is due now."""
        for _ in range(20):
            due = [c for c in self.clock.getDelayedCalls() if c.getTime() <= self.clock.seconds()]
            if not due:
                return
            self.clock.advance(0)

    def nothing_left(self) -> None:
        """Asserts that all calls are cancelled, once what is due now has happened."""
        self.clock.advance(0)
        left = [call for call in self.clock.getDelayedCalls() if call.getTime() > 0]
        assert not left, f"calls that nobody cancelled: {left}"


class ServerTestCase(ConfiguredTestCase):
    """Starts a server for each test, and stops it."""

    def setUp(self) -> None:
        """Starts the server."""
        self.clock = Clock()
        config = load_text(self.configuration(), options_of)
        self.server = Server(config, self.database(), self.clock, threads=False)
        self.await_(self.server.start())
        self.listener: ClientListener = self.server.listener(config.listen.c2s[0])
        self.addCleanup(self._stop)

    def database(self) -> Database:
        """The database of the test's server: new and empty."""
        return Database.in_memory()

    def _stop(self) -> None:
        self.await_(self.server.shut_down())
        self.nothing_left()

    @property
    def host(self) -> Host:
        """The first of the served domains."""
        return self.server.hosts[self.hosts[0]]

    def register(self, jid: str, password: str = "secret") -> JID:
        """Makes an account, unless it exists."""
        user = JID.parse(jid).bare
        accounts = self.server.hosts[user.domain].accounts
        if not self.await_(accounts.exists(user)):
            self.await_(accounts.register(user, password))
        return user

    def connect(self, jid: str, address: str = "192.0.2.1", *, bind: bool = True) -> Client:
        """A client of this full JID, with its account, logged in and, unless told not to, bound."""
        full = JID.parse(jid)
        self.register(jid)
        return Client(self.listener, self.settle, full, address, bind=bind)

    def connect_raw(self, address: str = "192.0.2.1") -> Connection:
        """A connection on which nothing has been said."""
        return Connection(self.listener, self.settle, address)
