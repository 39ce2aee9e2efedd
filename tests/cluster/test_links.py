"""The mesh of PB links, over a network in memory."""

from typing import Any

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from mongoosetw.cluster.frames import BATCH
from mongoosetw.cluster.hello import Member
from tests.cluster.memory import SECRET, Network, Station, member

NAMES = "abcdefgh"


class MeshCase(SynchronousTestCase):
    """Starts nodes."""

    def setUp(self) -> None:
        """A network without nodes."""
        self.clock = Clock()
        self.network = Network(self.clock)
        self.stations: dict[str, Station] = {}

    def tearDown(self) -> None:
        """Every node stops, and no timer is left."""
        for station in self.stations.values():
            station.mesh.stop("end of the test")
        self.run_for(0)
        left = [call for call in self.clock.getDelayedCalls() if call.getTime() > 0]
        self.assertEqual([c for c in left if c.getTime() > self.clock.seconds()], [])

    def add(self, own: Member, secret: bytes = SECRET, **options: Any) -> Station:
        """Starts a node, which knows nobody yet."""
        station = Station(self.network, own, secret, **options)
        self.stations[own.node.name] = station
        return station

    def start(self, count: int, **options: Any) -> list[Station]:
        """Starts nodes a, b, c … that know one another."""
        stations = [self.add(member(name, n), **options) for n, name in enumerate(NAMES[:count])]
        self.introduce()
        return stations

    def introduce(self) -> None:
        """All nodes hear of all nodes."""
        addresses = {name: (name,) for name in self.stations}
        for station in self.stations.values():
            station.mesh.expect(addresses)

    def run_for(self, seconds: float) -> None:
        """Lets time pass, in steps of a tenth of a second."""
        for _ in range(20):
            self.clock.advance(0)
        for _ in range(round(seconds * 10)):
            self.clock.advance(0.1)
            for _ in range(8):
                self.clock.advance(0)


class AwaitedTests(MeshCase):
    """Whether there may be nodes that nobody has tried to reach."""

    def test_called_first(self) -> None:
        """A node that has called before it was known where it is, is not waited for."""
        first, second = self.add(member("a", 0)), self.add(member("b", 1))
        first.mesh.expect({"b": ("b",)})
        self.run_for(1)
        self.assertEqual(list(second.mesh.peers), ["a"])
        self.assertTrue(second.mesh.awaited)
        second.mesh.expect({"a": ("a",)})
        self.assertFalse(second.mesh.awaited)


class EarlyTests(MeshCase):
    """What arrives at a node that is starting."""

    def test_channel_is_opened_later(self) -> None:
        """It is handed on, in order, when what takes it has been opened."""
        first, second = self.add(member("a", 0)), self.add(member("b", 1))
        first.mesh.expect({"b": ("b",)})
        self.run_for(1)
        for number in range(3):
            first.mesh.send("b", "late", b"%d" % number)
        self.run_for(0)
        got: list[bytes] = []
        second.mesh.receive("late", lambda node, payload: got.append(payload))
        self.assertEqual(got, [b"0", b"1", b"2"])

    def test_link_is_lost_meanwhile(self) -> None:
        """What a node has sent by a link that is lost is its past."""
        first, second = self.add(member("a", 0)), self.add(member("b", 1))
        first.mesh.expect({"b": ("b",)})
        self.run_for(1)
        first.mesh.send("b", "late", b"hello")
        self.run_for(0)
        first.mesh.stop("end of the test")
        self.run_for(0)
        got: list[bytes] = []
        second.mesh.receive("late", lambda node, payload: got.append(payload))
        self.assertEqual(got, [])


