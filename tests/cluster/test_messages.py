"""Messages between nodes: on disk, accounted for on one node, delivered whatever is lost."""

from twisted.internet.defer import Deferred, fail

from mongoosetw.messagelog.tables import messages, pending
from mongoosetw.storage.work import DatabaseUnavailable
from tests.cluster.messages import MessagesTestCase, bodies, ids


class HeldTests(MessagesTestCase):
    """What is on its way to a client of another node."""

    def test_arrived(self) -> None:
        """When the client has acknowledged, nothing is left that could be delivered again."""
        juliet = self.juliet()
        self.say("hello")
        self.assertEqual(bodies(juliet), ["hello"])
        self.assertEqual(self.rows(messages), 1)
        juliet.ack()
        self.run_for(30)
        self.assertEqual((self.rows(pending), self.rows(messages)), (0, 0))
        juliet.lose()
        self.run_for(5)
        self.assertEqual(bodies(self.juliet("c")), [])

    def test_arrived_late(self) -> None:
        """An acknowledgement that takes long leaves nothing either."""
        juliet = self.juliet()
        self.say("hello")
        self.assertEqual(bodies(juliet), ["hello"])
        self.run_for(10)
        self.assertEqual(self.rows(pending), 1)
        juliet.ack()
        self.run_for(30)
        self.assertEqual((self.rows(pending), self.rows(messages)), (0, 0))

    def test_client_lost(self) -> None:
        """What a client has not acknowledged waits for the next, on whatever node."""
        for node in ("a", "b", "c"):
            juliet = self.juliet()
            self.say(node)
            before = ids(juliet)
            juliet.lose()
            self.run_for(1)
            again = self.juliet(node, "again")
            self.assertEqual(ids(again), before)
            self.assertEqual(bodies(again), [node])
            again.ack()
            again.lose()
            self.run_for(3)

    def test_client_lost_behind_a_full_link(self) -> None:
        """So it does if the node that holds the message cannot be told at once."""
        juliet = self.juliet()
        self.say("hello")
        self.assertEqual(bodies(juliet), ["hello"])
        self.cluster.network.queue_size = 0
        juliet.lose()
        self.run_for(1)
        self.cluster.network.queue_size = 1 << 24
        again = self.juliet("b", "again")
        self.run_for(3)
        self.assertEqual(bodies(again), ["hello"])

    def test_client_hidden(self) -> None:
        """A client that takes no messages, which another node learns late, gets it later."""
        juliet = self.juliet()
        self.cluster.network.wire("b", "a").slower = 10.0
        juliet.send("<presence type='unavailable'/>")
        self.say("hello")
        self.run_for(15)
        self.assertEqual(bodies(juliet), [])
        juliet.send("<presence/>")
        self.run_for(12)
        self.assertEqual(bodies(juliet), ["hello"])

    def test_client_hides_meanwhile(self) -> None:
        """What a client was about to be given that hides before goes to another device."""
        desk = self.juliet("b", "desk")
        desk.send("<presence><priority>5</priority></presence>")
        gone = self.juliet("b", "gone")
        other = self.juliet("a", "other")
        self.say("hello", str(gone.jid))
        self.kill("c")
        gone.lose()
        self.settle()
        desk.send("<presence type='unavailable'/>")
        self.run_for(10)
        self.assertEqual((bodies(desk), bodies(other)), ([], ["hello"]))

    def test_goes_to_another_device(self) -> None:
        """What a client has not acknowledged goes to a device that is there, on any node."""
        juliet, other = self.juliet(), self.juliet("c", "other")
        self.say("hello", "juliet@localhost/balcony")
        self.assertEqual((bodies(juliet), bodies(other)), (["hello"], []))
        juliet.lose()
        self.run_for(1)
        self.assertEqual(bodies(other), ["hello"])

    def test_sender_without_acknowledgements(self) -> None:
        """A recipient that acknowledges is enough."""
        self.romeo = self.connect("romeo@localhost/old", node="a")
        juliet = self.juliet()
        self.say("hello")
        juliet.lose()
        self.run_for(1)
        self.assertEqual(bodies(self.juliet("c")), ["hello"])

    def test_recipient_without_acknowledgements(self) -> None:
        """A message counts as delivered when it was written, and nothing is left."""
        juliet = self.juliet(sm=False)
        self.say("hello")
        self.assertEqual(bodies(juliet), ["hello"])
        self.run_for(30)
        self.assertEqual((self.rows(pending), self.rows(messages)), (0, 0))


