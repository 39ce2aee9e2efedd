"""A cluster, its users and their devices, played from one seed."""

import hashlib
from collections import deque
from collections.abc import Callable
from random import Random
from types import SimpleNamespace

from twisted.internet.defer import Deferred

from mongoosetw.testing.nodes import MemoryCluster, MemoryNode
from mongoosetw.xmpp.jid import JID
from tests.simulation.clock import HeapClock
from tests.simulation.device import Device
from tests.simulation.faults import Faults
from tests.simulation.habits import Habits
from tests.simulation.messages import Message
from tests.simulation.plan import Plan
from tests.simulation.rosters import Rosters

RESUME_TIMEOUT = 30
NOTICED_AFTER = 20.0
"""Longest time until a server notices that a device's connection is gone."""
MODULES = {
    "mod_roster": "modules.mod_roster:Roster",
    "mod_presence": "modules.mod_presence:Presence",
    "mod_carboncopy": "modules.mod_carboncopy:Carbons",
    "mod_offline": "modules.mod_offline:Offline",
    "mod_stream_management": "modules.mod_stream_management:StreamManagement",
}
"""With their classes: to look for them takes longer than to start them."""
CONFIGURATION = (
    "[general]\nhosts = ['localhost']\n[[listen.c2s]]\nport = 5222\n[auth]\nmethods = ['dummy']\n"
    + "".join(f"[modules.{name}]\nclass = '{cls}'\n" for name, cls in MODULES.items())
    + f"resume_timeout = {RESUME_TIMEOUT}\n"
)


def _configuration(plan: Plan) -> str:
    if not plan.redis:
        return CONFIGURATION
    return CONFIGURATION.replace("[general]\n", "[general]\nsm_backend = 'redis'\n")


