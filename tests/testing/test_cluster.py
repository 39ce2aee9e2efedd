"""The kit for tests of several servers."""

from mongoosetw.testing.cluster import ClusterTestCase
from mongoosetw.xmpp import ns

ADD = (
    f"<iq type='set' id='s'><query xmlns='{ns.ROSTER}'><item jid='juliet@localhost'/></query></iq>"
)
GET = f"<iq type='get' id='g'><query xmlns='{ns.ROSTER}'/></iq>"


class ClusterKitTests(ClusterTestCase):
    """Three servers with one database."""

    nodes = ("a", "b", "c")
    modules = {"mod_roster": {}, "mod_presence": {}, "mod_stream_management": {}}

    def peers(self, name: str) -> list[str]:
        """The nodes that a node is linked to."""
        return sorted(self.servers[name].mesh.peers)

    def test_links_and_data(self) -> None:
        """All are linked from the beginning, and what one has stored the others find."""
        self.assertEqual(self.peers("b"), ["a", "c"])
        self.connect("romeo@localhost/one", "a").request(ADD)
        roster = self.connect("romeo@localhost/two", "c").request(GET)
        self.assertIn(b"juliet@localhost", roster.inner)

    def test_ids_of_nodes(self) -> None:
        """Each node makes ids of its own, after its own clock."""
        d = self.start("d", skew=-60.0).server.ids.next()
        others = [server.ids.next() for name, server in self.servers.items() if name != "d"]
        self.assertEqual(len({d, *others}), 4)
        self.assertTrue(all(59_999_000 < (other - d) / 256 < 60_001_000 for other in others))

    def test_killed_node(self) -> None:
        """A killed node does nothing more: no timer of it is run, and its clients are alone."""
        romeo = self.connect("romeo@localhost/one", "b")
        romeo.enable_sm()
        server = self.servers["b"]
        called: list[int] = []
        server.clock.callLater(1, called.append, 1)
        self.kill("b")
        romeo.send("<presence/>")
        self.run_for(1000)
        self.assertEqual((called, self.peers("a")), ([], ["c"]))
        self.assertEqual(server.hosts["localhost"].sessions.count(), 1)

    def test_restart(self) -> None:
        """A node that was killed comes back under its number, as another process."""
        before = self.servers["b"].mesh.local
        self.restart("b")
        after = self.servers["a"].mesh.peers["b"]
        self.assertEqual((after.number, after.incarnation > before.incarnation), (1, True))

    def test_cut_and_heal(self) -> None:
        """A cut is noticed within the time, and whole again soon after it is mended."""
        self.cut("a", "b")
        self.run_for(10.1)
        self.assertEqual((self.peers("a"), self.peers("c")), (["c"], ["a", "b"]))
        self.heal()
        self.run_for(5.1)
        self.assertEqual(self.peers("a"), ["b", "c"])

    def test_leaving(self) -> None:
        """A node that leaves sends its clients away first."""
        romeo = self.connect("romeo@localhost/one", "b")
        self.leave("b")
        self.assertIn(b"system-shutdown", romeo.output())
        self.assertEqual(self.peers("a"), ["c"])

    def test_frozen_node(self) -> None:
        """A frozen node does what is overdue when it thaws."""
        called: list[int] = []
        self.servers["b"].clock.callLater(1, called.append, 1)
        self.freeze("b")
        self.run_for(3)
        self.assertEqual(called, [])
        self.thaw("b")
        self.assertEqual(called, [1])
