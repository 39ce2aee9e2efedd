"""What a supervisor makes of the answers and metrics of its workers."""

from twisted.trial.unittest import SynchronousTestCase

from mongoosetw.cluster import merging
from mongoosetw.cluster.scrape import label, merge

ONE = """\
# HELP logins Sessions opened
# TYPE logins counter
logins{host_type="a{b}"} 3
# HELP up Age
# TYPE up gauge
up 5
"""
TWO = """\
# HELP up Age
# TYPE up gauge
up 7
# HELP only_here A metric of one
# TYPE only_here gauge
only_here{le="+Inf"} 1
"""


class MergingTests(SynchronousTestCase):
    """Answers to mongoosectl."""

    def test_rows(self) -> None:
        """Rows of all workers stand in one table, each with its node."""
        found = merging.rows([("a.1", [{"jid": "b@x"}]), ("a.2", [{"jid": "a@x"}])])
        self.assertEqual(
            found, [{"jid": "a@x", "node": "a.2"}, {"jid": "b@x", "node": "a.1"}]
        )

    def test_rows_that_several_know(self) -> None:
        """A session that several workers know stands there once, as its own node describes it."""
        own = {"jid": "a@x", "node": "a.1", "address": "192.0.2.1"}
        elsewhere = {"jid": "b@x", "node": "b.1", "address": ""}
        seen = {**own, "address": ""}
        for answers in (
            [("a.1", [own, elsewhere]), ("a.2", [seen, elsewhere])],
            [("a.2", [seen, elsewhere]), ("a.1", [own, elsewhere])],
        ):
            self.assertEqual(merging.rows(answers), [own, elsewhere])

    def test_union(self) -> None:
        """A change that all report is told once."""
        change = {"option": "modules.mod_ping", "applied": "now"}
        self.assertEqual(merging.union([("a.1", [change]), ("a.2", [change])]), [change])

    def test_alike(self) -> None:
        """Equal answers are one answer; different ones are told apart by node."""
        self.assertEqual(merging.alike([("a.1", {"x": 1}), ("a.2", {"x": 1})]), {"x": 1})
        self.assertEqual(
            merging.alike([("a.1", {"x": 1}), ("a.2", {"x": 2})]),
            {"a.1": {"x": 1}, "a.2": {"x": 2}},
        )

    def test_status(self) -> None:
        """The newest event is first, whoever saw it."""
        old, new = {"when": "2026-01-01"}, {"when": "2026-01-02"}
        found = merging.status([("a.1", {"lately": [old]}), ("a.2", {"lately": [new]})])
        self.assertEqual(found["lately"], [new, old])

    def test_nodes(self) -> None:
        """A node counts as linked if it is for all that were asked."""

        def seen(node: str, number: int | None, linked: bool) -> dict[str, object]:
            return {"node": node, "number": number, "linked": linked}

        found = merging.nodes(
            [
                ("a.1", [seen("a.1", 0, True), seen("b", None, False)]),
                ("a.2", [seen("b", 3, True)]),
            ]
        )
        self.assertEqual(found, [seen("a.1", 0, True), seen("b", 3, False)])


class ScrapeTests(SynchronousTestCase):
    """Metrics for Prometheus."""

    def test_label(self) -> None:
        """Every sample gets the label, whether it has others or not."""
        self.assertEqual(
            label(ONE, "a.1").splitlines()[2::3],
            ['logins{node="a.1",host_type="a{b}"} 3', 'up{node="a.1"} 5'],
        )

    def test_merge(self) -> None:
        """A metric has one header, with the samples of all nodes behind it."""
        self.assertEqual(
            merge({"a.1": ONE, "a.2": TWO}).splitlines(),
            [
                "# HELP logins Sessions opened",
                "# TYPE logins counter",
                'logins{node="a.1",host_type="a{b}"} 3',
                "# HELP up Age",
                "# TYPE up gauge",
                'up{node="a.1"} 5',
                'up{node="a.2"} 7',
                "# HELP only_here A metric of one",
                "# TYPE only_here gauge",
                'only_here{node="a.2",le="+Inf"} 1',
            ],
        )
