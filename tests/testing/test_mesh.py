"""Links in memory keep the promises of a mesh, and break as real ones do."""

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from mongoosetw.cluster.mesh import Mesh, Node
from mongoosetw.testing.clock import NodeClock
from mongoosetw.testing.mesh import MemoryMesh, MemoryNetwork


class Notes:
    """What a node is told by its mesh."""

    def __init__(self, network: MemoryNetwork, name: str, number: int, incarnation: int) -> None:
        self.clock = NodeClock(network.clock)
        self.mesh: MemoryMesh = network.mesh(Node(name, number, incarnation), self.clock)
        self.lines: list[str] = []
        as_others_see_it: Mesh = self.mesh
        for channel in ("one", "two"):
            as_others_see_it.receive(
                channel, lambda node, data: self.lines.append(f"{node.name}:{data.decode()}")
            )
        as_others_see_it.watch(
            lambda node: self.lines.append(f"+{node.name}{node.incarnation}"),
            lambda node: self.lines.append(f"-{node.name}{node.incarnation}"),
        )
        self.mesh.start()

    def taken(self) -> list[str]:
        """What was told since the last call."""
        lines, self.lines = self.lines, []
        return lines


class MemoryMeshTests(SynchronousTestCase):
    """Nodes a, b and c."""

    def begin(self, seed: int = 1, latency: tuple[float, float] = (0.001, 0.1)) -> None:
        """Starts and links them."""
        self.clock = Clock()
        self.network = MemoryNetwork(self.clock, seed=seed, latency=latency)
        self.nodes = {name: Notes(self.network, name, n, 1) for n, name in enumerate("abc")}
        self.run_for(1)

    def run_for(self, seconds: float) -> None:
        """Lets time pass in small steps."""
        self.clock.pump([0.01] * round(seconds * 100))

    def start(self, seed: int = 1) -> None:
        """Starts them, and forgets that they were linked."""
        self.begin(seed)
        for notes in self.nodes.values():
            notes.taken()

    def test_every_pair_is_linked(self) -> None:
        """All nodes are told of all others, before anything arrives from them."""
        self.begin()
        for name, notes in self.nodes.items():
            others = sorted(f"+{other}1" for other in "abc" if other != name)
            self.assertEqual(sorted(notes.taken()), others)

    def test_order(self) -> None:
        """What is sent arrives in order over all channels, however long each piece takes."""
        self.start()
        for n in range(200):
            self.nodes["a"].mesh.send("b", "one" if n % 3 else "two", b"%d" % n)
            self.run_for(0.01)
        self.run_for(1)
        self.assertEqual(self.nodes["b"].taken(), [f"a:{n}" for n in range(200)])

    def test_short_cut_loses_nothing(self) -> None:
        """What is sent while a wire is cut for a moment arrives when it is mended, in order."""
        self.start()
        mesh = self.nodes["a"].mesh
        for n in range(60):
            if n == 20:
                self.network.cut("a", "b")
            if n == 40:
                self.network.heal("a", "b")
            mesh.send("b", "one", b"%d" % n)
            self.run_for(0.05)
        self.run_for(1)
        self.assertEqual(self.nodes["b"].taken(), [f"a:{n}" for n in range(60)])

    def test_cut(self) -> None:
        """A cut is noticed at both ends within the time, not before, and it heals."""
        self.start()
        self.network.cut("a", "b")
        self.run_for(7)
        self.nodes["a"].mesh.send("b", "one", b"lost")
        self.assertEqual(self.nodes["a"].taken(), [])
        self.run_for(3.2)
        self.assertEqual(self.nodes["a"].taken(), ["-b1"])
        self.assertEqual(self.nodes["b"].taken(), ["-a1"])
        self.assertFalse(self.nodes["a"].mesh.send("b", "one", b""))
        self.assertEqual(self.nodes["c"].taken(), [])
        self.network.heal("a", "b")
        self.run_for(6)
        self.assertEqual(self.nodes["a"].taken(), ["+b1"])
        self.assertEqual(self.nodes["b"].taken(), ["+a1"])

    def test_ends_notice_at_different_times(self) -> None:
        """Over many cuts, now one end is the first to notice, now the other."""
        first = set()
        for seed in range(20):
            self.start(seed)
            self.network.cut("a", "b")
            while not (a := self.nodes["a"].taken()) and not self.nodes["b"].lines:
                self.run_for(0.01)
            first.add("a" if a else "b")
        self.assertEqual(first, {"a", "b"})

    def test_one_way_cut(self) -> None:
        """Who hears nothing gives the link up and can still say so; what it sent before counts."""
        self.start()
        self.network.cut("a", "b", one_way=True)
        self.nodes["a"].mesh.send("b", "one", b"unheard")
        self.nodes["b"].mesh.send("a", "one", b"heard")
        self.run_for(10.2)
        self.assertEqual(self.nodes["a"].taken(), ["b:heard", "-b1"])
        self.assertEqual(self.nodes["b"].taken(), ["-a1"])

    def test_killed(self) -> None:
        """A killed process is noticed at once; the new one of its name is another incarnation."""
        self.start()
        b = self.nodes["b"]
        b.mesh.send("a", "one", b"before")
        self.run_for(0)
        b.clock.callLater(0.01, b.mesh.send, "a", "one", b"after")
        self.clock.advance(0)
        self.network.kill("b")
        b.clock.kill()
        self.run_for(0.3)
        self.assertEqual(self.nodes["a"].taken(), ["b:before", "-b1"])
        Notes(self.network, "b", 1, 2)
        self.run_for(6)
        self.assertEqual(self.nodes["a"].taken(), ["+b2"])

    def test_without_power(self) -> None:
        """A machine without power is noticed by its silence, or when it is back."""
        self.start()
        self.network.kill("b", power=True)
        self.network.kill("c", power=True)
        self.run_for(1)
        self.assertEqual(self.nodes["a"].taken(), [])
        Notes(self.network, "b", 1, 2)
        self.run_for(5.5)
        self.assertEqual(self.nodes["a"].taken(), ["-b1", "+b2"])
        self.run_for(4)
        self.assertEqual(self.nodes["a"].taken(), ["-c1"])

    def test_two_without_power(self) -> None:
        """Two nodes that were without power at the same time find one another afterwards."""
        self.start()
        for name in "bc":
            self.network.kill(name, power=True)
        b = Notes(self.network, "b", 1, 2)
        self.run_for(12)
        c = Notes(self.network, "c", 2, 2)
        self.run_for(6)
        self.assertEqual((b.taken(), c.taken()), (["+a1", "+c2"], ["+b2", "+a1"]))

    def test_power_failure_behind_a_cut(self) -> None:
        """A machine that loses power while it is cut off is lost, also if the wire is mended."""
        self.start()
        self.network.cut("a", "b")
        self.network.kill("b", power=True)
        Notes(self.network, "b", 1, 2)
        self.run_for(1)
        self.network.kill("b", power=True)
        self.network.heal("a", "b")
        self.run_for(10)
        self.assertEqual(self.nodes["a"].taken(), ["-b1"])

    def test_frozen_for_long(self) -> None:
        """A node that is frozen for long is lost, and learns of it when it thaws."""
        self.start()
        self.network.freeze("b")
        self.nodes["b"].clock.freeze()
        self.run_for(10.2)
        self.assertEqual(self.nodes["a"].taken(), ["-b1"])
        self.assertEqual(self.nodes["b"].taken(), [])
        self.nodes["b"].clock.thaw()
        self.network.thaw("b")
        self.run_for(6)
        self.assertEqual(sorted(self.nodes["b"].taken()), ["+a1", "+c1", "-a1", "-c1"])

    def test_frozen_for_a_moment(self) -> None:
        """A node that was frozen for a moment reads what was sent to it, in order."""
        self.start()
        self.network.freeze("b")
        self.nodes["b"].clock.freeze()
        for n in range(5):
            self.nodes["a"].mesh.send("b", "one", b"%d" % n)
            self.run_for(0.2)
        self.assertEqual(self.nodes["b"].taken(), [])
        self.nodes["b"].clock.thaw()
        self.network.thaw("b")
        self.run_for(10)
        self.assertEqual(self.nodes["b"].taken(), [f"a:{n}" for n in range(5)])

    def test_goodbye(self) -> None:
        """What a node that stops has sent before arrives, and then it is gone."""
        self.start()
        self.nodes["a"].mesh.send("b", "one", b"bye")
        self.nodes["a"].mesh.stop()
        self.run_for(0.5)
        self.assertEqual(self.nodes["b"].taken(), ["a:bye", "-a1"])
        self.run_for(20)
        self.assertEqual(self.nodes["b"].taken(), [])

    def test_full_queue(self) -> None:
        """A queue without room refuses what is sent; a broadcast ends the link instead."""
        self.start()
        self.network.queue_size = 100
        self.network.cut("a", "b")
        mesh = self.nodes["a"].mesh
        self.assertTrue(mesh.send("b", "one", b"x" * 90))
        self.assertFalse(mesh.send("b", "one", b"x" * 90))
        mesh.broadcast("one", b"x" * 90)
        self.assertEqual(list(mesh.peers), ["c"])

    def test_same_seed_same_events(self) -> None:
        """The same seed makes the same things happen at the same times; another one does not."""
        runs = []
        for seed in (1, 1, 2):
            self.begin(seed)
            self.network.cut("a", "b")
            seen = []
            for _ in range(2000):
                self.run_for(0.01)
                now = self.clock.seconds()
                seen += [(now, n.mesh.local.name, n.taken()) for n in self.nodes.values()]
            runs.append([line for line in seen if line[2]])
        self.assertEqual(runs[0], runs[1])
        self.assertNotEqual(runs[0], runs[2])
