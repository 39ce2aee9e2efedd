"""Links between the nodes of a test, in memory: wires that can be slow, cut, or cut one way.

They behave as the ones of :mod:`mongoosetw.cluster.links` do over TCP: what is sent arrives in
order; what is on a wire that is cut arrives when it is mended; a node that hears nothing of
another one gives the link up, within ``peer_timeout``, and the other end is told where it can
be; nodes without a link look for one another again.
"""

from collections import Counter, deque
from collections.abc import Callable
from random import Random
from typing import Any

from mongoosetw.cluster.mesh import Node, Receiver

Range = tuple[float, float]


class Wire:
    """What one node sends to another one, in one direction, first in, first out.

    :ivar cut: nothing arrives.
    :ivar dead: the sender is frozen or has lost its power: nothing is sent.
    :ivar slower: seconds that everything takes longer.
    :ivar silences: how often it has become silent.
    """

    def __init__(self, network: "MemoryNetwork") -> None:
        self.cut = False
        self.dead = False
        self.slower = 0.0
        self.silences = 0
        self._network = network
        self._carried: deque[Callable[[], object]] = deque()
        self._stuck = 0
        self._last = 0.0

    @property
    def silent(self) -> bool:
        """Whether the receiver hears nothing."""
        return self.cut or self.dead

    def carry(self, deliver: Callable[[], object]) -> None:
        """Has something done at the other end, after all that is on the wire."""
        network = self._network
        now = network.clock.seconds()
        self._last = max(self._last, now + self.slower + network.random.uniform(*network.latency))
        self._carried.append(deliver)
        network.clock.callLater(self._last - now, self._arrive)

    def _arrive(self) -> None:
        if self.cut:
            self._stuck += 1
        else:
            self._carried.popleft()()

    def mend(self) -> None:
        """What is on the wire arrives."""
        self.cut = False
        stuck, self._stuck = self._stuck, 0
        for _ in range(stuck):
            self._network.clock.callLater(0, self._arrive)


class End:
    """One end of a link.

    :ivar node: at the other end.
    :ivar open: it is up, or about to come up.
    :ivar waiting: bytes that were sent and have not arrived.
    :ivar leaving: the node has said goodbye.
    """

    other: "End"

    def __init__(self, mesh: "MemoryMesh", node: Node, wire: Wire) -> None:
        self.mesh = mesh
        self.node = node
        self.open = True
        self.waiting = 0
        self.leaving = False
        self.wire = wire
        self._batch: list[tuple[str, bytes]] = []

    def put(self, channel: str, payload: bytes) -> bool:
        """Queues a payload; what one turn sends leaves together."""
        if self.waiting + len(payload) > self.mesh.network.queue_size:
            return False
        self.waiting += len(payload)
        if not self._batch:
            self.mesh.clock.callLater(0, self.flush)
        self._batch.append((channel, payload))
        return True

    def extend(self, channel: str, more: bytes) -> bool:
        """Adds to the payload that this turn has queued last, if it went to the channel."""
        if not self._batch or self._batch[-1][0] != channel:
            return False
        if self.waiting + len(more) > self.mesh.network.queue_size:
            return False
        self.waiting += len(more)
        self._batch[-1] = (channel, self._batch[-1][1] + more)
        return True

    def flush(self) -> None:
        """Sends what the turn has queued."""
        batch, self._batch = self._batch, []
        if batch and self.open:
            self.mesh.network.count(batch)
            self.carry(lambda: self.other.take(batch))

    def carry(self, deliver: Callable[[], object]) -> None:
        """Has the other node's process do something, when it comes to it."""
        clock = self.other.mesh.clock
        self.wire.carry(lambda: clock.callLater(0, deliver))

    def take(self, batch: list[tuple[str, bytes]]) -> None:
        """Hands on what the other node has sent."""
        self.other.waiting -= sum(len(payload) for _, payload in batch)
        for channel, payload in batch:
            if self.open:
                self.mesh.dispatch(self.node, channel, payload)

    def close(self) -> None:
        """Closes the connection; the other end is told."""
        self.open = False
        self.carry(self.other.ended)

    def lose(self) -> None:
        """The link is of no use any more."""
        if self.open:
            self.close()
            self.mesh.lost(self)

    def ended(self) -> None:
        """The other end has closed the connection."""
        if self.open:
            self.open = False
            self.mesh.lost(self)