class World:
    """Everything there is.

    :ivar random: all that users do by chance; the network has a generator of its own.
    :ivar problems: what was found wrong while it ran.
    :ivar bindings: how many sessions there have been.
    """

    def __init__(self, plan: Plan, told: Callable[[str], object] = lambda event: None) -> None:
        """
        :param told: each event as it happens.
        """
        self.plan = plan
        self._told = told
        self.random = Random(plan.seed)
        self.clock = HeapClock()
        self.cluster = MemoryCluster(
            self.clock, _configuration(plan), seed=plan.seed, latency=plan.latency
        )
        self.cluster.redis.latency = 2 * sum(plan.latency) / 2
        self.access = SimpleNamespace(
            clock=self.clock, random=Random(plan.seed + 1), latency=(0.001, 0.05)
        )
        self.messages: dict[int, Message] = {}
        self.risks: dict[JID, list[tuple[float, float]]] = {}
        self.problems: list[str] = []
        self.bindings = 0
        self.leaving: dict[str, Deferred[None]] = {}
        self.events: deque[str] = deque(maxlen=80)
        self._digest = hashlib.blake2b()
        self.quiet = False
        for n in range(plan.nodes):
            self.start_node(f"n{n}")
        users = [JID.parse(f"u{n}@localhost") for n in range(plan.users)]
        self.rosters = Rosters(users, self.random)
        self.rosters.store(self.cluster.database())
        self.habits = Habits(self)
        self.faults = Faults(self)
        self.devices = [device for user in users for device in self.habits.devices_of(user)]

    # -- the run

    def play(self) -> None:
        """Users are busy and faults happen; then all is healed, and time passes."""
        self.clock.run_until(5.0)
        for device in self.devices:
            self.habits.begin(device)
        self.faults.begin()
        self.clock.run_until(5.0 + self.plan.seconds)
        self.note("all is healed")
        self.quiet = True
        self.faults.end()
        self.rest(NOTICED_AFTER + RESUME_TIMEOUT + 40.0)

    def collect(self) -> None:
        """Every user comes online for what is waiting, and asks what was taken."""
        self.habits.everybody_comes()
        self.rest(20.0)
        for device in self.devices:
            device.ask()
        self.rest(5.0)

    def rest(self, seconds: float) -> None:
        """Lets time pass."""
        self.clock.run_until(self.clock.seconds() + seconds)

    def note(self, text: str) -> None:
        """Writes down what happens."""
        line = f"{self.clock.seconds():9.4f} {text}"
        self.events.append(line)
        self._told(line)
        self._digest.update(line.encode())

    @property
    def digest(self) -> str:
        """Of all that has happened: equal for equal runs only."""
        return self._digest.hexdigest()

    def problem(self, text: str) -> None:
        """Something is wrong."""
        self.note(f"PROBLEM: {text}")
        self.problems.append(text)

    # -- nodes

    def start_node(self, name: str) -> MemoryNode:
        """Starts a node, whose clock may be wrong."""
        skew = self.random.choice((0.0, 0.0, -1.5, 1.5, -40.0, 40.0)) if self.plan.skewed else 0.0
        self.note(f"{name} starts, {skew:+} seconds")
        node = self.cluster.start(name, skew)
        node.started.addErrback(lambda failure: self.problem(f"{name} fails: {failure}"))
        node.mesh.watch(
            lambda peer: self.note(f"{name} has a link to {peer.name}"),
            lambda peer: self.note(f"{name} has lost its link to {peer.name}"),
        )
        return node

    def usable(self) -> list[MemoryNode]:
        """The nodes that take clients."""
        return [node for node in self.cluster.nodes.values() if not node.clock.frozen]

    def takes_clients(self, node: MemoryNode) -> bool:
        """Whether its port is open."""
        return self.cluster.nodes.get(node.name) is node

    def kill_node(self, name: str, *, power: bool) -> None:
        """Kills a node; its devices notice sooner or later."""
        self.note(f"{name} is killed{' by a power failure' if power else ''}")
        node = self.cluster.nodes[name]
        for device in self.devices:
            line = device.line
            if line is not None and line.node is node:
                self.risky(device)
                line.sever(self.random.uniform(1.0, 20.0) if power else 0.0)
        self.cluster.kill(name, power=power)

    def leave_node(self, name: str) -> None:
        """Has a node leave."""
        self.note(f"{name} is about to leave")
        node = self.cluster.nodes[name]

        def left(result: object) -> None:
            self.note(f"{name} has left")
            del self.leaving[name]
            node.clock.kill()
            self._refuse(node)
            if result is not None:
                self.problem(f"{name} could not leave: {result}")

        self.leaving[name] = self.cluster.leave(name)
        self.leaving[name].addBoth(left)

    def _refuse(self, node: MemoryNode) -> None:
        """Who was about to connect to a node that has ended is told: its port is closed."""
        for device in self.devices:
            line = device.line
            if line is not None and line.node is node and line.protocol is None:
                line.sever(0.0)

    # -- what devices tell

    def began(self, device: Device) -> None:
        """A device has a session."""
        self.habits.begun(device)

    def disconnected(self, device: Device) -> None:
        """A device has no connection any more."""
        self.habits.disconnected(device)

    def asked(self, device: Device) -> None:
        """A device is asked for an acknowledgement."""
        if self.quiet or self.random.random() < 0.9:
            device.acknowledge()
        else:
            self.clock.callLater(self.random.uniform(0.5, 4.0), device.acknowledge)

    def saw(self, device: Device, sender: JID) -> None:
        """A device is told of somebody's presence."""
        user = sender.bare
        if user != device.user and user not in self.rosters.seen_by(device.user):
            self.problem(f"{device} sees {sender}, a stranger")

    def received(self, device: Device, message: Message) -> None:
        """A device has got a message."""
        if message.to.bare != device.user:
            self.problem(f"{device} gets {message}")

    def risky(self, device: Device) -> None:
        """A connection is lost, and what is on its way to a session that does not acknowledge."""
        if device.bound and not device.safe:
            now = self.clock.seconds()
            risks = self.risks.setdefault(device.user, [])
            risks.append((device.bound_at - 1.0, now + NOTICED_AFTER))
