"""What a session of another node costs."""

from twisted.trial.unittest import SynchronousTestCase

from benchmarks.sessions import measure


class SessionCostTests(SynchronousTestCase):
    """Figures of :mod:`benchmarks.sessions`."""

    def test_memory(self) -> None:
        """A session of another node takes less than a kibibyte of memory."""
        figures = measure(5000)
        self.assertGreater(figures.memory, 100)
        self.assertLess(figures.memory, 1024)