class MemoryMesh:
    """A :class:`~mongoosetw.cluster.mesh.Mesh` of a test.

    :ivar ends: of the links that are up, by the name of the other node.
    :ivar opening: of those that are about to come up.
    """

    def __init__(self, network: "MemoryNetwork", node: Node, clock: Any) -> None:
        self.network = network
        self.clock = clock
        self.ends: dict[str, End] = {}
        self.opening: dict[str, End] = {}
        self._local = node
        self._receivers: dict[str, Receiver] = {}
        self._left: set[str] = set()
        self._watchers: list[tuple[Callable[[Node], None], Callable[[Node], None]]] = []

    @property
    def local(self) -> Node:
        """This node."""
        return self._local

    @property
    def peers(self) -> dict[str, Node]:
        """The nodes whose links are up, by name."""
        return {name: end.node for name, end in self.ends.items()}

    def send(self, peer: str, channel: str, payload: bytes, *, patient: bool = False) -> bool:
        """Queues a payload for a node; False if there is no link, or no room."""
        end = self.ends.get(peer)
        return end is not None and end.put(channel, payload)

    def extend(self, peer: str, channel: str, more: bytes) -> bool:
        """Adds to the payload that was queued last for a node, if it is still here."""
        end = self.ends.get(peer)
        return end is not None and end.extend(channel, more)

    def broadcast(self, channel: str, payload: bytes) -> None:
        """Queues a payload for every node; one that has no room for it is given up."""
        for end in list(self.ends.values()):
            if end.open and not end.put(channel, payload):
                end.lose()

    def queued(self, peer: str) -> int:
        """How many bytes wait for a node, or are on their way to it."""
        end = self.ends.get(peer)
        return 0 if end is None else end.waiting

    def receive(self, channel: str, receiver: Receiver) -> None:
        """Names who takes what arrives on a channel; one receiver a channel."""
        assert channel not in self._receivers, f"channel {channel} is taken"
        self._receivers[channel] = receiver

    def left(self, peer: str) -> bool:
        """Whether a node, whose link is down, had said goodbye."""
        return peer in self._left

    @property
    def awaited(self) -> bool:
        """Whether a link is about to come up; nothing is known before of who there is."""
        return bool(self.opening)

    def watch(self, up: Callable[[Node], None], down: Callable[[Node], None]) -> None:
        """Has changes told: a link is up, before anything arrives on it; a link is down."""
        self._watchers.append((up, down))

    def start(self) -> None:
        """Begins to look for the other nodes."""
        self.network.enter(self)

    def stop(self) -> None:
        """Sends what is queued, closes all links, and makes no more."""
        self.network.leave(self)
        for end in self.open_ends():
            end.flush()
            end.leaving = True
            end.close()

    def open_ends(self) -> list[End]:
        """The ends of links that are up, or about to come up."""
        return [*self.ends.values(), *self.opening.values()]

    def dispatch(self, node: Node, channel: str, payload: bytes) -> None:
        """Hands on what has arrived."""
        receiver = self._receivers.get(channel)
        if receiver is not None:
            receiver(node, payload)

    def up(self, end: End) -> None:
        """A link has come up, maybe in place of one whose loss was not noticed yet."""
        name = end.node.name
        if not end.open:
            return
        if name in self.ends:
            self.ends[name].lose()
        del self.opening[name]
        self.ends[name] = end
        self._left.discard(name)
        for up, _ in self._watchers:
            up(end.node)

    def lost(self, end: End) -> None:
        """A link is gone."""
        name = end.node.name
        if self.opening.get(name) is end:
            del self.opening[name]
        elif self.ends.get(name) is end:
            del self.ends[name]
            if end.other.leaving:
                self._left.add(name)
            for _, down in self._watchers:
                down(end.node)
        self.network.look(self.local.name, name, self.network.reconnect_delay)


