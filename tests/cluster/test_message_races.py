"""A message and a session of its recipient that comes at the same time, on two nodes."""

from twisted.internet.task import deferLater

from mongoosetw.messagelog import Pending
from mongoosetw.storage.batch import LogWriter
from mongoosetw.xmpp.jid import JID
from tests.cluster.messages import COMMIT, MessagesTestCase, bodies


class RaceTests(MessagesTestCase):
    """A client that comes while a message is being stored."""

    latency = (0.2, 0.3)

    def test_replaced_by_a_session_elsewhere(self) -> None:
        """What the older session had not acknowledged goes to the newer one, when it is ready."""
        juliet = self.juliet("a")
        self.say("hello")
        self.assertEqual(bodies(juliet), ["hello"])
        newer = self.connect("juliet@localhost/balcony", node="b")
        newer.send("<presence/>")
        self.run_for(3)
        self.assertEqual(bodies(newer), ["hello"])

    def test_login_meanwhile(self) -> None:
        """Whatever the instant, the message is delivered, and once."""
        self.register("juliet@localhost")
        for start in range(12):
            text = str(start)
            self.romeo.send(
                f"<message to='juliet@localhost' type='chat'><body>{text}</body></message>"
            )
            juliet = self.juliet("b", f"d{start}")
            self.run_for(0.05 * start)
            second = f"{text} again"
            self.say(second)
            self.run_for(3)
            self.assertEqual(bodies(juliet), [text, second], text)
            juliet.ack()
            self.run_for(1)
            juliet.lose()
            self.run_for(3)

    def test_older_session_that_stays(self) -> None:
        """A node that is asked when an older session has ended waits for that, but not for ever."""
        juliet = self.juliet("b")
        session = self.host("b").sessions.get(juliet.jid)
        cluster = self.servers["a"].cluster
        assert session is not None and cluster is not None
        question = session.sid.to_bytes(8) + str(juliet.jid).encode()
        asked = cluster.calls.call("b", "log-succeeded", question, 30.0)
        self.run_for(5)
        self.assertNoResult(asked)
        self.run_for(10)
        self.assertEqual(self.successResultOf(asked), b"")

    def test_order_behind_a_session_elsewhere(self) -> None:
        """And before what is newer, wherever that comes from."""
        self.register("juliet@localhost")
        for node, place in (("b", "a"), ("b", "c"), ("a", "b"), ("a", "c"), ("c", "b")):
            self.juliet(node)
            self.run_for(1)
            texts = [f"{node}{place} {number}" for number in range(30)]
            for text in texts[:5]:
                self.say(text)
            self.run_for(1)
            newer = self.connect("juliet@localhost/balcony", node=place)
            for number, text in enumerate(texts[5:]):
                self.say(text)
                self.run_for(0.05)
                if number == 8:  # binding takes as long as what is on its way to the old node
                    newer.enable_sm(resume=False)
                    newer.send("<presence/>")
            self.run_for(5)
            self.assertEqual(bodies(newer), texts)
            newer.ack()
            newer.lose()
            self.run_for(12)

    def test_login_while_reading(self) -> None:
        """So it is in its order, if the login has just read what waits."""
        self.register("juliet@localhost")
        log = self.servers["b"].message_log
        assert log is not None
        read, clock = log.pending, self.servers["b"].clock

        async def pending(user: JID, after: int, most: int) -> list[Pending]:
            found = await read(user, after, most)
            await deferLater(clock, 1.0)
            return found

        self.patch(log, "pending", pending)
        for extent in range(6):
            texts = [f"{extent} {number}" for number in range(10)]
            for text in texts[:3]:
                self.say(text)
            self.run_for(1)
            juliet = self.juliet("b", f"d{extent}")
            for text in texts[3:]:
                self.say(text)
                self.run_for(0.05 * extent)
            self.run_for(5)
            self.assertEqual(bodies(juliet), texts)
            juliet.ack()
            juliet.lose()
            self.run_for(3)


class SlowDiskTests(RaceTests):
    """The same where what is written takes a second to be on disk."""

    def setUp(self) -> None:
        """Has all that is written wait."""
        self.patch(LogWriter, "_rest", 1.0)
        super().setUp()

    def test_told_by_a_lost_link(self) -> None:
        """Who comes while a message is being stored gets it, though the link is lost just then."""
        self.register("juliet@localhost")
        self.cut("a", "b", one_way=True)
        self.say("hello")
        juliet = self.juliet()
        self.cluster.network.reconnect_delay = 0.1
        while "a" in self.servers["b"].mesh.peers:
            self.run_for(0.1)
        self.assertEqual(bodies(juliet), [])
        self.heal()
        self.run_for(20)
        self.assertEqual(bodies(juliet), ["hello"])

    def test_after_a_netsplit(self) -> None:
        """What was sent while the nodes did not reach each other comes before what is newer."""
        juliet = self.juliet("b")
        self.cut("a", "b")
        self.run_for(20)
        said = [str(number) for number in range(10)]
        for text in said:
            self.say(text)
        self.heal()
        for number in range(10, 90):
            said.append(str(number))
            self.say(said[-1])
            self.run_for(COMMIT)
            juliet.ack()
        for _ in range(5):
            self.run_for(2)
            juliet.ack()
        self.assertEqual(bodies(juliet), said)

    def test_node_lost_meanwhile(self) -> None:
        """What was on its way to disk is sent again; what is behind it does not overtake it."""
        self.register("juliet@localhost")
        for start in range(8):
            texts = [f"{start} {number}" for number in range(10)]
            self.say(texts[0])
            juliet = self.juliet("b", f"d{start}")
            for text in texts[1:]:
                self.say(text)
                self.run_for(0.03 + 0.01 * start)
            self.kill("a")
            self.romeo = self.connect("romeo@localhost/phone", node="b")
            self.romeo.enable_sm()
            for text in texts:  # nothing is acknowledged
                self.say(text)
            self.run_for(8)
            self.assertEqual(list(dict.fromkeys(bodies(juliet))), texts)
            juliet.ack()
            juliet.lose()
            self.start("a")
            self.run_for(12)
            self.romeo = self.connect("romeo@localhost/phone", node="a")
            self.romeo.enable_sm()
