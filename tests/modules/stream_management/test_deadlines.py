"""One timer for many waiting times."""

from collections.abc import Callable

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from modules.mod_stream_management.deadlines import Deadlines
from mongoosetw.module import Timer


class DeadlinesTests(SynchronousTestCase):
    """What is handed over, and when."""

    def setUp(self) -> None:
        """A clock that does not begin at a whole second."""
        self.clock = Clock()
        self.clock.advance(0.4)
        self.due: list[str] = []
        self.deadlines: Deadlines[str] = Deadlines(self.clock, self.later, self.due.append)

    def later(self, seconds: float, function: Callable[[], None]) -> Timer:
        """As a module's."""
        timer = Timer(set())
        timer.schedule(self.clock, seconds, function)
        return timer

    def after(self, seconds: float) -> list[str]:
        """What becomes due."""
        self.due.clear()
        self.clock.advance(seconds)
        return sorted(self.due)

    def test_in_time(self) -> None:
        """Each is handed over when its time has come, at most a second later, by one timer."""
        self.deadlines.add("late", 5.0)
        self.deadlines.add("early", 2.3)
        self.deadlines.add("too", 2.9)
        self.assertEqual((len(self.deadlines), len(self.clock.getDelayedCalls())), (3, 1))
        self.assertEqual(self.after(1.8), [])
        self.assertEqual(self.after(0.8), ["early", "too"])
        self.assertEqual(self.after(2.0), ["late"])
        self.assertEqual((len(self.deadlines), self.clock.getDelayedCalls()), (0, []))

    def test_taken_back(self) -> None:
        """What was taken back is not handed over; with the last one the timer goes."""
        for thing in ("a", "b"):
            self.deadlines.add(thing, 2.0)
        self.deadlines.discard("a", 2.0)
        self.deadlines.discard("a", 2.0)
        self.assertEqual(self.after(2.0), ["b"])
        self.deadlines.discard("b", 2.0)
        self.deadlines.add("c", 5.0)
        self.deadlines.discard("c", 5.0)
        self.assertEqual((len(self.deadlines), self.clock.getDelayedCalls()), (0, []))

    def test_an_earlier_one_taken_back(self) -> None:
        """What is left has its time as before."""
        self.deadlines.add("late", 5.0)
        self.deadlines.add("early", 2.0)
        self.deadlines.discard("early", 2.0)
        self.assertEqual(self.after(4.0), [])
        self.assertEqual(self.after(1.0), ["late"])

    def test_stop(self) -> None:
        """Nothing is handed over any more."""
        self.deadlines.add("a", 2.0)
        self.deadlines.stop()
        self.assertEqual(self.after(5.0), [])
