"""Sessions that are resumed on another node than theirs (XEP-0198 §5)."""

from dataclasses import replace

from modules.mod_stream_management.handover import HandOver
from modules.mod_stream_management.module import StreamManagement
from modules.mod_stream_management.package import Package, answer, pack_question
from mongoosetw.xmpp import ns
from mongoosetw.xmpp.jid import JID
from tests.cluster.moves import JULIET, REQUEST, RESUME, MovesTestCase


class ElsewhereTests(MovesTestCase):
    """A client that comes back on another node."""

    def test_nothing_lost_or_doubled(self) -> None:
        """What the client has is not sent again, the rest is, in order, before anything newer."""
        self.say("1", "2")
        self.assertEqual(self.heard(self.juliet), ["1", "2"])
        self.say("3")
        self.run_for(0.1)
        self.juliet.lose()
        self.say("4")
        self.run_for(0.1)
        again = self.resume(self.juliet, "c")
        self.say("5")
        self.assertEqual(self.heard(again), ["3", "4", "5"])
        again.ack()
        self.assertEqual(self.waiting(), 0)
        self.romeo.nothing()
        self.assertIsNone(self.session("b"))
        self.assertIsNotNone(self.session("c"))

    def test_still_connected(self) -> None:
        """A session whose old connection is open is taken over; that ends with conflict."""
        self.say("1")
        self.run_for(0.1)
        again = self.resume(self.juliet, "c")
        self.assertIn(b"<conflict", self.juliet.output())
        self.assertEqual(self.heard(again), ["1"])
        self.say("2")
        self.assertEqual(self.heard(again), ["2"])

    def test_counts_go_on(self) -> None:
        """Both counts are carried over (§5)."""
        self.juliet.send("<presence/><presence/>")
        self.juliet.lose()
        again = self.resume(self.juliet, "a")
        self.assertEqual(again.take_nonza("resumed").attributes["h"], "3")
        again.send(f"<presence/>{REQUEST}")
        self.assertEqual(again.acknowledged(), 4)
        self.say("1")
        self.run_for(0.1)
        again.ack()
        self.assertFalse(again.transport.closed)

    def test_nobody_notices(self) -> None:
        """Contacts see neither the end nor a beginning; the user's other clients likewise."""
        tablet = self.connect("juliet@localhost/tablet", "a")
        tablet.send("<presence/>")
        self.run_for(0.1)
        self.forget(self.romeo, tablet)
        self.juliet.lose()
        again = self.resume(self.juliet, "c")
        self.run_for(10)
        again = self.resume(again, "a")
        self.run_for(10)
        self.romeo.nothing()
        tablet.nothing()
        for node in self.nodes:
            found = self.host(node).sessions.get(again.jid)
            assert found is not None
            self.assertEqual((found.priority, found.local), (5, node == "a"))

    def test_seen_by_those_who_come_later(self) -> None:
        """The new node answers for the client's presence, and says goodbye in the end."""
        again = self.resume(self.juliet, "c")
        friend = self.connect("romeo@localhost/tomb", "b")
        friend.send("<presence/>")
        self.run_for(0.1)
        shown = [s for s in friend.received if s.from_ == again.jid]
        self.assertEqual([s.child_text(ns.CLIENT, "priority") for s in shown], ["5"])
        self.forget(friend, self.romeo)
        again.send("</stream:stream>")
        self.run_for(5)
        for client in (friend, self.romeo):
            client.receives(f"<presence type='unavailable' from='{JULIET}'/>")
            client.nothing()

    def give(self) -> tuple[HandOver, Package]:
        """Node b gives Juliet's session away, and does not hear of it for a while."""
        self.juliet.lose()
        module = self.host("b").modules["mod_stream_management"]
        assert isinstance(module, StreamManagement) and module.handover is not None
        question = pack_question(self.juliet.jid.bare, self.juliet.resume_id, "1")
        given = module.handover._claimed(self.servers["c"].mesh.local, question)
        return module.handover, answer(self.await_(given))

    def check_back(self, handover: HandOver, package: Package) -> None:
        """It comes back before that, and stays."""
        self.await_(handover._adopted(self.servers["c"].mesh.local, package.pack()))
        self.run_for(6)
        again = self.resume(self.juliet, "b")
        self.say("1")
        self.assertEqual(self.heard(again), ["1"])

    def test_back_before_that_is_known(self) -> None:
        """A session may be back before the node that it comes to knows that it was elsewhere."""
        self.check_back(*self.give())
        self.romeo.nothing()

    def test_back_behind_others(self) -> None:
        """Likewise where others have had its address meanwhile."""
        handover, package = self.give()
        self.connect(JULIET, "b")
        self.connect(JULIET, "c")
        self.say("0", by=self.connect("nurse@localhost/x", "b"))
        there = self.host("b").sessions.get(JID.parse(JULIET))
        assert there is not None and not there.local
        self.check_back(handover, replace(package, sid=there.sid))

    def test_away_from_a_netsplit(self) -> None:
        """A client that leaves a node which was cut off sees those whom that did not know of."""
        self.cut("a", "b")
        self.run_for(15)
        self.juliet.receives(f"<presence type='unavailable' from='{self.romeo.jid}'/>")
        again = self.resume(self.juliet, "c")
        self.run_for(1)
        again.receives(f"<presence from='{self.romeo.jid}'><priority>5</priority></presence>")
        self.run_for(40)
        again.nothing()

    def test_hidden_before_a_link(self) -> None:
        """A client that moves and hides before its new node has a link to a contact's is seen to
        go."""
        self.cluster.network.reconnect_delay = 0.4
        self.cut("a", "c")
        self.run_for(15)
        self.heal()
        again = self.resume(self.juliet, "c")
        again.send("<presence type='unavailable'/>")
        self.assertNotIn("c", self.servers["a"].mesh.peers)
        self.run_for(0.9)
        self.assertIn("c", self.servers["a"].mesh.peers)
        self.run_for(5)
        self.romeo.receives(f"<presence type='unavailable' from='{JULIET}'/>")
        self.romeo.nothing()

    def test_hidden_from_who_is_not_known(self) -> None:
        """So is one whose new node has not heard yet of the contact's client, which saw it."""
        self.connect("romeo@localhost/tablet", "c")  # which follows Romeo
        self.cluster.network.wire("a", "c").slower = 3.0
        phone = self.connect("romeo@localhost/phone", "a")
        phone.send("<presence/>")
        self.run_for(0.2)
        again = self.resume(self.juliet, "c")
        self.run_for(0.2)
        again.send("<presence type='unavailable'/>")
        self.run_for(2)
        types = [s.type for s in phone.received if s.from_ == again.jid]
        self.assertEqual(types, ["", "unavailable"])

    def test_contact_lost_soon(self) -> None:
        """Who has come a moment ago sees a contact that goes with its node go, once; and back."""
        again = self.resume(self.juliet, "c")
        self.run_for(5)
        self.kill("a")
        self.run_for(3)
        again.receives(f"<presence type='unavailable' from='{self.romeo.jid}'/>")
        romeo = self.connect(str(self.romeo.jid), "b")
        romeo.send("<presence><priority>5</priority></presence>")
        self.run_for(1)
        again.receives(f"<presence from='{romeo.jid}'><priority>5</priority></presence>")
        self.run_for(40)
        again.nothing()

    def test_old_node_lost_soon(self) -> None:
        """If the node that it has left dies a moment later a client is told of nobody again."""
        other = self.connect("romeo@localhost/tomb", "c")
        nurse = self.connect("romeo@localhost/house", "b")
        for client in (other, nurse):
            client.send("<presence/>")
        self.run_for(1)
        self.forget(self.juliet)
        again = self.resume(self.juliet, "c")
        self.run_for(1)
        self.kill("b")
        self.run_for(3)
        again.receives(f"<presence type='unavailable' from='{nurse.jid}'/>")
        self.run_for(40)
        again.nothing()

    def test_old_nodes_lost_soon(self) -> None:
        """So it is with a client that has moved twice."""
        again = self.resume(self.juliet, "c")
        self.run_for(1)
        again = self.resume(again, "a")
        self.run_for(1)
        self.kill("b")
        self.run_for(1)
        self.kill("c")
        self.run_for(40)
        again.nothing()

    def test_unavailable_for_a_while(self) -> None:
        """Who has come a moment ago, and is available anew, is shown its contacts anew."""
        again = self.resume(self.juliet, "c")
        self.run_for(1)
        shown = f"<presence from='{self.romeo.jid}'><priority>7</priority></presence>"
        self.romeo.send("<presence><priority>7</priority></presence>")
        self.run_for(1)
        again.receives(shown)
        again.send("<presence type='unavailable'/>")
        self.forget(again)
        again.send("<presence/>")
        self.run_for(1)
        self.assertIn(self.romeo.jid, [stanza.from_ for stanza in again.received])

    def test_into_a_netsplit(self) -> None:
        """A client that comes to a node which is cut off sees those go who are elsewhere, as they
        see it go; when all is well again they see one another."""
        self.cut("a", "c")
        self.run_for(15)
        again = self.resume(self.juliet, "c")
        self.run_for(3)
        again.receives(f"<presence type='unavailable' from='{self.romeo.jid}'/>")
        self.romeo.receives(f"<presence type='unavailable' from='{JULIET}'/>")
        self.heal()
        self.run_for(5)
        again.receives(f"<presence from='{self.romeo.jid}'><priority>5</priority></presence>")
        self.romeo.receives(f"<presence from='{JULIET}'><priority>5</priority></presence>")

    def test_out_of_sight(self) -> None:
        """A client that comes from a node which is cut off is shown as it was shown there last."""
        self.cut("a", "b")
        self.run_for(15)
        self.juliet.send("<presence><status>alone</status></presence>")
        self.forget(self.romeo)
        self.resume(self.juliet, "c")
        self.run_for(1)
        self.romeo.receives(f"<presence from='{JULIET}'><status>alone</status></presence>")

    def test_strangers(self) -> None:
        """Strangers who have shown themselves to a client are seen to leave where it is then."""
        nurse = self.connect("nurse@localhost/house", "a")
        nurse.send(f"<presence to='{JULIET}'/>")
        self.run_for(0.1)
        self.forget(self.juliet)
        again = self.resume(self.juliet, "c")
        self.run_for(1)
        again.nothing()
        self.romeo.send("</stream:stream>")
        self.run_for(1)
        self.forget(again)
        self.kill("a")
        self.run_for(1)
        again.receives("<presence type='unavailable' from='nurse@localhost/house'/>")

    def test_nothing_to_see(self) -> None:
        """Where both nodes know the same, a client that has changed nodes is told nothing."""
        again = self.resume(self.juliet, "c")
        self.run_for(20)
        again.nothing()

    def test_directed_presence(self) -> None:
        """Who was sent presence alone is told of the end, once."""
        nurse = self.connect("nurse@localhost/house", "b")
        self.juliet.send("<presence to='nurse@localhost/house'/>")
        again = self.resume(self.juliet, "c")
        self.run_for(5)
        self.forget(nurse)
        again.send("</stream:stream>")
        self.run_for(5)
        nurse.receives(f"<presence type='unavailable' from='{JULIET}'/>")
        nurse.nothing()

    def test_carbons(self) -> None:
        """A client that has enabled carbons gets them on."""
        self.juliet.send(f"<iq type='set' id='c'><enable xmlns='{ns.CARBONS}'/></iq>")
        tablet = self.connect("juliet@localhost/tablet", "a")
        tablet.send("<presence/>")
        self.forget(self.juliet)
        again = self.resume(self.juliet, "c")
        self.forget(again)
        self.say("1", to="juliet@localhost/tablet")
        self.run_for(0.1)
        copies = [s for s in again.received if (ns.CARBONS, "received") in s.children]
        self.assertEqual(len(copies), 1)

    def test_inactive(self) -> None:
        """What was held back for an inactive client arrives."""
        self.juliet.send(f"<inactive xmlns='{ns.CSI}'/>")
        self.romeo.send("<presence><status>1</status></presence>")
        self.run_for(0.1)
        self.juliet.lose()
        self.romeo.send("<presence><status>2</status></presence>")
        self.run_for(0.1)
        again = self.resume(self.juliet, "c")
        self.run_for(0.1)
        statuses = [s.child_text(ns.CLIENT, "status") for s in again.received]
        self.assertEqual(statuses, ["2"])

    def test_active_list(self) -> None:
        """An active privacy list holds on the new node."""
        deny = "<item type='jid' value='romeo@localhost' action='deny' order='1'/>"
        self.juliet.send(
            f"<iq type='set' id='1'><query xmlns='{ns.PRIVACY}'><list name='x'>{deny}</list>"
            "</query></iq>"
            f"<iq type='set' id='2'><query xmlns='{ns.PRIVACY}'><active name='x'/></query></iq>"
        )
        self.run_for(0.1)
        self.forget(self.juliet)
        again = self.resume(self.juliet, "c")
        self.say("1", to=JULIET)
        self.assertEqual(self.heard(again), [])

    def test_answers_reach_the_new_connection(self) -> None:
        """A request that was sent before is answered on the new connection."""
        self.juliet.send(f"<iq type='get' id='1' to='{self.romeo.jid}'><q xmlns='urn:x'/></iq>")
        self.run_for(0.1)
        request = self.romeo.take()
        self.juliet.lose()
        again = self.resume(self.juliet, "c")
        self.romeo.send(f"<iq type='result' id='{request.id}' to='{JULIET}'/>")
        self.run_for(0.1)
        again.receives(f"<iq type='result' id='1' from='{self.romeo.jid}'/>")

    def test_round_and_round(self) -> None:
        """A session can move many times, and back to where it was; nothing of it is left behind."""
        client = self.juliet
        for number, node in enumerate("cabcba" * 3):
            self.say(str(number))
            self.run_for(0.1)
            client.lose()
            client = self.resume(client, node)
            self.assertEqual(self.heard(client), [str(number)])
        client.ack()
        self.run_for(5)
        self.assertEqual([self.host(n).sessions.local_count for n in self.nodes], [2, 0, 0])

    def test_messages_for_the_account(self) -> None:
        """What was addressed to the account arrives as well."""
        self.juliet.lose()
        self.say("1", to="juliet@localhost")
        self.run_for(0.1)
        again = self.resume(self.juliet, "c")
        self.say("2", to="juliet@localhost")
        self.assertEqual(self.heard(again), ["1", "2"])

    def test_expiry_on_the_new_node(self) -> None:
        """A client that has moved and does not come back again loses nothing."""
        again = self.resume(self.juliet, "c")
        self.say("1")
        self.run_for(0.1)
        again.lose()
        self.say("2")
        self.run_for(601)
        self.assertIsNone(self.session("c"))
        self.romeo.receives(f"<presence type='unavailable' from='{JULIET}'/>")
        self.romeo.nothing()
        later = self.connect("juliet@localhost/later", "a")
        later.send("<presence/>")
        self.assertEqual(self.heard(later), ["1", "2"])


