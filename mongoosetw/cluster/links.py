"""The mesh of Twisted PB links: who is linked, and which of two connections is kept.

Every node connects to every other one that it knows of. Of two connections between the same nodes
the one is kept that the node with the lesser name has made: both nodes come to that by themselves.
"""

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.internet.protocol import Factory

from mongoosetw.cluster.dialling import Dialler, EndpointMaker
from mongoosetw.cluster.frames import LONGEST_CHANNEL
from mongoosetw.cluster.happenings import Happenings
from mongoosetw.cluster.hello import Agreed, Handshake, Member, Refused, Why
from mongoosetw.cluster.link import Link
from mongoosetw.cluster.mesh import Node, Receiver
from mongoosetw.cluster.metrics import LOST, REFUSED
from mongoosetw.cluster.pb import LinkConnection
from mongoosetw.net.flush import TurnFlusher

if TYPE_CHECKING:
    from collections.abc import Mapping

_EARLY: Final = 1000
"""Payloads of a channel that are kept while the node starts."""

logger = logging.getLogger(__name__)
STRANGERS: Final = 256
"""Connections that have not proven themselves, at one time."""


@dataclass(frozen=True, slots=True)
class Secrets:
    """What a node proves itself by.

    :ivar machine: to the nodes of the same machine.
    :ivar cluster: to all others; empty where certificates prove enough.
    """

    machine: bytes
    cluster: bytes


