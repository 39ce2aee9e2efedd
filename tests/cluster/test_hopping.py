"""Clients that change nodes all the time, while everybody talks to everybody."""

from tests.cluster.chat import ChatTestCase
from tests.cluster.messages import COMMIT, MessagesTestCase, bodies
from tests.cluster.moves import RESUME


class HoppingTests(ChatTestCase):
    """Three nodes, and five clients that lose their connections at random."""

    def hop(self, seed: int) -> None:
        """Has them talk and hop."""
        self.gather(5, seed)
        for _ in range(40):
            self.talk(0.2)
            talker = self.random.choice(self.talkers)
            if self.random.random() < 0.7:
                talker.client.lose()
            talker.come_back(self.random.choice(self.nodes))
        self.calm_down()
        self.check_books()
        self.assertEqual([talker.refused for talker in self.talkers], [0] * 5)

    def test_hopping(self) -> None:
        """Nothing is lost, doubled or out of order, and no session ends."""
        self.hop(1)

    def test_hopping_again(self) -> None:
        """So it is with other chances."""
        self.hop(2)


class KilledTests(ChatTestCase):
    """The same, and nodes die under them."""

    peer_timeout = 2.0

    def test_killed_nodes(self) -> None:
        """Whoever dies, and whatever moves just then: all arrives."""
        self.gather(5, 4)
        for turn in range(24):
            self.talk(0.3)
            talker = self.random.choice(self.talkers)
            if self.random.random() < 0.7:
                talker.client.lose()
            talker.come_back(self.random.choice(self.nodes))
            if turn % 8 == 7:
                self.replace(self.random.choice(self.nodes))
        self.calm_down()
        for talker in self.talkers:
            for other in self.talkers:
                for address in (talker.jid, talker.jid.partition("/")[0]):
                    # In any order: a new session begins with what was not acknowledged
                    heard = sorted(talker.heard.get(f"{other.jid} to {address}", []))
                    self.assertEqual(heard, [] if other is talker else other.sent_to(address))

    def replace(self, node: str) -> None:
        """A node dies, and is started again after a while."""
        self.kill(node, power=self.random.random() < 0.5)
        self.run_for(self.random.choice((0.0, 1.0, 4.0)))
        for talker in self.talkers:
            if talker.client.transport.closed:
                talker.come_back(self.random.choice(list(self.servers)))
        self.talk(1)
        self.start(node)
        self.run_for(6)


class SenderTests(MessagesTestCase):
    """Romeo's client moves from a, whose link to Juliet's node is slow, to c."""

    def move(self, slower: float = 2.0) -> None:
        """It has said something before, and says something at once."""
        self.juliet_there = self.juliet()
        self.cluster.network.wire("a", "b").slower = slower
        self.say("1")
        self.romeo.lose()
        handled = self.romeo.handled
        again = self.connect("romeo@localhost/phone", "c", bind=False)
        again.send(RESUME.format(self.romeo.resume_id, handled))
        self.run_for(COMMIT)
        again.take_nonza("resumed")
        self.romeo = again
        self.say("2")
        self.assertEqual(bodies(self.juliet_there), [])

    def test_order(self) -> None:
        """What it says there does not overtake what it has said before."""
        self.move()
        self.run_for(2)
        self.say("3")
        self.run_for(3)
        self.assertEqual(bodies(self.juliet_there), ["1", "2", "3"])
        self.say("4")
        self.assertEqual(bodies(self.juliet_there), ["4"])

    def test_slow_for_long(self) -> None:
        """It does not wait for longer than some seconds."""
        self.move(slower=8.0)
        self.run_for(6)
        self.assertEqual(bodies(self.juliet_there), ["2"])
        self.run_for(3)
        self.assertEqual(bodies(self.juliet_there), ["1"])

    def test_lost_node(self) -> None:
        """Nor for a node that is lost."""
        self.move()
        self.kill("a")
        self.assertEqual(bodies(self.juliet_there), ["2"])
