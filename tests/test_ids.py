"""Ids that sort by time."""

from twisted.trial.unittest import SynchronousTestCase

from mongoosetw.ids import TimeIDs, first_at, timestamp


class TimeIDsTests(SynchronousTestCase):
    """What the message log relies on."""

    def setUp(self) -> None:
        """A clock that the test sets."""
        self.now = 1_000_000_000_000_000
        self.ids = TimeIDs(3, lambda: self.now)

    def test_grow_within_a_microsecond(self) -> None:
        """Ids made at the same instant differ and grow."""
        made = [self.ids.next() for _ in range(1000)]
        self.assertEqual(made, sorted(set(made)))

    def test_grow_when_the_clock_goes_back(self) -> None:
        """A clock that is set back makes no smaller id."""
        before = self.ids.next()
        self.now -= 5_000_000
        self.assertGreater(self.ids.next(), before)

    def test_nodes_never_share_an_id(self) -> None:
        """Two nodes at the same instant make different ids."""
        self.assertNotEqual(self.ids.next(), TimeIDs(4, lambda: self.now).next())

    def test_stay_above_what_was_given_away(self) -> None:
        """A process whose clock is behind makes no id that an earlier one has made."""
        earlier = TimeIDs(3, lambda: self.now + 9_000_000).next()
        self.ids.stay_above(earlier)
        self.assertGreater(self.ids.next(), earlier)

    def test_time_of_an_id(self) -> None:
        """An id tells when it was made, and a time which ids came before it."""
        identifier = self.ids.next()
        self.assertAlmostEqual(timestamp(identifier), 1e9, places=5)
        self.assertLessEqual(first_at(10**15), identifier)
        self.assertGreater(first_at(10**15 + 1000), identifier)

    def test_node_numbers_are_bounded(self) -> None:
        """A number that would spill into the time is refused."""
        self.assertRaises(ValueError, TimeIDs, 256)