class RefusedTests(MovesTestCase):
    """Clients that cannot resume."""

    def test_unknown(self) -> None:
        """An id that nobody has given."""
        for resume_id in ("x", f"{self.juliet.resume_id}x", "ffffff-x"):
            self.assertIn(b"<item-not-found", self.refused("c", resume_id))
        self.assertIsNotNone(self.session("b"))

    def test_somebody_else(self) -> None:
        """Another user's session is nobody else's business."""
        answer = self.refused("c", self.juliet.resume_id, jid="nurse@localhost/x")
        self.assertIn(b"<item-not-found", answer)
        self.assertIsNotNone(self.session("b"))
        self.assertFalse(self.juliet.transport.closed)

    def test_too_much(self) -> None:
        """A client that has handled more than it was sent: its stream ends, the session stays."""
        client = self.connect(JULIET, "c", bind=False)
        client.send(RESUME.format(self.juliet.resume_id, 99))
        self.run_for(0.2)
        self.assertIn(b"<handled-count-too-high xmlns='urn:xmpp:sm:3' h='99'", client.output())
        self.assertIsNotNone(self.session("b"))

    def test_too_late(self) -> None:
        """The count of a session that is over is told, wherever it was."""
        self.juliet.send("<presence/>")
        self.juliet.lose()
        self.run_for(601)
        self.assertIn(b" h='2'>", self.refused("c", self.juliet.resume_id))

    def test_node_without_the_module(self) -> None:
        """A node that does not know the question has no session either."""
        self.host("b").modules["mod_stream_management"].stop()
        self.assertIn(b"<item-not-found", self.refused("c", self.juliet.resume_id))
