"""What virtual users do: come and go, chat, change their presence, lose their connections."""

from typing import TYPE_CHECKING

from mongoosetw.testing.nodes import MemoryNode
from mongoosetw.xmpp.jid import JID
from tests.simulation.device import Device
from tests.simulation.messages import Message

if TYPE_CHECKING:  # types only
    from tests.simulation.world import World

_RESOURCES = ("phone", "desk", "tablet")
_ACTIONS = (
    ("chat", 40),
    ("chat_with_device", 25),
    ("change", 15),
    ("hide", 4),
    ("snap", 8),
    ("log_out", 4),
)


class Habits:
    """Decides what devices do, and when."""

    def __init__(self, world: "World") -> None:
        self._world = world
        self._random = world.random
        self._statuses = 0
        self._names = [name for name, _ in _ACTIONS]
        self._weights = [weight for _, weight in _ACTIONS]

    # -- who there is

    def devices_of(self, user: JID) -> list[Device]:
        """The devices of a user; two of them may want the same resource."""
        random = self._random
        managed = random.random() < 0.7
        names = list(_RESOURCES[: random.choice((1, 1, 2, 3))])
        if random.random() < 0.15:
            names.append(names[0])
        return [
            Device(
                self._world,
                user.with_resource(name),
                managed=managed or random.random() < 0.5,
                carbons=random.random() < 0.5,
                priority=random.choice((0, 0, 0, 5, 10, -1)),
            )
            for name in names
        ]

    def begin(self, device: Device) -> None:
        """A device becomes active."""
        device.wanted = self._random.random() < 0.8
        if device.wanted:
            self._come_back(device, self._random.uniform(0.0, 5.0))
        self._next(device)

    def _next(self, device: Device) -> None:
        delay = self._random.expovariate(self._world.plan.activity)
        self._world.clock.callLater(delay, self._act, device)

    def _act(self, device: Device) -> None:
        if self._world.quiet:
            return
        if device.bound:
            (name,) = self._random.choices(self._names, self._weights)
            getattr(self, f"_{name}")(device)
        elif not device.wanted and self._random.random() < 0.1:
            device.wanted = True
            self._come_back(device, 0.0)
        self._next(device)

    # -- what they do

    def _chat(self, device: Device) -> None:
        user = self._random.choice(self._world.rosters.users)
        contacts = list(self._world.rosters.seen_by(device.user))
        if contacts and self._random.random() < 0.8:
            user = self._random.choice(contacts)
        self._say(device, user)

    def _chat_with_device(self, device: Device) -> None:
        known = list(device.view)
        if known:
            self._say(device, self._random.choice(known))

    def _say(self, device: Device, to: JID) -> None:
        world = self._world
        for _ in range(self._random.choice((1, 1, 1, 2, 5))):
            number = len(world.messages) + 1
            message = Message(number, device.jid, device.binding, to, world.clock.seconds())
            world.messages[number] = message
            world.note(f"{device} says {number} to {to}")
            device.say(message)

    def _change(self, device: Device) -> None:
        if self._random.random() < 0.4:
            device.priority = self._random.choice((0, 0, 5, 10, -1))
        device.available(self._status())

    def _hide(self, device: Device) -> None:
        self._world.note(f"{device} hides")
        device.unavailable()

    def _snap(self, device: Device) -> None:
        device.snap(self._random.choice((0.0, 0.5, 5.0, 20.0)))

    def _log_out(self, device: Device) -> None:
        device.wanted = False
        device.log_out()

    def _status(self) -> str:
        self._statuses += 1
        return f"s{self._statuses}"

    # -- what happens to them

    def begun(self, device: Device) -> None:
        """A session has begun: nearly all devices go online at once."""
        if self._world.quiet or self._random.random() < 0.95:
            device.available(self._status())

    def disconnected(self, device: Device) -> None:
        """A device without a connection comes back; one that was replaced does not, for now."""
        if device.told == "conflict":
            device.wanted = False
        if device.wanted:
            self._come_back(device, self._random.choice((0.2, 2.0, 10.0)) * self._random.random())

    def _come_back(self, device: Device, delay: float) -> None:
        self._world.clock.callLater(delay, self._connect, device)

    def _connect(self, device: Device) -> None:
        if device.line is not None or not device.wanted:
            return
        nodes = self._world.usable()
        if not nodes:
            self._come_back(device, 1.0)
            return
        device.connect(self._place(device, nodes))

    def _place(self, device: Device, nodes: list[MemoryNode]) -> MemoryNode:
        last = [node for node in nodes if node.name == device.last_node]
        return last[0] if last and self._random.random() < 0.5 else self._random.choice(nodes)

    def everybody_comes(self) -> None:
        """Each user has a device online that takes messages."""
        by_user: dict[JID, list[Device]] = {}
        for device in self._world.devices:
            by_user.setdefault(device.user, []).append(device)
        for devices in by_user.values():
            if any(d.bound and d.status is not None and d.priority >= 0 for d in devices):
                continue
            device = next((d for d in devices if d.bound), devices[0])
            device.priority = max(0, device.priority)
            device.wanted = True
            if device.bound:
                device.available(self._status())
            else:
                self._connect(device)
