"""Two users with several devices each, driven at random against a small model of delivery.

Whatever devices do, in whatever order: no message is lost, none that has arrived is delivered
again, and none overtakes another.
"""

import os
from dataclasses import dataclass, field
from typing import Any

from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, precondition, rule, run_state_machine_as_test
from twisted.trial.unittest import SynchronousTestCase

from mongoosetw.testing.client import Client
from mongoosetw.testing.server import ServerTestCase
from mongoosetw.xmpp import ns
from mongoosetw.xmpp.stanza import Stanza

USERS = ("romeo", "juliet")
RESOURCES = ("phone", "desk", "web")
EXAMPLES = int(os.environ.get("DELIVERY_EXAMPLES", "40"))


class Story(ServerTestCase):
    """The server of one run."""

    modules = {
        "mod_presence": {},
        "mod_carboncopy": {},
        "mod_offline": {"access_max_user_messages": "many"},
        "mod_stream_management": {},
        "mod_mam": {},
    }
    extra = """
        [acl]
        all = [{match = "all"}]
        [access]
        many = [{acl = "all", value = "infinity"}]
    """

    def runTest(self) -> None:
        """The state machine runs it."""


@dataclass
class Device:
    """One session of a user, resumptions included.

    :ivar direct: numbers of the messages that it was sent, in order.
    :ivar unacknowledged: those of them that it has not acknowledged.
    """

    user: str
    client: Client
    managed: bool
    connected: bool = True
    direct: list[int] = field(default_factory=list)
    live: list[int] = field(default_factory=list)
    copies: list[int] = field(default_factory=list)
    unacknowledged: list[int] = field(default_factory=list)