class LostNodeTests(MessagesTestCase):
    """Nodes that are killed."""

    def test_recipients_node(self) -> None:
        """What was on its way to a client of a lost node waits for it."""
        self.juliet()
        self.say("one")
        self.run_for(5)
        self.say("two")
        self.kill("b")
        self.run_for(1)
        self.assertEqual(bodies(self.juliet("c")), ["one", "two"])

    def test_recipients_node_and_another_device(self) -> None:
        """What was on its way to a client of a lost node goes to a device that is there."""
        self.juliet()
        other = self.juliet("c", "other")
        self.say("hello", "juliet@localhost/balcony")
        self.kill("b", power=True)
        self.run_for(20)
        self.assertEqual(bodies(other), ["hello"])

    def test_in_flight(self) -> None:
        """A message that has left and not arrived when the node is lost is not lost."""
        self.juliet()
        self.freeze("b")
        self.say("hello")
        self.kill("b")
        self.run_for(1)
        self.assertEqual(bodies(self.juliet("c")), ["hello"])

    def test_senders_node(self) -> None:
        """What a lost node had on its way is taken over: nobody else knows of it."""
        juliet = self.juliet()
        self.say("hello")
        self.kill("a")
        self.run_for(10)
        juliet.lose()
        self.run_for(1)
        self.assertEqual(bodies(self.juliet("c")), ["hello"])

    def test_node_of_both(self) -> None:
        """What a lost node had on its way comes before what is said elsewhere since then."""
        self.juliet("a")
        self.say("one")
        self.kill("a")
        self.settle()
        juliet = self.connect("juliet@localhost/balcony", node="c")
        self.romeo = self.connect("romeo@localhost/phone", node="b")
        self.assertIsNone(self.host("b").sessions.get(self.romeo.jid))
        self.run_for(2)
        juliet.send("<presence/>")
        self.say("two")
        self.run_for(10)
        self.assertEqual(bodies(juliet), ["one", "two"])

    def test_login_without_a_database(self) -> None:
        """Who comes after a loss is let in though nothing can be taken over."""
        self.register("juliet@localhost")
        self.patch(self.servers["b"].db, "run", self._never)
        self.kill("a")
        juliet = self.connect("juliet@localhost/balcony", node="c")
        self.run_for(6)
        self.assertIsNotNone(self.host("c").sessions.get(juliet.jid))

    def _never(self, name: str, work: object, *, single: bool = False) -> Deferred[None]:
        return fail(DatabaseUnavailable("it is away"))

    def test_senders_node_and_acknowledged(self) -> None:
        """What has arrived meanwhile is not delivered again."""
        juliet = self.juliet()
        self.say("hello")
        self.assertEqual(bodies(juliet), ["hello"])
        self.kill("a")
        self.settle()
        juliet.ack()
        self.run_for(10)
        self.assertEqual(self.rows(pending, "b"), 0)

    def test_both_nodes(self) -> None:
        """Nothing is lost with both the sender's and the recipient's node."""
        self.juliet()
        self.say("hello")
        self.kill("a")
        self.kill("b")
        self.run_for(10)
        self.assertEqual(bodies(self.juliet("c")), ["hello"])

    def test_all_nodes(self) -> None:
        """Nor with all of them, if fewer are started again."""
        self.juliet()
        self.say("hello")
        for node in ("a", "b", "c"):
            self.kill(node)
        self.start("c")
        self.run_for(40)
        self.assertEqual(bodies(self.juliet("c")), ["hello"])

    def test_restarted_for_somebody_who_is_there(self) -> None:
        """What a node has left that is back at once goes to a client that never left."""
        juliet = self.juliet()
        self.cut("a", "b")
        self.say("hello")
        self.restart("a")
        self.assertEqual(bodies(juliet), [])
        self.heal()
        self.run_for(20)
        self.assertEqual(bodies(juliet), ["hello"])

    def test_taken_over_for_somebody_who_is_there(self) -> None:
        """What a lost node has left is delivered to a client that has been there all the time."""
        self.juliet("a", "phone")
        other = self.juliet("c", "other")
        self.say("hello", "juliet@localhost/phone")
        self.kill("a")
        self.run_for(10)
        self.assertEqual(bodies(other), ["hello"])


