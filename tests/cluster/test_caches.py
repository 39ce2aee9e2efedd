"""Caches of several nodes that forget what one of them has changed."""

from mongoosetw.cluster.caches import DOUBT, KEPT, Caches, SharedCache
from tests.cluster.memory import Station, member
from tests.cluster.test_links import MeshCase


class CachesTests(MeshCase):
    """Two nodes, each with a cache of the same data."""

    def setUp(self) -> None:
        """Starts the nodes."""
        super().setUp()
        self.forgotten: dict[str, list[str]] = {}
        self.a, self.b = self.start(2, reconnect_delay_max=1.0, peer_timeout=4.0)
        self.in_a, self.in_b = self.share(self.a), self.share(self.b)
        self.run_for(2)

    def share(self, station: Station) -> SharedCache:
        """Declares the cache of a node, which notes what it forgets."""
        notes = self.forgotten.setdefault(station.mesh.local.name, [])
        caches = Caches(station.mesh, self.clock)
        return caches.share("rosters", notes.append, lambda: notes.append("everything"))

    def cut(self) -> None:
        """The nodes lose their link."""
        self.network.cut.add(frozenset("ab"))
        self.run_for(6)
        self.assertEqual(self.a.mesh.peers, {})

    def heal(self) -> None:
        """The nodes find together again."""
        self.network.cut.clear()
        self.run_for(5)
        self.assertEqual(set(self.a.mesh.peers), {"b"})

    def test_change(self) -> None:
        """A change on one node is forgotten on the other, and only there."""
        self.in_a.changed("romeo@localhost")
        self.run_for(0)
        self.assertEqual(self.forgotten, {"a": [], "b": ["romeo@localhost"]})

    def test_before_what_is_sent_behind_it(self) -> None:
        """What is sent to a node after a change finds its cache empty."""
        self.b.mesh.receive("after", lambda node, payload: self.forgotten["b"].append("after"))
        self.in_a.changed("romeo@localhost")
        self.a.mesh.send("b", "after", b"")
        self.run_for(0)
        self.assertEqual(self.forgotten["b"], ["romeo@localhost", "after"])

    def test_nothing_to_tell(self) -> None:
        """A new link costs nobody the cache while nothing was changed."""
        self.cut()
        self.heal()
        self.assertEqual(self.forgotten, {"a": [], "b": []})

    def test_missed(self) -> None:
        """What was changed without a link is told when there is one; the rest is remembered."""
        self.in_a.changed("old@localhost")
        self.run_for(DOUBT + 5)
        self.forgotten["b"].clear()
        self.cut()
        self.in_a.changed("romeo@localhost")
        self.heal()
        self.assertEqual(self.forgotten["b"], ["romeo@localhost"])

    def test_on_its_way_when_the_link_broke(self) -> None:
        """What was sent shortly before the loss of a link is told once more."""
        self.network.cut.add(frozenset("ab"))
        self.in_a.changed("romeo@localhost")
        self.run_for(6)
        self.heal()
        self.assertEqual(self.forgotten["b"], ["romeo@localhost"])

    def test_too_much(self) -> None:
        """Who has missed too many changes forgets everything."""
        self.cut()
        for n in range(KEPT + 1):
            self.in_a.changed(str(n))
        self.heal()
        self.assertEqual(self.forgotten["b"], ["everything"])

    def test_new_node(self) -> None:
        """What was changed before a node's first link is told: it may have read before that."""
        self.in_a.changed("romeo@localhost")
        self.run_for(100)
        self.forgotten["b"].clear()
        self.add(member("c", 2))
        self.share(self.stations["c"])
        self.introduce()
        self.run_for(5)
        self.assertEqual(self.forgotten, {"a": [], "b": [], "c": ["romeo@localhost"]})

    def test_end(self) -> None:
        """A cache that is gone forgets nothing; its name is free again."""
        self.in_b.end()
        self.in_a.changed("romeo@localhost")
        self.run_for(0)
        self.assertEqual(self.forgotten["b"], [])