class DeliveryMachine(RuleBasedStateMachine):
    """The rules, and what must hold after each."""

    without = ()

    def __init__(self) -> None:
        super().__init__()
        self.story = Story("runTest")
        self.story.setUp()
        for user in USERS:
            self.story.register(f"{user}@localhost")
        self.devices: dict[tuple[str, str], Device] = {}
        self.sent: dict[str, list[int]] = {user: [] for user in USERS}
        self.arrived: dict[str, set[int]] = {user: set() for user in USERS}
        self.settled: dict[str, set[int]] = {user: set() for user in USERS}
        self.number = 0

    # -- devices

    def connected(self) -> list[Device]:
        """All devices with a connection."""
        return [device for device in self.devices.values() if device.connected]

    @rule(
        user=st.sampled_from(USERS),
        resource=st.sampled_from(RESOURCES),
        managed=st.booleans(),
        priority=st.sampled_from([-1, 0, 0, 0, 1]),
        copies=st.booleans(),
        reads_archive=st.sampled_from([0, 0, 1, 2, 100]),
    )
    def log_in(
        self,
        user: str,
        resource: str,
        managed: bool,
        priority: int,
        copies: bool,
        reads_archive: int,
    ) -> None:
        """A device comes; it may take the place of its own earlier session."""
        known = self.devices.get((user, resource))
        if known is not None and known.connected:
            return
        client = self.story.connect(f"{user}@localhost/{resource}")
        device = self.devices[user, resource] = Device(user, client, managed)
        if managed:
            client.enable_sm()
        if copies:
            client.request(f"<iq type='set' id='c'><enable xmlns='{ns.CARBONS}'/></iq>")
        self.look()  # the session that was there before may have left something to others
        if reads_archive:
            self.read_archive(device, reads_archive)
        self.be_present(device, priority)
        self.look()

    def read_archive(self, device: Device, pages: int) -> None:
        """Reads the newest messages of the archive, before it is available."""
        query = f"<query xmlns='{ns.MAM}'><set xmlns='{ns.RSM}'><max>{pages}</max><before/></set>"
        device.client.send(f"<iq type='set' id='m'>{query}</query></iq>")
        for stanza in self.taken(device):
            result = stanza.child(ns.MAM, "result")
            if result is not None:
                message = next(e for e in result.forwarded.elements() if e.name == "message")
                if message["to"].startswith(device.user):
                    number = int(str(message.body))
                    self.arrived[device.user].add(number)
                    self.settled[device.user].add(number)

    def be_present(self, device: Device, priority: int) -> None:
        """Sends presence."""
        device.client.send(f"<presence><priority>{priority}</priority></presence>")

    @rule(data=st.data(), priority=st.sampled_from([-1, 0, 1]))
    @precondition(lambda self: self.connected())
    def change_priority(self, data: st.DataObject, priority: int) -> None:
        """A device changes its priority."""
        self.be_present(data.draw(st.sampled_from(self.connected())), priority)
        self.look()

    @rule(data=st.data(), full=st.booleans(), count=st.integers(1, 3))
    @precondition(lambda self: self.connected())
    def send(self, data: st.DataObject, full: bool, count: int) -> None:
        """A device sends messages to the other user."""
        self.send_from(data.draw(st.sampled_from(self.connected())), full, count, data)
        self.look()

    def send_from(self, sender: Device, full: bool, count: int, data: st.DataObject) -> None:
        """Sends numbered messages."""
        peer = USERS[sender.user == USERS[0]]
        to = f"{peer}@localhost"
        if full:
            to += "/" + data.draw(st.sampled_from(RESOURCES))
        for _ in range(count):
            self.number += 1
            self.sent[peer].append(self.number)
            sender.client.send(
                f"<message to='{to}' type='chat' id='{self.number}'>"
                f"<body>{self.number}</body></message>"
            )

    @rule(data=st.data(), meanwhile=st.integers(0, 3), seen=st.booleans())
    @precondition(lambda self: self.connected())
    def lose(self, data: st.DataObject, meanwhile: int, seen: bool) -> None:
        """A connection breaks; what was on the way may not have been seen."""
        device = data.draw(st.sampled_from(self.connected()))
        others = [d for d in self.connected() if d.user != device.user]
        if others and meanwhile:
            self.send_from(data.draw(st.sampled_from(others)), False, meanwhile, data)
        if seen or not device.managed:
            self.look_at(device)
        device.client.lose()
        device.connected = False
        self.look()

    @rule(data=st.data())
    @precondition(lambda self: any(d.managed and not d.connected for d in self.devices.values()))
    def resume(self, data: st.DataObject) -> None:
        """A device comes back to its session, if that is still there."""
        gone = [d for d in self.devices.values() if d.managed and not d.connected]
        device = data.draw(st.sampled_from(gone))
        if self.story.host.sessions.get(device.client.jid) is None:
            return
        had = len(device.direct)
        device.client = device.client.resume()
        device.connected = True
        device.unacknowledged.clear()  # it has told the server what it had
        # What its stream owes it comes, even if another device has found it in the archive
        self.look_at(device, owed=True)
        self.settled[device.user].update(device.direct)
        device.unacknowledged = device.direct[had:]
        self.settled[device.user].difference_update(device.unacknowledged)
        self.look()

    @rule(data=st.data())
    @precondition(lambda self: any(d.managed for d in self.connected()))
    def acknowledge(self, data: st.DataObject) -> None:
        """A device acknowledges all that it has."""
        device = data.draw(st.sampled_from([d for d in self.connected() if d.managed]))
        self.look_at(device)
        device.client.ack()
        self.settled[device.user].update(device.unacknowledged)
        device.unacknowledged.clear()
        self.look()

    @rule(data=st.data())
    @precondition(lambda self: self.connected())
    def close(self, data: st.DataObject) -> None:
        """A device closes its stream."""
        device = data.draw(st.sampled_from(self.connected()))
        self.look_at(device)
        device.client.send("</stream:stream>")
        device.client.lose()
        device.connected = False
        del self.devices[device.user, str(device.client.jid.resource)]
        self.look()

    @rule(seconds=st.sampled_from([1, 3, 30, 700]))
    def wait(self, seconds: int) -> None:
        """Time goes by; sessions that nobody resumes end."""
        for _ in range(3):
            self.story.clock.advance(seconds / 3)
            self.story.settle()
        self.look()

    # -- what devices see

    def taken(self, device: Device) -> list[Stanza]:
        """What has arrived at a device."""
        found = device.client.received
        device.client.events.clear()
        return found

    def look(self) -> None:
        """Every connected device looks at what has arrived."""
        self.story.settle()
        fresh = [(device, self.look_at(device)) for device in self.connected()]
        for device, numbers in fresh:
            self.arrived[device.user].update(numbers)
            if not device.managed:
                self.settled[device.user].update(numbers)

    def look_at(self, device: Device, *, owed: bool = False) -> list[int]:
        """One device does; checks the promises."""
        numbers = []
        for stanza in self.taken(device):
            if stanza.kind != "message":
                continue
            assert stanza.type != "error", stanza.to_bytes()
            if stanza.has(ns.CARBONS, "received") or stanza.has(ns.CARBONS, "sent"):
                continue
            assert stanza.body, stanza.to_bytes()
            number = int(stanza.body)
            late = stanza.has(ns.DELAY, "delay")
            assert number not in device.direct, f"{number} twice to {device.client.jid}"
            settled = number in self.settled[device.user] and not owed
            assert not settled, f"{number} had arrived before"
            if not late:
                assert not device.live or number > device.live[-1], f"{number} was overtaken"
                device.live.append(number)
            device.direct.append(number)
            numbers.append(number)
            if device.managed:
                device.unacknowledged.append(number)
        self.arrived[device.user].update(numbers)
        return numbers

    # -- the end

    def teardown(self) -> None:
        """When everybody has gone and come again, every message has arrived."""
        try:
            self.check()
        finally:
            self.story.doCleanups()

    def check(self) -> None:
        """Checks that nothing was lost."""
        for device in self.connected():
            self.look_at(device)
            device.client.lose()
        self.story.clock.advance(700)
        self.story.settle()
        for user in USERS:
            client = self.story.connect(f"{user}@localhost/last")
            device = Device(user, client, managed=False)
            self.be_present(device, 0)
            self.story.settle()
            late = self.look_at(device)
            assert late == sorted(late), f"{late} out of order"
            lost = set(self.sent[user]) - self.arrived[user]
            assert not lost, f"{lost} never reached {user}"
            assert self.archive(client) == sorted(self.sent[USERS[0]] + self.sent[USERS[1]])

    def archive(self, client: Client) -> list[int]:
        """The numbers of all messages of an archive."""
        numbers: list[int] = []
        after = ""
        while True:
            rsm = f"<set xmlns='{ns.RSM}'><max>20</max>{after}</set>"
            client.send(f"<iq type='set' id='q'><query xmlns='{ns.MAM}'>{rsm}</query></iq>")
            *found, end = [s for s in client.received if s.kind == "iq" or s.has(ns.MAM, "result")]
            client.events.clear()
            results: list[Any] = [stanza.child(ns.MAM, "result") for stanza in found]
            for result in results:
                message = next(e for e in result.forwarded.elements() if e.name == "message")
                numbers.append(int(str(message.body)))
            fin: Any = end.child(ns.MAM, "fin")
            if fin.getAttribute("complete") == "true":
                return numbers
            after = f"<after>{fin.set.last}</after>"


class DeliveryModelTests(SynchronousTestCase):
    """Runs the machine."""

    def test_nothing_lost_doubled_or_reordered(self) -> None:
        """Each message arrives once, in order, whatever devices do."""
        run_state_machine_as_test(
            DeliveryMachine,
            settings=settings(
                max_examples=EXAMPLES,
                stateful_step_count=25,
                suppress_health_check=list(HealthCheck),
                phases=[Phase.explicit, Phase.reuse, Phase.generate],
                report_multiple_bugs=False,
            ),
        )
