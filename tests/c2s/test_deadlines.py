"""One timer for many streams."""

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from mongoosetw.c2s.deadlines import Deadlines


class DeadlinesTests(SynchronousTestCase):
    """Letters that have ten seconds."""

    def setUp(self) -> None:
        """Makes deadlines on a clock of the test."""
        self.clock = Clock()
        self.late: list[str] = []
        self.deadlines = Deadlines[str](self.clock, 10.0, self.late.append)

    def test_each_has_its_time(self) -> None:
        """Each expires when its own time is over, whatever becomes of the others."""
        for letter in "abcd":
            self.deadlines.add(letter)
            self.clock.advance(1)
        self.deadlines.discard("a")
        self.deadlines.discard("c")
        self.clock.advance(6.9)
        self.assertEqual(self.late, [])
        self.clock.advance(0.2)
        self.assertEqual(self.late, ["b"])
        self.clock.advance(1.8)
        self.assertEqual(self.late, ["b"])
        self.clock.advance(0.2)
        self.assertEqual(self.late, ["b", "d"])

    def test_together(self) -> None:
        """Those that began together expire together; whoever begins then has the full time."""
        self.deadlines.add("a")
        self.deadlines.add("b")
        self.deadlines._expired = lambda letter: (
            self.late.append(letter),
            self.deadlines.add(letter.upper()),
        )
        self.clock.advance(10)
        self.assertEqual(self.late, ["a", "b"])
        self.clock.advance(9)
        self.assertEqual(self.late, ["a", "b"])
        self.clock.advance(1)
        self.assertEqual(self.late, ["a", "b", "A", "B"])

    def test_nothing_is_left(self) -> None:
        """When all have made it no timer is left, and the next one is noticed again."""
        for letter in "ab":
            self.deadlines.add(letter)
        for letter in "abb":
            self.deadlines.discard(letter)
        self.assertEqual(self.clock.getDelayedCalls(), [])
        self.deadlines.add("c")
        self.clock.advance(10)
        self.assertEqual(self.late, ["c"])
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_change(self) -> None:
        """A changed time holds for those that come afterwards."""
        self.deadlines.add("a")
        self.deadlines.seconds = 20.0
        self.deadlines.add("b")
        self.clock.advance(10)
        self.assertEqual(self.late, ["a"])
        self.clock.advance(9)
        self.assertEqual(self.late, ["a"])
        self.clock.advance(1)
        self.assertEqual(self.late, ["a", "b"])
