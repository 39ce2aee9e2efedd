"""Several servers on one clock, with one database and links in memory."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from twisted.internet.defer import Deferred, succeed

from mongoosetw.c2s.listener import ClientListener
from mongoosetw.cluster.draining import drain
from mongoosetw.cluster.mesh import Node
from mongoosetw.config.load import load_text
from mongoosetw.loading import options_of
from mongoosetw.server import Server
from mongoosetw.storage.database import Database
from mongoosetw.storage.engine import memory_engine
from mongoosetw.testing.client import Connection
from mongoosetw.testing.clock import NodeClock
from mongoosetw.testing.mesh import MemoryMesh, MemoryNetwork
from mongoosetw.testing.redis_memory import MemoryRedis

EPOCH = 1_700_000_000
"""What the nodes' clocks show when a test begins, in seconds since 1970."""


class SharedDatabase(Database):
    """One node's view of the database of all; it outlives the node."""

    def close(self) -> Deferred[None]:
        """The node needs it no longer."""
        return succeed(None)


class MemoryMembership:
    """A node's place in a cluster in memory."""

    links = None

    def __init__(self, mesh: MemoryMesh) -> None:
        self.mesh = mesh

    def start(self) -> None:
        """Looks for the other nodes."""
        self.mesh.start()

    async def leave(self, reason: str) -> None:
        """Says goodbye."""
        self.mesh.stop()


@dataclass
class MemoryNode:
    """One process.

    :ivar skew: seconds that its clock is ahead of the true time.
    :ivar started: fires when its server has started.
    :ivar connections: of clients, those included that are over.
    """

    name: str
    clock: NodeClock
    mesh: MemoryMesh
    server: Server
    listener: ClientListener
    skew: float
    started: Deferred[None]
    connections: list[Connection] = field(default_factory=list)


class MemoryCluster:
    """Nodes that can be started, killed, frozen, cut off from one another and sent away.

    :ivar nodes: those that run, by name.
    :ivar network: the wires between them.
    :ivar redis: used with ``general.sm_backend = "redis"``.
    """

    def __init__(self, clock: Any, configuration: str, **network: Any) -> None:
        """
        :param clock: a test's.
        :param configuration: the text of the configuration file of all nodes.
        :param network: further arguments of :class:`~mongoosetw.testing.mesh.MemoryNetwork`.
        """
        self.clock = clock
        self.network = MemoryNetwork(clock, **network)
        self.redis = MemoryRedis(clock)
        self.nodes: dict[str, MemoryNode] = {}
        self._engine = memory_engine()
        self._config = load_text(configuration, options_of)
        self._numbers: dict[str, int] = {}
        self._incarnations = 0

    def start(self, name: str, skew: float = 0.0) -> MemoryNode:
        """Starts a node, or one again that has ended."""
        assert name not in self.nodes, f"node {name} runs"
        number = self._numbers.setdefault(name, len(self._numbers))
        self._incarnations += 1
        clock = NodeClock(self.clock)
        mesh = self.network.mesh(Node(name, number, self._incarnations), clock)
        node = self.nodes[name] = self._node(clock, mesh, skew)
        return node

    def _node(self, clock: NodeClock, mesh: MemoryMesh, skew: float) -> MemoryNode:
        membership: Any = MemoryMembership(mesh)
        server = Server(
            self._config,
            self.database(),
            clock,
            threads=False,
            membership=membership,
            now=self._now(skew),
            redis=lambda clock, options: self.redis.client(clock),
        )
        started = Deferred.fromCoroutine(server.start())
        listener = server.listener(self._config.listen.c2s[0])
        return MemoryNode(mesh.local.name, clock, mesh, server, listener, skew, started)

    def database(self) -> SharedDatabase:
        """The database, for one more who uses it."""
        return SharedDatabase(self._engine, None)

    def _now(self, skew: float) -> Callable[[], int]:
        return lambda: round((EPOCH + skew + self.clock.seconds()) * 1_000_000)

    def kill(self, name: str, *, power: bool = False) -> None:
        """Ends a process from one moment to the next; nothing of what it was about to do happens.

        :param power: its machine loses power: no connection is closed, so that the others
            learn of it by the silence.
        """
        node = self.nodes.pop(name)
        self.network.kill(name, power=power)
        node.clock.kill()
        for connection in node.connections:
            connection.sever()

    def leave(self, name: str) -> Deferred[None]:
        """Has a node send its clients away, say goodbye and end; fires when it has."""
        node = self.nodes.pop(name)

        async def go() -> None:
            await drain(node.server)
            await node.server.shut_down()

        return Deferred.fromCoroutine(go())

    def freeze(self, name: str) -> None:
        """Suspends a process: it does nothing, and the others hear nothing of it."""
        self.network.freeze(name)
        self.nodes[name].clock.freeze()

    def thaw(self, name: str) -> None:
        """Lets a process run on: it does what is overdue, in order."""
        self.nodes[name].clock.thaw()
        self.network.thaw(name)

    def heal(self) -> None:
        """Mends all wires and lets all processes run on."""
        self.network.heal_all()
        for name, node in self.nodes.items():
            if node.clock.frozen:
                self.thaw(name)

    def close(self) -> None:
        """Closes the database."""
        self._engine.dispose()
