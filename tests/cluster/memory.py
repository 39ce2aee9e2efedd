"""A network in memory on a test's clock: connections that can be cut, nodes that can freeze."""

from collections.abc import Callable
from typing import Any

from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.error import ConnectionDone, ConnectionLost, ConnectionRefusedError
from twisted.internet.task import Clock
from twisted.python.failure import Failure

from mongoosetw.cluster.hello import Member
from mongoosetw.cluster.links import PBMesh, Secrets
from mongoosetw.cluster.mesh import Node
from mongoosetw.net.flush import TurnFlusher

SECRET = b"a secret of tests"


class Transport:
    """One end of a connection."""

    def __init__(self, network: "Network", owner: str) -> None:
        self.network = network
        self.owner = owner
        self.other: Transport
        self.protocol: Any = None
        self.closed = False

    def write(self, data: bytes) -> None:
        """Sends bytes, which arrive a moment later."""
        if not self.closed and data:
            self.network.wire(self, lambda: self.other.arrive(data))

    def arrive(self, data: bytes) -> None:
        """Bytes have come."""
        if not self.closed:
            self.network.bytes_carried += len(data)
            self.protocol.dataReceived(data)

    def loseConnection(self) -> None:
        """Closes when everything is sent."""
        if not self.closed:
            self.network.wire(self, lambda: self.other.end(ConnectionDone()))
            self.network.clock.callLater(0, self.end, ConnectionDone())

    def abortConnection(self) -> None:
        """Closes at once."""
        self.network.wire(self, lambda: self.other.end(ConnectionLost()))
        self.end(ConnectionLost())

    def end(self, reason: Exception) -> None:
        """The connection is over at this end."""
        if not self.closed:
            self.closed = True
            self.network.transports.discard(self)
            self.protocol.connectionLost(Failure(reason))


class Network:
    """Who listens where, and which wires are cut."""

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self.listening: dict[str, Any] = {}
        self.cut: set[frozenset[str]] = set()
        self.frozen: dict[str, list[Callable[[], object]]] = {}
        self.transports: set[Transport] = set()
        self.bytes_carried = 0
        self.dead: set[str] = set()

    def wire(self, sender: Transport, deliver: Callable[[], object]) -> None:
        """Carries something to the other end, unless the wire is cut."""
        if frozenset((sender.owner, sender.other.owner)) in self.cut:
            return
        held = self.frozen.get(sender.other.owner)
        if held is not None:
            held.append(deliver)
        else:
            self.clock.callLater(0, deliver)

    def freeze(self, name: str) -> None:
        """A node reads nothing any more (its own timers go on)."""
        self.frozen[name] = []

    def thaw(self, name: str) -> None:
        """What was sent to a frozen node arrives."""
        for deliver in self.frozen.pop(name):
            self.clock.callLater(0, deliver)

    def crash(self, name: str) -> None:
        """A process is killed: its system closes its sockets."""
        self.dead.add(name)
        self.listening.pop(name, None)
        for transport in list(self.transports):
            if transport.owner == name:
                transport.abortConnection()

    def endpoint(self, owner: str) -> Callable[[str], "Endpoint"]:
        """What a node connects with; addresses are names."""
        return lambda address: Endpoint(self, owner, address)


class Endpoint:
    """Connects to a listening node."""

    def __init__(self, network: Network, owner: str, address: str) -> None:
        self.network, self.owner, self.address = network, owner, address

    def connect(self, factory: Any) -> "Deferred[Any]":
        """Connects at once, or is refused at once."""
        network = self.network
        server = network.listening.get(self.address)
        if frozenset((self.owner, self.address)) in network.cut:
            return fail(TimeoutError("nobody answers"))
        if self.owner in network.dead:
            return Deferred(lambda d: None)
        protocol = None if server is None else server.buildProtocol(None)
        if protocol is None:
            return fail(ConnectionRefusedError())
        mine, theirs = Transport(network, self.owner), Transport(network, self.address)
        mine.other, theirs.other = theirs, mine
        network.transports |= {mine, theirs}
        mine.protocol, theirs.protocol = factory.buildProtocol(None), protocol
        theirs.protocol.makeConnection(theirs)
        mine.protocol.makeConnection(mine)
        return succeed(mine.protocol)


class Station:
    """A node of a test: its mesh and what it has seen."""

    def __init__(self, network: Network, member: Member, secret: bytes, **options: Any) -> None:
        name = member.node.name
        flusher = TurnFlusher(network.clock)
        connect: Any = network.endpoint(name)
        self.mesh = PBMesh(
            network.clock, member, Secrets(secret, b""), connect, flusher, **options
        )
        self.got: list[tuple[str, str, bytes]] = []
        self.changes: list[str] = []
        for channel in ("one", "two"):
            self.mesh.receive(channel, self._receiver(channel))
        self.mesh.watch(
            lambda node: self.changes.append(f"+{node.name}"),
            lambda node: self.changes.append(f"-{node.name}"),
        )
        network.dead.discard(name)
        network.listening[name] = self.mesh.factory
        self.mesh.start()

    def _receiver(self, channel: str) -> Callable[[Node, bytes], None]:
        return lambda node, payload: self.got.append((node.name, channel, payload))


def member(name: str, number: int, incarnation: int = 1, **fields: Any) -> Member:
    """What a node of a test says of itself."""
    return Member(Node(name, number, incarnation), fields.pop("cluster", "tests"), **fields)
