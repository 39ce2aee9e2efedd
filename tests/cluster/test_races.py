"""Races between nodes that the simulation has found, each with as little as it takes."""

from mongoosetw.testing.client import Client
from mongoosetw.testing.cluster import ClusterTestCase
from mongoosetw.xmpp import ns

BOTH = (
    ("romeo@localhost/setup", "juliet@localhost", "subscribe"),
    ("juliet@localhost/setup", "romeo@localhost", "subscribed"),
    ("juliet@localhost/setup", "romeo@localhost", "subscribe"),
    ("romeo@localhost/setup", "juliet@localhost", "subscribed"),
)


class PresenceRaces(ClusterTestCase):
    """Who sees the presence of a client that moves between nodes."""

    nodes = ("a", "b", "c")
    modules = {"mod_roster": {}, "mod_presence": {}, "mod_stream_management": {}}

    def setUp(self) -> None:
        """Romeo and Juliet see each other."""
        super().setUp()
        for sender, to, kind in BOTH:
            client = self.connect(sender)
            client.send(f"<presence to='{to}' type='{kind}'/>")
            client.send("</stream:stream>")

    def come(self, jid: str, node: str, status: str) -> Client:
        """A client comes online."""
        client = self.connect(jid, node)
        client.send(f"<presence><status>{status}</status></presence>")
        return client

    def seen(self, client: Client, jid: str) -> str | None:
        """The last status that a client was told of another one; None if it is not available."""
        status = None
        for stanza in client.received:
            if stanza.kind == "presence" and str(stanza.from_) == jid:
                status = None if stanza.type else stanza.child_text(ns.CLIENT, "status")
        return status

    def test_old_presence_is_slower(self) -> None:
        """What an older session shows on request does not replace what the newer one has said."""
        self.come("romeo@localhost/phone", "a", "old")
        self.cluster.network.wire("b", "a").slower = 1.0
        juliet = self.come("juliet@localhost/balcony", "b", "here")
        self.come("romeo@localhost/phone", "b", "new")
        self.assertEqual(self.seen(juliet, "romeo@localhost/phone"), "new")
        self.run_for(3)
        self.assertEqual(self.seen(juliet, "romeo@localhost/phone"), "new")

    def test_old_presence_of_one_who_hides(self) -> None:
        """What was to be shown of a client before it moved does not bring back who hides then."""
        romeo = self.connect("romeo@localhost/phone", "a")
        romeo.enable_sm()
        romeo.send("<presence><status>old</status></presence>")
        self.come("juliet@localhost/balcony", "b", "there")
        self.cluster.network.wire("a", "b").slower = 4.0
        juliet = self.come("juliet@localhost/balcony", "c", "here")
        romeo = self.resume(romeo, "c")
        romeo.send("<presence type='unavailable'/>")
        for _ in range(2):
            self.run_for(5)
            self.assertEqual(self.seen(juliet, "romeo@localhost/phone"), None)

    def test_passed_on_too_late(self) -> None:
        """Presence for a client that has moved on is not passed on: what it sees there is newer."""
        self.come("juliet@localhost/balcony", "a", "here")
        romeo = self.come("romeo@localhost/phone", "c", "before")
        for sender, to, seconds in (("a", "c", 1.0), ("b", "c", 1.0), ("a", "b", 8.0)):
            self.cluster.network.wire(sender, to).slower = seconds
        juliet = self.come("juliet@localhost/balcony", "b", "there")
        romeo.send("<presence><status>first</status></presence>")
        self.run_for(1.5)
        romeo.send("<presence><status>second</status></presence>")
        for _ in range(2):
            self.run_for(6)
            self.assertEqual(self.seen(juliet, "romeo@localhost/phone"), "second")

    def test_no_longer_available(self) -> None:
        """Who has gone unavailable is told no more of others, whatever their nodes believe."""
        juliet = self.come("juliet@localhost/balcony", "a", "here")
        self.cluster.network.wire("a", "b").slower = 1.0
        juliet.send("<presence type='unavailable'/>")
        self.come("romeo@localhost/phone", "b", "late")
        self.assertEqual(self.seen(juliet, "romeo@localhost/phone"), None)
        self.run_for(3)
        self.assertEqual(self.seen(juliet, "romeo@localhost/phone"), None)

    def test_goodbye_to_one_who_has_moved(self) -> None:
        """A session that has moved is not told late by its old node of who has moved, too."""
        self.come("romeo@localhost/phone", "b", "old")
        juliet = self.connect("juliet@localhost/balcony", "b")
        juliet.enable_sm()
        juliet.send("<presence/>")
        juliet.pump()
        juliet = self.resume(juliet, "c")
        self.cluster.network.wire("b", "c").slower = 1.0
        self.come("romeo@localhost/phone", "c", "new")
        self.run_for(3)
        self.assertEqual(self.seen(juliet, "romeo@localhost/phone"), "new")

    def test_replaced_while_it_moves(self) -> None:
        """Whose address a client takes that is not there yet, while it moves, is seen to go."""
        romeo = self.connect("romeo@localhost/phone", "a")
        romeo.enable_sm()
        romeo.send("<presence><status>here</status></presence>")
        juliet = self.come("juliet@localhost/balcony", "b", "here")
        for node in ("b", "c"):
            self.cluster.network.wire("a", node).slower = 1.0
        left = self.cluster.leave("a")
        self.run_for(4.0)
        self.connect("romeo@localhost/phone", "b")
        self.run_for(20)
        self.successResultOf(left)
        self.assertEqual(self.seen(juliet, "romeo@localhost/phone"), None)

    def test_change_while_the_new_place_is_not_known(self) -> None:
        """Who has moved sees a change of whom its old node has told before the new one has."""
        romeo = self.come("romeo@localhost/phone", "b", "first")
        juliet = self.connect("juliet@localhost/balcony", "a")
        juliet.enable_sm()
        juliet.send("<presence/>")
        juliet.pump()
        self.cluster.network.wire("c", "b").slower = 0.5
        juliet = self.resume(juliet, "c")
        romeo.send("<presence><status>second</status></presence>")
        self.run_for(5)
        self.assertEqual(self.seen(juliet, "romeo@localhost/phone"), "second")

    def test_hidden_while_presence_waits(self) -> None:
        """Who hides while no link is there to say so, nor to let older presence go, stays hidden.

        The presence waits at c for what is under way to Juliet's older session, and meanwhile the
        link to her newer one is lost, and is back.
        """
        romeo = self.come("romeo@localhost/phone", "c", "here")
        self.come("juliet@localhost/balcony", "b", "there")
        self.cut("c", "a", one_way=True)
        self.run_for(7)
        self.cut("a", "c", one_way=True)
        juliet = self.come("juliet@localhost/balcony", "a", "here")
        self.run_for(3.5)
        self.assertNotIn("c", self.servers["a"].mesh.peers)
        self.assertIn("a", self.servers["c"].mesh.peers)
        self.cluster.network.reconnect_delay = 3.0
        self.heal()
        self.assertNotIn("a", self.servers["c"].mesh.peers)
        romeo.send("<presence type='unavailable'/>")
        self.run_for(10)
        self.assertIn("a", self.servers["c"].mesh.peers)
        self.assertEqual(self.seen(juliet, "romeo@localhost/phone"), None)

    def test_moved_from_a_node_that_does_not_hear(self) -> None:
        """A client that comes while a contact's node does not hear sees the contact elsewhere."""
        for seconds in (0.0, 0.5):  # whether its end there or its new place is heard of first
            romeo = self.connect("romeo@localhost/phone", "a")
            romeo.enable_sm()
            romeo.send("<presence><status>here</status></presence>")
            self.come("juliet@localhost/chamber", "b", "here")
            self.cut("b", "a", one_way=True)
            juliet = self.come("juliet@localhost/balcony", "b", "here")
            self.cluster.network.wire("c", "b").slower = seconds
            romeo = self.resume(romeo, "c")
            self.run_for(20)
            self.assertEqual(self.seen(juliet, "romeo@localhost/phone"), "here")
            self.cluster.network.wire("c", "b").slower = 0.0
            self.heal()
            self.run_for(20)
            for client in (romeo, juliet):
                client.send("</stream:stream>")
