"""Chat while all nodes are restarted one after the other."""

from tests.cluster.chat import ChatTestCase


class RollingTests(ChatTestCase):
    """Three nodes, and six clients that talk all the time."""

    def roll(self, seed: int) -> None:
        """Replaces all nodes."""
        self.gather(6, seed)
        for node in self.nodes:
            before = [talker.resumed for talker in self.talkers]
            self.talk(2)
            left = self.cluster.leave(node)
            while not left.called:
                self.talk(0.5)
            self.successResultOf(left)
            self.talk(1)
            self.start(node)
            self.talk(1)
            for talker, resumed in zip(self.talkers, before, strict=True):
                self.assertLessEqual(talker.resumed - resumed, 1, talker.jid)
        self.calm_down()
        self.check_books()
        self.assertEqual([talker.refused for talker in self.talkers], [0] * 6)

    def test_rolling_restart(self) -> None:
        """Nothing is lost, all is in order, and each restart costs a client one resumption."""
        self.roll(seed=1)

    def test_rolling_restart_again(self) -> None:
        """So it is with other chances."""
        self.roll(seed=2)
