"""What waits for a link that is full: orders, presence, and the clients that send too much."""

from types import SimpleNamespace
from typing import Any

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from mongoosetw.cluster.metrics import NOT_SENT
from mongoosetw.cluster.sessions.pressure import LONG, SHORT, Pressure
from mongoosetw.cluster.sessions.repeats import MOST, MOST_BYTES, Repeats


class RepeatsTests(SynchronousTestCase):
    """What is sent again."""

    def setUp(self) -> None:
        """A link to node b."""
        self.clock = Clock()
        self.mesh: Any = SimpleNamespace(peers={"b": None})
        self.room = 0
        self.sent: list[bytes] = []
        self.short: list[Any] = []
        self.repeats = Repeats(self.mesh, self.clock, self.send, self.short.append)

    def send(self, node: str, payload: bytes) -> bool:
        """The link."""
        if not self.room:
            return False
        self.room -= 1
        self.sent.append(payload)
        return True

    def test_order(self) -> None:
        """What waits is sent in its order, as room comes; nothing overtakes it."""
        for payload in (b"1", b"2"):
            self.repeats.send("b", payload)
        self.room = 1
        self.repeats.send("b", b"3")
        self.clock.advance(1)
        self.assertEqual(self.sent, [b"1"])
        self.room = 10
        self.clock.advance(1)
        self.assertEqual(self.sent, [b"1", b"2", b"3"])

    def test_free_again(self) -> None:
        """When all was sent nothing waits any more, nor is looked for."""
        self.repeats.send("b", b"1")
        self.room = 10
        self.clock.advance(1)
        self.repeats.send("b", b"2")
        self.assertEqual((self.sent, self.clock.getDelayedCalls()), ([b"1", b"2"], []))

    def test_bound(self) -> None:
        """What is more than the bound is lost, counted, and known of each session, once."""
        romeo: Any = object()
        for number in range(MOST):
            self.repeats.send("b", b"%d" % number, romeo)
        before = self.counted()
        juliet: Any = object()
        with self.assertLogs("mongoosetw.cluster.sessions.repeats") as logs:
            for _ in range(5):
                self.repeats.send("b", b"one more", juliet)
        self.assertEqual((len(logs.output), self.counted() - before), (1, 5))
        self.assertEqual(self.short, [])
        self.room = 2 * MOST
        self.clock.advance(1)
        self.assertEqual((len(self.sent), self.short), (MOST, [juliet]))
        self.repeats.send("b", b"more")
        self.assertEqual(self.sent[-1], b"more")

    def test_bytes(self) -> None:
        """Few payloads that are long are too much, too."""
        for _ in range(2):
            self.repeats.send("b", bytes(MOST_BYTES // 2 + 1))
        self.room = 2
        self.clock.advance(1)
        self.assertEqual(len(self.sent), 1)

    def test_no_room_elsewhere(self) -> None:
        """What was lost before it came here is known of its session, too."""
        romeo: Any = object()
        self.repeats.lose("b", romeo)
        self.assertEqual(self.short, [])
        self.clock.advance(1)
        self.assertEqual(self.short, [romeo])
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def counted(self) -> float:
        """How many were lost, as an operator is told."""
        return NOT_SENT.of_node().value

    def test_lost(self) -> None:
        """What waited for a node goes with the link, and nothing waits for one without."""
        self.repeats.send("b", b"1")
        del self.mesh.peers["b"]
        self.repeats.lost("b")
        self.repeats.send("b", b"2")
        self.room = 10
        self.clock.advance(1)
        self.assertEqual((self.sent, self.clock.getDelayedCalls()), ([], []))

    def test_stop(self) -> None:
        """When the server stops nothing is sent any more."""
        self.repeats.send("b", b"1")
        self.repeats.stop()
        self.assertEqual(self.clock.getDelayedCalls(), [])


class Sender:
    """A client's stream; how often it is held."""

    held = 0

    def hold(self) -> None:
        """It is not read from."""
        self.held += 1

    def let_go(self) -> None:
        """It is."""
        self.held -= 1


class PressureTests(SynchronousTestCase):
    """Clients that are paused."""

    def setUp(self) -> None:
        """Links to b and c, whose queues are long."""
        self.clock = Clock()
        self.queued = {"b": LONG, "c": LONG}
        mesh = SimpleNamespace(queued=self.queued.__getitem__)
        self.server: Any = SimpleNamespace(clock=self.clock, mesh=mesh, active=None)
        self.pressure = Pressure(self.server)
        self.romeo, self.juliet = Sender(), Sender()

    def send(self, sender: Sender | None, node: str) -> None:
        """A client, or the server itself, adds to a queue."""
        self.server.active = sender
        self.pressure.grow(node)

    def held(self) -> tuple[int, int]:
        """How often each is held."""
        self.clock.advance(0.1)
        return self.romeo.held, self.juliet.held

    def test_until_short(self) -> None:
        """Who adds to a long queue is paused, once, until it is short."""
        for _ in range(2):
            self.send(self.romeo, "b")
        self.assertEqual(self.held(), (1, 0))
        self.queued["b"] = SHORT + 1
        self.assertEqual(self.held(), (1, 0))
        self.queued["b"] = SHORT
        self.assertEqual(self.held(), (0, 0))
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_each_its_own(self) -> None:
        """Each waits for those queues only that it has added to."""
        self.send(self.romeo, "b")
        self.send(self.juliet, "b")
        self.send(self.juliet, "c")
        self.assertEqual(self.held(), (1, 2))
        self.queued["b"] = 0
        self.assertEqual(self.held(), (0, 1))
        self.queued["c"] = 0
        self.assertEqual(self.held(), (0, 0))

    def test_nobody(self) -> None:
        """Who adds to a queue that is not long is not paused, nor is the server."""
        self.queued["b"] = LONG - 1
        self.send(self.romeo, "b")
        self.send(None, "c")
        self.assertEqual(self.held(), (0, 0))

    def test_lost(self) -> None:
        """With the link the reason to wait goes, and with the server."""
        self.send(self.romeo, "b")
        self.send(self.juliet, "c")
        self.pressure.release("b")
        self.assertEqual(self.held(), (0, 1))
        self.pressure.stop()
        self.assertEqual(self.held(), (0, 0))
        self.assertEqual(self.clock.getDelayedCalls(), [])
