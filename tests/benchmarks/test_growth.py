"""What a login costs a cluster as it grows."""

from twisted.trial.unittest import SynchronousTestCase

from benchmarks.growth import measure, table


class GrowthTests(SynchronousTestCase):
    """Figures of :mod:`benchmarks.growth`."""

    def test_each_node_costs_the_same(self) -> None:
        """A login is told to every other node, at most three times and in few bytes."""
        small, large = (measure(nodes, 20, "replicated") for nodes in (2, 5))
        self.assertLessEqual(small.payloads, 3.2)
        self.assertLess(small.bytes, 250)
        self.assertAlmostEqual(large.payloads / small.payloads, 4, delta=0.3)
        self.assertEqual(table([small, large], 512.0).count("KiB"), 2)
