"""Several servers in one process, with one database and links in memory."""

from typing import Any

from twisted.internet.defer import Deferred

from mongoosetw.c2s.listener import ClientListener
from mongoosetw.config.load import load_text
from mongoosetw.loading import options_of
from mongoosetw.server import Server
from mongoosetw.storage.database import Database
from mongoosetw.testing.client import Client
from mongoosetw.xmpp.jid import JID
from tests.cluster.memory import Station, member
from tests.cluster.test_links import NAMES, MeshCase


class _Membership:
    """A node's place in a cluster of the test's."""

    def __init__(self, station: Station) -> None:
        self.mesh = self.links = station.mesh

    def start(self) -> None:
        """The links are made by the test."""

    async def leave(self, reason: str) -> None:
        """The test ends the links."""


class ServersCase(MeshCase):
    """Starts servers a, b … that share an SQLite file.

    :cvar modules: sections of the configuration.
    """

    modules = ("mod_roster", "mod_presence")

    def start_servers(self, count: int) -> None:
        """Starts servers that know one another."""
        self.path = self.mktemp()
        self.servers: dict[str, Server] = {}
        self.listeners: dict[str, ClientListener] = {}
        for n, name in enumerate(NAMES[:count]):
            self.start_server(name, n)
        self.introduce()
        self.run_for(2)

    def start_server(self, name: str, number: int) -> None:
        """Starts one server."""
        sections = "".join(f"[modules.{module}]\n" for module in self.modules)
        config = load_text(
            "[general]\nhosts = ['localhost']\nhost_types = ['dynamic']\n[[listen.c2s]]\n"
            f"port = 5222\n{sections}[auth]\npassword.scram_iterations = 4096",
            options_of,
        )
        membership: Any = _Membership(self.add(member(name, number)))
        db = Database.sqlite_file(self.path)
        server = Server(config, db, self.clock, threads=False, membership=membership)
        self.done(server.start())
        self.servers[name] = server
        self.listeners[name] = server.listener(config.listen.c2s[0])
        self.addCleanup(lambda: self.done(server.shut_down()))

    def done(self, coroutine: Any) -> Any:
        """The result of a coroutine that does not have to wait."""
        return self.successResultOf(Deferred.fromCoroutine(coroutine))

    def settle(self) -> None:
        """Lets everything happen that is due now."""
        for _ in range(30):
            self.clock.advance(0)

    def connect(self, server: str, jid: str) -> Client:
        """A client of one of the servers, with its account, logged in and bound."""
        accounts = self.servers[server].hosts["localhost"].accounts
        full = JID.parse(jid)
        if not self.done(accounts.exists(full)):
            self.done(accounts.register(full.bare, "secret"))
        return Client(self.listeners[server], self.settle, full, "192.0.2.1")
