"""Tests of the token bucket."""

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from mongoosetw.config.shaper import Shaper


class ShaperTests(SynchronousTestCase):
    """The mean rate holds, and bursts of a second are free."""

    def test_burst(self) -> None:
        """A second's worth passes at once, what exceeds it costs its time."""
        shaper = Shaper(100)
        self.assertEqual(shaper.consume(100, 5.0), 0.0)
        self.assertAlmostEqual(shaper.consume(50, 5.0), 0.5)

    def test_refill(self) -> None:
        """Time fills the bucket, up to one second's worth."""
        shaper = Shaper(100)
        shaper.consume(150, 0.0)
        self.assertEqual(shaper.consume(50, 1.0), 0.0)
        self.assertAlmostEqual(shaper.consume(200, 1000.0), 1.0)

    def test_clock_backwards(self) -> None:
        """A clock that runs backwards takes nothing away."""
        shaper = Shaper(100)
        shaper.consume(0, 10.0)
        self.assertEqual(shaper.consume(100, 5.0), 0.0)

    def test_change_rate(self) -> None:
        """After a reload the new rate holds."""
        shaper = Shaper(100)
        shaper.change_rate(10)
        self.assertAlmostEqual(shaper.consume(20, 0.0), 1.0)

    @given(
        st.floats(1, 1e6),
        st.lists(st.tuples(st.floats(0, 1e6), st.floats(0, 10)), min_size=1, max_size=30),
    )
    def test_mean_rate(self, rate: float, work: list[tuple[float, float]]) -> None:
        """Whoever waits as told never exceeds the rate by more than one second's worth."""
        shaper, now, done = Shaper(rate), 0.0, 0.0
        for amount, idle in work:
            done += amount
            now += shaper.consume(amount, now)
            self.assertLessEqual(done, rate * (now + 1.0) * (1 + 1e-6) + 1e-6)
            now += idle