class MemoryNetwork:
    """The wires between the nodes of a test.

    :ivar random: all that is left to chance.
    :ivar payloads: how many were sent, by channel; ``bytes``: how long they were.
    """

    def __init__(
        self,
        clock: Any,
        *,
        seed: int = 0,
        latency: Range = (0.0, 0.0),
        peer_timeout: float = 10.0,
        reconnect_delay: float = 5.0,
        queue_size: int = 16 * 1024 * 1024,
    ) -> None:
        """
        :param clock: a test's.
        :param latency: least and longest seconds that something takes on a wire.
        :param peer_timeout: longest time until silence is noticed, at least three quarters of it.
        :param reconnect_delay: longest time until nodes without a link try again.
        :param queue_size: bytes that may wait for one node.
        """
        self.clock = clock
        self.random = Random(seed)
        self.latency = latency
        self.peer_timeout = peer_timeout
        self.reconnect_delay = reconnect_delay
        self.queue_size = queue_size
        self.payloads: Counter[str] = Counter()
        self.bytes: Counter[str] = Counter()
        self._meshes: dict[str, MemoryMesh] = {}
        self._wires: dict[tuple[str, str], Wire] = {}

    def mesh(self, node: Node, clock: Any = None) -> MemoryMesh:
        """The links of a new node, or of a new process of one.

        :param clock: the node's, see :class:`~mongoosetw.testing.clock.NodeClock`.
        """
        return MemoryMesh(self, node, self.clock if clock is None else clock)

    def wire(self, sender: str, receiver: str) -> Wire:
        """What a node sends to another one."""
        found = self._wires.get((sender, receiver))
        if found is None:
            found = self._wires[sender, receiver] = Wire(self)
        return found

    def count(self, batch: list[tuple[str, bytes]]) -> None:
        """Counts what is sent."""
        for channel, payload in batch:
            self.payloads[channel] += 1
            self.bytes[channel] += len(payload)

    # -- faults

    def cut(self, a: str, b: str, *, one_way: bool = False) -> None:
        """Nothing that ``a`` sends arrives at ``b``; nor the other way, unless told so."""
        for sender, receiver in [(a, b)] if one_way else [(a, b), (b, a)]:
            wire = self.wire(sender, receiver)
            if not wire.silent:
                self._fall_silent(wire, receiver, sender)
            wire.cut = True

    def heal(self, a: str, b: str) -> None:
        """What was cut is whole again; what is on the wires arrives."""
        for wire in (self.wire(a, b), self.wire(b, a)):
            if wire.cut:
                wire.mend()

    def heal_all(self) -> None:
        """The same for all nodes."""
        for wire in self._wires.values():
            if wire.cut:
                wire.mend()

    def hurry(self) -> None:
        """No wire is slower than the others any more."""
        for wire in self._wires.values():
            wire.slower = 0.0

    def freeze(self, name: str) -> None:
        """The others hear nothing of a node. Its clock is frozen by whoever has it."""
        for other in list(self._meshes):
            if other != name:
                self._deaden(name, other)

    def thaw(self, name: str) -> None:
        """They hear it again."""
        self._revive(name)

    def _revive(self, name: str) -> None:
        for (sender, _), wire in self._wires.items():
            if sender == name:
                wire.dead = False

    def kill(self, name: str, *, power: bool = False) -> None:
        """A process is no more; its system closes its connections, unless that has no power."""
        mesh = self._meshes.pop(name)
        for end in mesh.open_ends():
            if power:
                self._deaden(name, end.node.name)
                end.open = False
            else:
                end.close()

    def _deaden(self, name: str, other: str) -> None:
        wire = self.wire(name, other)
        if not wire.silent:
            self._fall_silent(wire, other, name)
        wire.dead = True

    def _fall_silent(self, wire: Wire, receiver: str, sender: str) -> None:
        """Has the receiver notice, unless it hears the sender again in time."""
        wire.silences = silences = wire.silences + 1
        mesh = self._meshes.get(receiver)
        ends = [] if mesh is None else [e for e in mesh.open_ends() if e.node.name == sender]

        def notice() -> None:
            silent = wire.silent and wire.silences == silences
            for end in ends:
                if silent or not end.other.open:
                    end.lose()

        if mesh is not None and ends:
            delay = self.random.uniform(0.75, 1.0) * self.peer_timeout
            mesh.clock.callLater(delay, notice)

    # -- who looks for whom

    def enter(self, mesh: MemoryMesh) -> None:
        """A node looks for the others."""
        name = mesh.local.name
        self._revive(name)
        for other in self._meshes:
            self.look(name, other, 0.0)
        self._meshes[name] = mesh

    def leave(self, mesh: MemoryMesh) -> None:
        """A node looks for nobody any more."""
        if self._meshes.get(mesh.local.name) is mesh:
            del self._meshes[mesh.local.name]

    def look(self, a: str, b: str, longest: float) -> None:
        """Has two nodes try to link, within so many seconds."""
        delay = self.random.uniform(0.0, longest)
        self.clock.callLater(delay, self._dial, min(a, b), max(a, b))

    def _dial(self, a: str, b: str) -> None:
        mine, theirs = self._meshes.get(a), self._meshes.get(b)
        if mine is None or theirs is None or self._linked(mine, theirs):
            return
        if self.wire(a, b).silent or self.wire(b, a).silent:
            self.look(a, b, self.reconnect_delay)
        else:
            self._connect(mine, theirs)

    def _linked(self, mine: MemoryMesh, theirs: MemoryMesh) -> bool:
        """Whether both ends of one link are open."""
        name = theirs.local.name
        ends = [e for e in mine.open_ends() if e.node.name == name]
        return any(e.other.open and e.other.mesh is theirs for e in ends)

    def _connect(self, mine: MemoryMesh, theirs: MemoryMesh) -> None:
        """A call, its answer, and the caller's consent: each end is up when it knows enough."""
        a, b = mine.local, theirs.local
        calling = End(mine, b, self.wire(a.name, b.name))
        called = End(theirs, a, self.wire(b.name, a.name))
        calling.other, called.other = called, calling
        for end in (calling, called):
            older = end.mesh.opening.get(end.node.name)
            if older is not None:
                older.lose()
            end.mesh.opening[end.node.name] = end

        def answered() -> None:
            mine.up(calling)
            if calling.open:
                calling.carry(lambda: theirs.up(called))

        calling.carry(lambda: called.carry(answered))