class PBMesh:
    """The links of this node.

    :ivar happenings: what became of links lately.
    :ivar stopped: no links are made any more.
    """

    def __init__(
        self,
        clock: IReactorTime,
        own: Member,
        secrets: Secrets,
        connect: EndpointMaker,
        flusher: TurnFlusher,
        *,
        peer_timeout: float = 10.0,
        reconnect_delay_max: float = 10.0,
        queue_size: int = 16 * 1024 * 1024,
        now: Callable[[], float] = time.time,
    ) -> None:
        """
        :param connect: makes an endpoint of an address.
        :param peer_timeout: seconds until a silent node counts as lost.
        :param queue_size: bytes that may wait for one node.
        :param now: the time, in seconds since 1970.
        """
        self.clock = clock
        self.own = own
        self.happenings = Happenings()
        self.factory = LinkFactory(self)
        self._secrets = secrets
        self._connect = connect
        self._flusher = flusher
        self._interval = peer_timeout / 4
        self._delay_max = reconnect_delay_max
        self._queue_size = queue_size
        self._now = now
        self._links: dict[str, Link] = {}
        self._pending: dict[LinkConnection, Link | None] = {}
        self._diallers: dict[str, Dialler] = {}
        self._receivers: dict[str, Receiver] = {}
        self._watchers: list[tuple[Callable[[Node], None], Callable[[Node], None]]] = []
        self._early: dict[str, list[tuple[Node, bytes]]] = {}
        self._unknown: set[str] = set()
        self._left: set[str] = set()
        self._expecting = True
        self._ticker: IDelayedCall | None = None
        self._tick_at = 0.0
        self.stopped = False

    # -- Mesh

    @property
    def local(self) -> Node:
        """This node."""
        return self.own.node

    @property
    def peers(self) -> dict[str, Node]:
        """The nodes whose links are up, by name."""
        return {name: link.node for name, link in self._links.items()}

    def send(self, peer: str, channel: str, payload: bytes, *, patient: bool = False) -> bool:
        """Queues a payload for a node; False if there is no link, or no room."""
        link = self._links.get(peer)
        return link is not None and self._put(link, channel, payload, patient=patient)

    def extend(self, peer: str, channel: str, more: bytes) -> bool:
        """Adds to the payload that was queued last for a node, if it is still here."""
        link = self._links.get(peer)
        return link is not None and link.outbox.extend(channel, more)

    def broadcast(self, channel: str, payload: bytes) -> None:
        """Queues a payload for every node; one that has no room for it is given up."""
        for link in list(self._links.values()):
            if not self._put(link, channel, payload):
                self.give_up(link, "its queue is full")

    def _put(self, link: Link, channel: str, payload: bytes, *, patient: bool = False) -> bool:
        if not link.outbox.put(channel, payload):
            return False
        if not link.queued and not (patient and link.gathers()):
            link.queued = True
            self._flusher.add(link)
        return True

    def queued(self, peer: str) -> int:
        """How many bytes wait for a node, or are on their way to it."""
        link = self._links.get(peer)
        return 0 if link is None else link.outbox.held

    def receive(self, channel: str, receiver: Receiver) -> None:
        """Names who takes what arrives on a channel; one receiver a channel."""
        if channel in self._receivers or len(channel.encode()) > LONGEST_CHANNEL:
            raise ValueError(f"channel {channel} is taken, or its name is too long")
        self._receivers[channel] = receiver
        for node, payload in self._early.pop(channel, ()):
            if self.peers.get(node.name) == node:
                self.dispatch(node, channel, payload)

    def left(self, peer: str) -> bool:
        """Whether a node, whose link is down, had said goodbye."""
        return peer in self._left

    @property
    def awaited(self) -> bool:
        """Whether there may be nodes that nobody has tried to reach since the start."""
        return self._expecting or any(not dialler.tried for dialler in self._diallers.values())

    def watch(self, up: Callable[[Node], None], down: Callable[[Node], None]) -> None:
        """Has changes told: a link is up, before anything arrives on it; a link is down."""
        self._watchers.append((up, down))

    # -- who there is

    def expect(self, addresses: "Mapping[str, tuple[str, ...]]") -> None:
        """Connects to these nodes from now on, and tries to no others.

        :param addresses: for each node's name where it listens, the best first.
        """
        self._expecting = False
        self._early.clear()
        for name in set(self._diallers) - set(addresses):
            self._diallers.pop(name).stop()
        for name, places in addresses.items():
            if name == self.local.name:
                continue
            dialler = self._diallers.get(name)
            if dialler is None:
                first = 0.0 if self.local.name < name else 1.0
                dialler = Dialler(self, name, self._connect, first, self._delay_max)
                self._diallers[name] = dialler
            dialler.go(places, linked=name in self._links)

    def start(self) -> None:
        """Begins to look after the links."""
        self._tick_at = self.clock.seconds() + self._interval
        self._ticker = self.clock.callLater(self._interval, self._tick)

    def stop(self, reason: str) -> None:
        """Says goodbye to all nodes, and makes no links any more."""
        self.stopped = True
        self.expect({})
        if self._ticker is not None:
            self._ticker.cancel()
            self._ticker = None
        for link in list(self._links.values()):
            link.say_goodbye(reason)
            link.stop()
        self._links.clear()
        for connection in list(self._pending):
            connection.drop()

    def _tick(self) -> None:
        now = self.clock.seconds()
        late = now - self._tick_at
        self._tick_at = now + self._interval
        self._ticker = self.clock.callLater(self._interval, self._tick)
        asleep = late > 2 * self._interval
        if asleep:
            # It was this node that slept: what the others sent meanwhile is read first.
            self.happenings.add("frozen", self.local.name, f"for {late:.1f} seconds")
        for link in list(self._links.values()):
            silent = now - link.connection.heard
            if silent >= 3 * self._interval and not asleep:
                self.give_up(link, f"silent for {silent:.1f} seconds")
            else:
                link.send_beat()

    # -- a link's Owner

    def dispatch(self, node: Node, channel: str, payload: bytes) -> None:
        """Hands on what has arrived."""
        receiver = self._receivers.get(channel)
        if receiver is None:
            self._nobody_takes(node, channel, payload)
            return
        try:
            receiver(node, payload)
        except Exception as error:  # boundary: what follows in the batch is others' business
            logger.error("link_receiver_failed channel=%s", channel, exc_info=error)

    def _nobody_takes(self, node: Node, channel: str, payload: bytes) -> None:
        """While this node starts, what takes it may not have been opened yet."""
        early = self._early.setdefault(channel, []) if self._expecting else None
        if early is not None and len(early) < _EARLY:
            early.append((node, payload))
        elif channel not in self._unknown and len(self._unknown) < 100:
            self._unknown.add(channel)
            logger.warning("link_channel_unknown peer=%s channel=%s", node.name, channel)

    def clock_differs(self, link: Link) -> None:
        """The clocks of two nodes are too far apart for what is ordered by time."""
        self.happenings.add("clock", link.node.name, f"is {link.skew:+.1f} seconds apart")
        logger.warning("node_clock_differs peer=%s seconds=%.1f", link.node.name, link.skew)

    def give_up(self, link: Link, reason: str) -> None:
        """The link is of no use any more."""
        self._down(link, reason)
        link.connection.drop()

    # -- a connection's Door

    def handshake(self, connection: LinkConnection, binding: bytes) -> Handshake:
        """The hello for a connection."""

        def judge(node: Node) -> Refused | None:
            return self._objection(node, connection)

        secret = self._secrets.cluster if binding else self._secrets.machine
        calling = connection.calling
        return Handshake(self.own, secret, judge, calling=calling, binding=binding)

    def _objection(self, node: Node, connection: LinkConnection) -> Refused | None:
        """Why a node that has proven itself is not welcome."""
        own = self.local
        if node == own:
            return Refused("it is the node itself", Why.ALREADY)
        if node.name == own.name:
            return Refused(f"two nodes have the name {own.name}")
        others = (link.node for name, link in self._links.items() if name != node.name)
        for other in (own, *others):
            if other.number == node.number:
                return Refused(f"{other.name} has the number {node.number} already")
        if connection.expected not in (None, node.name):
            return Refused(f"{node.name} answers where {connection.expected} should be")
        link = self._links.get(node.name)
        if link is not None:
            return self._rivalry(link, node, calling=connection.calling)
        called = not connection.calling and own.name < node.name
        if called and any(other.expected == node.name for other in self._pending):
            return Refused("the nodes are being linked already", Why.ALREADY)
        return None

    def _rivalry(self, link: Link, node: Node, *, calling: bool) -> Refused | None:
        """Whether a new connection replaces an established link."""
        if node.incarnation != link.node.incarnation:
            older = node.incarnation < link.node.incarnation
            return Refused(f"a newer process has the name {node.name}") if older else None
        if link.connection.calling == calling:
            return None  # who connects once more has lost the link
        by_lesser = (self.local.name < node.name) == calling
        return None if by_lesser else Refused("the nodes are linked already", Why.ALREADY)

    def admit(self, connection: LinkConnection) -> None:
        """A connection begins."""
        self._pending[connection] = None

    @property
    def strangers(self) -> int:
        """Connections to this node whose hello is not done."""
        return sum(not connection.calling for connection in self._pending)

    def introduced(self, connection: LinkConnection, agreed: Agreed) -> Link:
        """A node has proven itself; what it may call from now on."""
        link = Link(self, connection, agreed, self._queue_size, self._now)
        self._pending[connection] = link
        return link

    def established(self, connection: LinkConnection) -> None:
        """It can be called, too."""
        link = self._pending.pop(connection)
        assert link is not None
        objection = self._objection(link.node, connection)
        if objection is not None or self.stopped:
            connection.close()
            return
        old = self._links.get(link.node.name)
        if old is not None:
            self.give_up(old, "there is a new one")
        self._up(link)

    def _up(self, link: Link) -> None:
        node = link.node
        self._links[node.name] = link
        self._left.discard(node.name)
        if node.name in self._diallers:
            self._diallers[node.name].linked()
        self.happenings.add("joined", node.name, f"number {node.number}, {link.connection.address}")
        logger.info(
            "node_linked peer=%s number=%d address=%s version=%d",
            node.name, node.number, link.connection.address, link.agreed.version,
        )  # fmt: skip
        link.send_beat()
        for up, _ in self._watchers:
            up(node)

    def _down(self, link: Link, reason: str) -> None:
        node = link.node
        if self._links.get(node.name) is not link:
            return
        del self._links[node.name]
        link.stop()
        if link.farewell is not None:
            self._left.add(node.name)
            self.happenings.add("left", node.name, link.farewell)
            logger.info("node_left peer=%s reason=%s", node.name, link.farewell)
        else:
            LOST.of_node().inc()
            self.happenings.add("lost", node.name, reason)
            logger.warning("node_lost peer=%s reason=%s", node.name, reason)
        for _, down in self._watchers:
            down(node)
        if node.name in self._diallers:
            self._diallers[node.name].lost()

    def refused(self, connection: LinkConnection, refused: Refused) -> None:
        """There is no link."""
        self._pending.pop(connection, None)
        if refused.why is Why.FAULT:
            REFUSED.of_node().inc()
            self.happenings.add("refused", connection.address, str(refused))
            logger.warning("link_refused address=%s reason=%s", connection.address, refused)
        else:
            logger.debug("link_not_needed address=%s reason=%s", connection.address, refused)
        self._ended(connection, str(refused), fault=refused.why is Why.FAULT)

    def lost(self, connection: LinkConnection, reason: str) -> None:
        """The connection is gone, whatever it was."""
        if connection in self._pending:
            del self._pending[connection]
            if not self.stopped:
                REFUSED.of_node().inc()
                logger.warning("link_refused address=%s reason=%s", connection.address, reason)
                self.happenings.add("refused", connection.address, reason)
            self._ended(connection, reason, fault=True)
            return
        for link in list(self._links.values()):
            if link.connection is connection:
                self._down(link, reason)

    def _ended(self, connection: LinkConnection, reason: str, *, fault: bool) -> None:
        dialler = self._diallers.get(connection.expected or "")
        if dialler is not None:
            dialler.failed(reason, fault=fault)

    # -- what an operator asks

    def describe(self) -> list[dict[str, Any]]:
        """One entry for each other node that is linked or looked for."""
        found = []
        for name in sorted({*self._links, *self._diallers}):
            link, dialler = self._links.get(name), self._diallers.get(name)
            entry: dict[str, Any] = {"node": name, "linked": link is not None}
            if link is not None:
                entry |= _linked(link)
            elif dialler is not None:
                entry |= {"address": dialler.address, "problem": dialler.problem}
            found.append(entry)
        return found


def _linked(link: Link) -> dict[str, Any]:
    lag = None if link.lag is None else round(link.lag * 1000, 2)
    return {
        "number": link.node.number,
        "address": link.connection.address,
        "software": link.agreed.member.software,
        "version": link.agreed.version,
        "lag_ms": lag,
        "clock_skew_ms": round(link.skew * 1000, 1),
        "queued_bytes": link.outbox.held,
    }


class LinkFactory(Factory):
    """Makes the connections of nodes that connect to this one."""

    noisy = False

    def __init__(self, mesh: PBMesh) -> None:
        self._mesh = mesh

    def buildProtocol(self, addr: Any) -> LinkConnection | None:
        """Somebody has connected; None if too many have, without proving anything."""
        mesh = self._mesh
        if mesh.stopped or mesh.strangers >= STRANGERS:
            return None
        host = getattr(addr, "host", None)
        connection = LinkConnection(mesh, host or "unix")
        mesh.admit(connection)
        return connection