class SplitTests(MessagesTestCase):
    """Nodes that have lost one another, and live."""

    peer_timeout = 4.0

    def test_message_while_split(self) -> None:
        """A message that waits since the nodes cannot reach one another comes when they can."""
        juliet = self.juliet()
        for other in ("a", "c"):
            self.cut("b", other)
        self.run_for(10)
        self.say("hello")
        self.assertEqual(bodies(juliet), [])
        self.heal()
        self.run_for(20)
        self.assertEqual(bodies(juliet), ["hello"])

    def test_login_while_split(self) -> None:
        """Who comes waits for a node that lives, and cannot be reached, for a moment only."""
        self.cut("b", "c")
        self.run_for(12)
        juliet = self.juliet("c")
        self.say("hello")
        self.run_for(5)
        self.assertEqual(bodies(juliet), ["hello"])

    def test_lost_on_the_way(self) -> None:
        """A message that was lost with the link is found in the log, and comes once."""
        juliet = self.juliet()
        for other in ("a", "c"):
            self.cut("b", other)
        self.say("hello")
        self.assertEqual(bodies(juliet), [])
        self.run_for(10)
        self.heal()
        self.run_for(20)
        self.assertEqual(bodies(juliet), ["hello"])

    def test_lost_on_the_way_to_one_that_takes_none(self) -> None:
        """So is one for the full JID of a client of negative priority, before what is newer."""
        juliet = self.juliet()
        juliet.send("<presence><priority>-1</priority></presence>")
        for other in ("a", "c"):
            self.cut("b", other)
        self.say("older", str(juliet.jid))
        self.run_for(10)
        self.say("not for her", "juliet@localhost")
        self.heal()
        while "b" not in self.servers["a"].mesh.peers:
            self.run_for(0.1)
        self.say("newer", str(juliet.jid))
        self.run_for(20)
        self.assertEqual(bodies(juliet), ["older", "newer"])
        juliet.send("<presence/>")
        self.run_for(1)
        self.assertEqual(bodies(juliet), ["not for her"])

    def test_for_an_older_one_of_the_address(self) -> None:
        """What came for a session while a newer one had its address elsewhere is for that."""
        old = self.juliet("a")
        self.cut("a", "b")
        self.cut("b", "c")
        self.run_for(10)
        juliet = self.juliet()
        juliet.send("<presence><priority>-1</priority></presence>")
        self.say("older", str(juliet.jid))
        self.assertEqual(bodies(old), ["older"])
        self.heal()
        self.run_for(10)
        self.say("newer", str(juliet.jid))
        self.assertEqual(bodies(juliet), ["older", "newer"])

    def test_lost_while_split(self) -> None:
        """What a node had on its way that dies when one is back who had given it up is not lost."""
        self.run_for(40)
        for other in ("b", "c"):
            self.cut("a", other)
        self.run_for(20)
        nurse = self.connect("nurse@localhost/phone", node="c")
        nurse.enable_sm()
        juliet = self.juliet()
        nurse.send("<message to='juliet@localhost' type='chat'><body>hello</body></message>")
        self.run_for(1)
        self.assertEqual(bodies(juliet), ["hello"])
        self.cluster.network.reconnect_delay = 0.5
        self.kill("c", power=True)
        self.heal()
        self.run_for(2)
        self.assertIn("b", self.servers["a"].mesh.peers)
        self.assertIn("c", self.servers["b"].mesh.peers)
        juliet.lose()
        self.run_for(20)
        self.assertEqual(bodies(self.juliet()), ["hello"])

    def test_ends_while_split(self) -> None:
        """What a node has logged after it was taken over from, and before it ended, is not lost."""
        there = self.juliet("c", "there")
        for other in ("b", "c"):
            self.cut("a", other)
        self.run_for(20)
        self.juliet("a", "here")
        self.say("one", "juliet@localhost/here")
        self.say("two", "juliet@localhost/gone")
        self.kill("a", power=True)
        self.run_for(45)
        self.assertEqual(sorted(map(str, bodies(there))), ["one", "two"])

    def test_goes_on_while_split(self) -> None:
        """A node that goes on by itself is not taken over from again and again."""
        other = self.juliet("c", "there")
        for node in ("b", "c"):
            self.cut("a", node)
        self.run_for(20)
        juliet = self.juliet("a", "here")
        for number in range(60):
            self.say(str(number), "juliet@localhost/here")
            self.run_for(0.9)
            juliet.ack()
        self.assertEqual(bodies(juliet), [*map(str, range(60))])
        self.run_for(20)
        self.assertEqual((bodies(other), self.rows(pending, "b")), ([], 0))

    def test_acknowledged_while_split(self) -> None:
        """What was acknowledged while nobody could be told is not delivered again."""
        juliet = self.juliet()
        self.say("hello")
        self.assertEqual(bodies(juliet), ["hello"])
        for other in ("a", "c"):
            self.cut("b", other)
        self.run_for(10)
        juliet.ack()
        self.run_for(10)
        self.heal()
        self.run_for(20)
        self.assertEqual(bodies(juliet), [])
        juliet.lose()
        self.run_for(2)
        self.assertEqual(bodies(self.juliet("c")), [])


