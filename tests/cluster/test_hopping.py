"""Clients that change nodes all the time, while everybody talks to everybody."""

from tests.cluster.chat import ChatTestCase


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