class LinkTests(MeshCase):
    """Links come up, carry payloads and go down."""

    def test_every_pair_is_linked(self) -> None:
        """Eight nodes that start together have one link for each pair, each told once."""
        stations = self.start(8)
        self.run_for(3)
        for station in stations:
            self.assertEqual(len(station.mesh.peers), 7)
            self.assertEqual(len(set(station.changes)), len(station.changes))
        self.assertEqual(len(self.network.transports), 8 * 7)

    def test_order_within_and_across_channels(self) -> None:
        """What one node sends arrives in order, whatever the channels."""
        a, b = self.start(2)
        self.run_for(1)
        sent = [("one" if n % 3 else "two", str(n).encode()) for n in range(1000)]
        for channel, payload in sent:
            self.assertTrue(a.mesh.send("b", channel, payload))
        self.run_for(0)
        self.assertEqual(b.got, [("a", channel, payload) for channel, payload in sent])

    def test_one_call_a_turn(self) -> None:
        """A thousand payloads of one turn cost one call: few bytes more than themselves."""
        a, _ = self.start(2)
        self.run_for(1)
        before = self.network.bytes_carried
        for _ in range(1000):
            a.mesh.send("b", "one", b"x" * 100)
        self.run_for(0)
        self.assertLess(self.network.bytes_carried - before, 105_000)

    def told(self, sender: Station, receiver: Station, count: int) -> list[bytes]:
        """Sends patient payloads, one a turn; what has arrived by now."""
        for n in range(count):
            self.assertTrue(sender.mesh.send("b", "one", b"%d" % n, patient=True))
            self.run_for(0)
        return [payload for _, _, payload in receiver.got]

    def test_patience(self) -> None:
        """Where much is told, what is patient waits for company, and not for long."""
        a, b = self.start(2)
        self.run_for(1)
        sent = [b"%d" % n for n in range(50)]
        before = self.network.bytes_carried
        arrived = self.told(a, b, 50)
        self.assertEqual(arrived, sent[: len(arrived)])
        self.assertLess(len(arrived), 10)
        self.clock.advance(0.011)
        self.run_for(0)
        self.assertEqual([payload for _, _, payload in b.got], sent)
        self.assertLess(self.network.bytes_carried - before, 800)

    def test_patience_where_little_happens(self) -> None:
        """Otherwise it leaves at once."""
        a, b = self.start(2)
        self.run_for(1)
        for _ in range(20):
            b.got.clear()
            self.assertEqual(len(self.told(a, b, 5)), 5)
            self.run_for(0.1)

    def test_patience_keeps_the_order(self) -> None:
        """What is sent behind something patient takes it along."""
        a, b = self.start(2)
        self.run_for(1)
        self.told(a, b, 50)
        a.mesh.send("b", "two", b"behind")
        self.run_for(0)
        payloads = [payload for _, _, payload in b.got]
        self.assertEqual(payloads, [*(b"%d" % n for n in range(50)), b"behind"])

    def test_patience_ends_with_the_link(self) -> None:
        """What waits for company is of no use any more when the link is gone."""
        a, b = self.start(2)
        self.run_for(1)
        arrived = self.told(a, b, 50)
        self.network.crash("b")
        self.run_for(1)
        self.assertEqual((len(b.got), a.mesh.peers), (len(arrived), {}))

    def test_extended(self) -> None:
        """A payload that is still here can be added to, one that has left cannot."""
        a, b = self.start(2)
        self.run_for(1)
        self.assertFalse(a.mesh.extend("b", "one", b"x"))
        a.mesh.send("b", "one", b"1")
        self.assertTrue(a.mesh.extend("b", "one", b"2"))
        self.run_for(0)
        self.assertFalse(a.mesh.extend("b", "one", b"3"))
        self.assertEqual([payload for _, _, payload in b.got], [b"12"])
        self.assertFalse(a.mesh.extend("c", "one", b"x"))

    def test_long_payload(self) -> None:
        """A payload beyond PB's limit arrives whole, and in its place."""
        a, b = self.start(2)
        self.run_for(1)
        long = bytes(range(256)) * (BATCH // 100)
        for payload in (b"before", long, b"after"):
            a.mesh.send("b", "one", payload)
        self.run_for(0)
        self.assertEqual([payload for _, _, payload in b.got], [b"before", long, b"after"])

    def test_no_link(self) -> None:
        """Sending to a node that is not linked answers False."""
        (a,) = self.start(1)
        self.assertFalse(a.mesh.send("b", "one", b"x"))

    def test_back_pressure(self) -> None:
        """A node that does not read fills its queue, and send answers False; then it goes on."""
        a, b = self.start(2, queue_size=4 * 1024 * 1024)
        self.run_for(1)
        self.network.freeze("b")
        sent = 0
        while a.mesh.send("b", "one", b"x" * 10_000):
            sent += 1
            self.assertLess(sent, 1000)
        self.run_for(0)
        self.assertFalse(a.mesh.send("b", "one", b"x" * 10_000))
        self.network.thaw("b")
        self.run_for(0.5)
        self.assertEqual(len(b.got), sent)
        self.assertTrue(a.mesh.send("b", "one", b"x"))

    def test_broadcast_beyond_a_full_queue(self) -> None:
        """A broadcast that one node has no room for ends that link: nothing is lost in silence."""
        a, _, c = self.start(3, queue_size=1024 * 1024)
        self.run_for(3)
        self.network.freeze("b")
        for _ in range(120):
            a.mesh.broadcast("one", b"x" * 10_000)
            self.run_for(0)
        self.assertEqual(list(a.mesh.peers), ["c"])
        self.assertEqual(len(c.got), 120)
        self.network.thaw("b")

    def test_failing_receiver(self) -> None:
        """An exception in one receiver is logged; what follows in the batch arrives."""
        a, b = self.start(2)
        b.mesh.receive("bad", lambda node, payload: int("nonsense"))  # type: ignore[arg-type]
        self.run_for(1)
        a.mesh.send("b", "bad", b"x")
        a.mesh.send("b", "one", b"y")
        with self.assertLogs("mongoosetw.cluster.links", "ERROR") as logged:
            self.run_for(0)
        self.assertIn("link_receiver_failed channel=bad", logged.output[0])
        self.assertEqual(b.got, [("a", "one", b"y")])

    def test_killed_node(self) -> None:
        """A killed node is noticed at once; a new process of its name is linked again."""
        a, _ = self.start(2)
        self.run_for(1)
        self.network.crash("b")
        self.run_for(0.1)
        self.assertEqual(a.changes, ["+b", "-b"])
        self.stations["b"].mesh.stop("dead")
        self.add(member("b", 1, incarnation=2))
        self.introduce()
        self.run_for(12)
        self.assertEqual(a.mesh.peers["b"].incarnation, 2)

    def test_frozen_node(self) -> None:
        """A node that does not answer counts as lost within the configured time, not before."""
        a, _ = self.start(2, peer_timeout=10.0)
        self.run_for(1)
        self.network.freeze("b")
        self.run_for(4)
        self.assertEqual(a.changes, ["+b"])
        self.run_for(6)
        self.assertEqual(a.changes, ["+b", "-b"])
        self.network.thaw("b")
        self.run_for(12)
        self.assertIn("b", a.mesh.peers)

    def test_cut(self) -> None:
        """Nodes that cannot reach one another lose their link, and find together afterwards."""
        a, b = self.start(2, peer_timeout=4.0, reconnect_delay_max=2.0)
        self.run_for(1)
        self.network.cut.add(frozenset("ab"))
        self.run_for(5)
        self.assertEqual((a.changes[-1], b.changes[-1]), ("-b", "-a"))
        self.network.cut.clear()
        self.run_for(20)
        self.assertEqual((a.changes[-1], b.changes[-1]), ("+b", "+a"))

    def test_silent_link_stays(self) -> None:
        """Heartbeats keep a link up on which nothing else is sent."""
        a, b = self.start(2)
        self.run_for(100)
        self.assertEqual((a.changes, b.changes), (["+b"], ["+a"]))

    def test_own_sleep_is_not_the_others_death(self) -> None:
        """A node that was itself frozen reads what has arrived before it gives anybody up."""
        a, _ = self.start(2)
        self.run_for(1)
        self.clock.advance(60)
        self.run_for(5)
        self.assertEqual(a.changes, ["+b"])

    def test_clocks_apart(self) -> None:
        """A node whose clock is wrong is pointed out, once."""
        a = self.add(member("a", 0), now=self.clock.seconds)
        self.add(member("b", 1), now=lambda: self.clock.seconds() + 30)
        self.introduce()
        self.run_for(20)
        events = [(e["event"], e["how"]) for e in a.mesh.happenings.describe()]
        self.assertEqual(events[0], ("clock", "is +30.0 seconds apart"))
        self.assertEqual(len(events), 2)
        self.assertEqual(a.mesh.describe()[0]["clock_skew_ms"], 30_000)

    def test_goodbye(self) -> None:
        """A node that stops says so: the others know that it left and was not lost."""
        a, b = self.start(2)
        self.run_for(1)
        b.mesh.stop("restart")
        self.run_for(0.1)
        newest = a.mesh.happenings.describe()[0]
        self.assertEqual((newest["event"], newest["node"], newest["how"]), ("left", "b", "restart"))

    def test_simultaneous_connects(self) -> None:
        """Two nodes that connect to each other at the same moment end up with one link."""
        a, b = self.start(2)
        for station in (a, b):
            other = "b" if station is a else "a"
            station.mesh._diallers[other]._schedule(0)
        self.run_for(5)
        self.assertEqual((a.changes, b.changes), (["+b"], ["+a"]))
        self.assertEqual(len(self.network.transports), 2)


class RefusalTests(MeshCase):
    """Who is no part of the cluster gets no link, and the log says why."""

    def assert_refused(self, stranger: Station, reason: str) -> None:
        """Node a and a stranger get no link, and both say why."""
        self.introduce()
        self.run_for(5)
        a = self.stations["a"]
        self.assertEqual((a.changes, stranger.changes), ([], []))
        for station in (a, stranger):
            events = station.mesh.happenings.describe()
            said = [event["how"] for event in events if event["event"] == "refused"]
            self.assertTrue(said and all(reason in how for how in said), events)

    def test_wrong_secret(self) -> None:
        """Another secret is refused."""
        self.add(member("a", 0))
        self.assert_refused(self.add(member("b", 1), secret=b"another"), "wrong secret")

    def test_version_mismatch(self) -> None:
        """Programs without a common version of the links say which ones they speak."""
        self.add(member("a", 0, versions=(3, 4)))
        stranger = self.add(member("b", 1, versions=(1, 2)))
        self.assert_refused(stranger, "no common version of the links")

    def test_rolling_upgrade(self) -> None:
        """Programs with a common version speak the newest one that both know."""
        a = self.add(member("a", 0, versions=(1, 3)))
        self.add(member("b", 1, versions=(2, 5)))
        self.introduce()
        self.run_for(2)
        self.assertEqual(a.mesh.describe()[0]["version"], 3)

    def test_other_cluster(self) -> None:
        """A node of another cluster is refused although it knows the secret."""
        self.add(member("a", 0))
        self.assert_refused(self.add(member("b", 1, cluster="staging")), "staging")

    def test_number_taken(self) -> None:
        """Two nodes with one number would make equal ids: they are not linked."""
        self.add(member("a", 0))
        self.assert_refused(self.add(member("b", 0)), "has the number 0 already")

    def test_older_process(self) -> None:
        """A process that has been replaced is refused by those who know the new one."""
        a = self.add(member("a", 0))
        self.add(member("b", 1, incarnation=2))
        self.introduce()
        self.run_for(2)
        old = Station(self.network, member("b", 1, incarnation=1), SECRET)
        old.mesh.expect({"a": ("a",)})
        self.run_for(3)
        self.assertEqual(old.changes, [])
        self.assertEqual(a.mesh.peers["b"].incarnation, 2)
        old.mesh.stop("end")

    def test_nobody_can_be_called_before_the_hello(self) -> None:
        """PB spoken without a hello gets no answer of PB, and the connection is closed."""
        a = self.add(member("a", 0))
        probe = self.probe()
        probe.transport.write(b"\x02\x82pb" + b"\x01" * 1000)
        self.run_for(0)
        self.assertTrue(probe.lost)
        self.assertEqual(probe.data, b"")
        self.assertEqual(a.got, [])

    def test_silent_stranger(self) -> None:
        """Who says nothing is closed after ten seconds."""
        self.add(member("a", 0))
        probe = self.probe()
        self.run_for(9)
        self.assertFalse(probe.lost)
        self.run_for(1.5)
        self.assertTrue(probe.lost)

    def test_too_many_strangers(self) -> None:
        """Connections that prove nothing are bounded."""
        self.add(member("a", 0))
        for _ in range(256):
            self.probe()
        self.assertIsNone(self.network.listening["a"].buildProtocol(None))

    def probe(self) -> "Probe":
        """A raw connection to node a."""
        probe = Probe()
        endpoint = self.network.endpoint("stranger")("a")
        self.successResultOf(endpoint.connect(probe))
        return probe


class Probe:
    """A connection that notes what happens to it."""

    def __init__(self) -> None:
        self.data = b""
        self.lost = False
        self.transport: Any = None

    def buildProtocol(self, addr: object) -> "Probe":
        """There is one connection."""
        return self

    def makeConnection(self, transport: Any) -> None:
        """It is made."""
        self.transport = transport

    def dataReceived(self, data: bytes) -> None:
        """Bytes have come."""
        self.data += data

    def connectionLost(self, reason: object) -> None:
        """It is over."""
        self.lost = True