class ClockTests(MessagesTestCase):
    """Nodes whose clocks differ, so that ids are no order among them."""

    def restart_slow(self, node: str) -> None:
        """A node comes back with a clock that is slow."""
        self.kill(node)
        self.start(node, skew=-60.0)
        self.run_for(3)

    def test_newer_ones_with_lesser_ids(self) -> None:
        """What comes while a client catches up does not end that, whatever its id."""
        self.restart_slow("c")
        self.register("juliet@localhost")
        nurse = self.connect("nurse@localhost/phone", node="c")
        for number in range(60):
            self.say(str(number))
        juliet = self.juliet()
        nurse.send("<message to='juliet@localhost' type='chat'><body>nurse</body></message>")
        for _ in range(10):
            juliet.ack()
            self.run_for(1)
        self.assertEqual(bodies(juliet), [*map(str, range(60)), "nurse"])

    def test_found_by_one_node_after_the_other(self) -> None:
        """What waits at a second node comes before what is newer from there, though the client
        is still being given what has waited at the first one."""
        self.restart_slow("c")
        juliet = self.juliet()
        nurse = self.connect("nurse@localhost/phone", node="c")
        for other in ("a", "c"):
            self.cut("b", other)
        self.run_for(15)
        for number in range(60):
            self.say(str(number))
        self.cluster.network.heal("a", "b")
        self.run_for(10)
        say = "<message to='juliet@localhost' type='chat'><body>{}</body></message>"
        nurse.send(say.format("older"))
        self.run_for(1)
        self.heal()
        self.run_for(10)
        nurse.send(say.format("newer"))
        for _ in range(10):
            juliet.ack()
            self.run_for(1)
        got = bodies(juliet)
        self.assertEqual([text for text in got if text in ("older", "newer")], ["older", "newer"])
        self.assertEqual(len(got), 62)


class MayWaitTests(MessagesTestCase):
    """For whom messages may wait, every node knows without the database."""

    def test_node_that_is_new(self) -> None:
        """A node hears of everybody for whom a message waits since it is there."""
        self.register("juliet@localhost")
        self.say("one")
        juliet = self.juliet("c")
        self.assertEqual(bodies(juliet), ["one"])
        juliet.ack()
        juliet.lose()
        self.run_for(3)
        self.restart("b")
        self.run_for(3)
        self.say("two")
        self.assertEqual(bodies(self.juliet("b")), ["two"])

    def test_node_that_nobody_knew(self) -> None:
        """A node hears of what was taken over from one that it has never known."""
        nurse = self.connect("nurse@localhost/phone", node="c")
        nurse.enable_sm()
        self.juliet("c")
        for other in ("a", "b"):
            self.cut("c", other)
        self.run_for(15)
        self.restart("b")
        tablet = self.juliet("b", "tablet")
        self.run_for(30)
        nurse.send("<message to='juliet@localhost/balcony' type='chat'><body>one</body></message>")
        self.run_for(1)
        self.kill("c", power=True)
        self.run_for(60)
        self.assertEqual(bodies(tablet), ["one"])

    def test_node_that_is_gone(self) -> None:
        """What a node has written that nobody hears from any more is found in the database."""
        self.register("juliet@localhost")
        self.cut("a", "b")
        self.run_for(15)
        self.say("one")
        self.kill("a")
        self.assertEqual(bodies(self.juliet("b")), ["one"])
