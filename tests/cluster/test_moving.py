"""Messages stay in order while their recipient moves from node to node."""

from random import Random

from mongoosetw.hooks.bus import Order
from mongoosetw.hooks.c2s import UserReceiveMessage
from mongoosetw.testing.client import Client
from mongoosetw.testing.cluster import ClusterTestCase
from mongoosetw.xmpp.stanza import Stanza

PHONE = "juliet@localhost/phone"


class MovingTests(ClusterTestCase):
    """Romeo, at a, writes numbers to Juliet, whose phone is now at this node, now at that one."""

    nodes = ("a", "b", "c", "d")
    modules = {"mod_roster": {}, "mod_presence": {}}
    latency = (0.001, 0.05)

    def setUp(self) -> None:
        """Connects Romeo."""
        super().setUp()
        self.romeo = self.connect("romeo@localhost/orchard", "a")
        self.phones: list[Client] = []
        self.sent = 0
        self.arrived: list[int] = []
        for node in self.nodes:
            hooks = self.host(node).hooks
            hooks.add(UserReceiveMessage, Order.LAST, "test", self.arrives)
            hooks.publish()

    def arrives(self, event: UserReceiveMessage) -> None:
        """A message has come to one of the phone's sessions, whichever it is now."""
        if event.stanza.type != "error":
            self.arrived.append(int(event.stanza.id))

    def move(self, node: str) -> None:
        """Juliet's phone comes back at a node, where nobody knows that its old stream is dead."""
        self.phones.append(self.connect(PHONE, node))

    def write(self) -> None:
        """Romeo writes the next number."""
        self.romeo.send(f"<message to='{PHONE}' type='chat' id='{self.sent}'/>")
        self.sent += 1

    def check_streams(self) -> None:
        """What has arrived was written to the phone's streams, to each in order."""
        got = [[int(s.id) for s in p.received if s.kind == "message"] for p in self.phones]
        for numbers in got:
            self.assertEqual(numbers, sorted(numbers))
        self.assertEqual(sorted(self.arrived), sorted(n for numbers in got for n in numbers))

    def shake(self, random: Random) -> None:
        """Some links become slower, or as quick as they were."""
        a, b = random.sample(self.nodes, 2)
        self.cluster.network.wire(a, b).slower = random.choice((0.0, 0.0, 0.1, 0.3))

    def go(self, seed: int, *, leaves: bool) -> None:
        """Writes, moves and waits at random."""
        random = Random(seed)
        self.cluster.network.random.seed(seed)
        self.move("b")
        self.run_for(1)
        for _ in range(400):
            dice = random.random()
            if dice < 0.06:
                if leaves and random.random() < 0.5:
                    self.phones[-1].send("</stream:stream>")
                    self.run_for(random.choice((0.0, 0.05, 0.4)))
                self.move(random.choice("bcd"))
            elif dice < 0.1:
                self.shake(random)
            else:
                self.write()
                self.run_for(random.choice((0.0, 0.0, 0.01, 0.03)))
        for a in self.nodes:
            for b in self.nodes:
                if a != b:
                    self.cluster.network.wire(a, b).slower = 0.0
        self.run_for(10)

    def forget(self) -> None:
        """Ends what one seed has begun."""
        self.check_streams()
        for phone in self.phones:
            phone.send("</stream:stream>")
        self.run_for(11)
        self.phones.clear()
        self.arrived.clear()
        self.romeo.events.clear()
        self.sent = 0

    def test_replaced(self) -> None:
        """All numbers arrive once and in order, at one of the phone's streams after the other."""
        for seed in range(30):
            self.go(seed, leaves=False)
            self.assertEqual(self.arrived, list(range(self.sent)), f"seed {seed}")
            self.assertEqual(self.romeo.received, [])
            self.forget()

    def test_two_come_at_once(self) -> None:
        """A phone that waits for what is under way waits for one that was quicker, too."""
        self.move("d")
        self.run_for(1)
        self.write()
        self.run_for(1)
        self.phones[-1].send("</stream:stream>")
        self.run_for(1)
        self.cluster.network.wire("d", "a").slower = 1.0
        self.move("a")
        self.run_for(0.2)
        self.cluster.network.wire("a", "c").slower = 2.0
        self.move("c")
        self.run_for(0.2)
        self.write()
        self.run_for(1)
        self.write()
        self.run_for(10)
        self.assertEqual(self.arrived, [0, 1, 2])

    def test_quicker_elsewhere(self) -> None:
        """What waits for a phone that is about to come waits for it elsewhere, too."""
        self.move("d")
        self.run_for(1)
        self.cluster.network.wire("a", "d").slower = 2.0
        self.write()
        self.phones[-1].send("</stream:stream>")
        self.run_for(0.5)
        self.move("a")
        self.run_for(0.1)
        self.move("c")
        self.run_for(0.5)
        self.write()
        self.run_for(10)
        self.assertEqual(self.arrived, [0, 1])

    def test_gone_for_a_while(self) -> None:
        """What arrives while the phone is nowhere comes back; all else is in order, and once."""
        for seed in range(40):
            self.go(seed, leaves=True)
            self.assertEqual(self.arrived, sorted(self.arrived), f"seed {seed}")
            errors = [int(s.id) for s in self.romeo.received if _is_refusal(s)]
            self.assertEqual(sorted(self.arrived + errors), list(range(self.sent)), f"seed {seed}")
            self.forget()


def _is_refusal(stanza: Stanza) -> bool:
    return stanza.type == "error" and b"<service-unavailable" in stanza.inner
