"""The tables that `make bench` writes."""

from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from benchmarks import report
from benchmarks.report import BEGIN, END, MarkersMissing, Results, Run
from benchmarks.scenarios import SCENARIOS, Scenario

SERVERS = {"mongoosetw": "mongoosetw", "prosody": "Prosody, tuned", "ejabberd": "ejabberd"}


def runs(scenario: Scenario, **figures: float) -> Results:
    """One undisturbed run on each server."""
    key = scenario.measure.key
    return Results(
        Run(server, scenario.name, {key: figure, "other_cores": 0.01})
        for server, figure in figures.items()
    )


def last_cells(text: str) -> list[str]:
    """The cells of a table's last row."""
    return [cell.strip() for cell in text.splitlines()[-1].strip("|").split("|")]


class MedianTests(SynchronousTestCase):
    """Which runs count."""

    def median(self, *measured: tuple[float, float]) -> float | None:
        """The median of figures, each with what others used of the machine."""
        results = Results(
            Run("ejabberd", "chat-sat", {"x": figure, "other_cores": others})
            for figure, others in measured
        )
        return results.median("chat-sat", "ejabberd", "x")

    def test_disturbed_runs_are_left_out(self) -> None:
        """A run beside which the machine did something else does not count."""
        self.assertEqual(self.median((100, 0.0), (300, 0.02), (5, 0.9)), 200)

    def test_disturbed_runs_are_better_than_none(self) -> None:
        """Where all runs were disturbed, they count."""
        self.assertEqual(self.median((100, 0.5), (300, 0.5)), 200)

    def test_what_was_not_measured(self) -> None:
        """A figure that no run has is missing, not zero."""
        self.assertIsNone(self.median())


class ComparisonTests(SynchronousTestCase):
    """Ratio and target."""

    def judged(self, name: str, **figures: float) -> list[str]:
        """Ratio, target and verdict of a scenario."""
        scenario = SCENARIOS[name]
        text = report.comparison(runs(scenario, **figures), [scenario], SERVERS)
        return last_cells(text)[-3:]

    def test_rates_compare_with_the_fastest_peer(self) -> None:
        """Twice the faster peer's rate reaches the target of two."""
        figures = {"mongoosetw": 40_000.0, "prosody": 20_000.0, "ejabberd": 1_000.0}
        self.assertEqual(self.judged("chat-sat", **figures), ["2.00 ×", "≥ 2 ×", "yes"])

    def test_times_compare_with_the_quickest_peer(self) -> None:
        """Of latencies the lowest is the better peer's, and more is worse."""
        figures = {"mongoosetw": 1.6, "prosody": 40.0, "ejabberd": 0.8}
        self.assertEqual(self.judged("chat-3000", **figures), ["2.00 ×", "≤ 1.5 ×", "**no**"])

    def test_a_server_that_did_nothing(self) -> None:
        """A peer that delivered nothing in the window has no latency, not the best one."""
        figures = {"mongoosetw": 1.0, "prosody": 2.0, "ejabberd": 0.0}
        self.assertEqual(self.judged("chat-3000", **figures)[0], "0.50 ×")

    def test_limits_need_no_peer(self) -> None:
        """A figure with a limit of its own is judged by that."""
        self.assertEqual(self.judged("archive-ack", mongoosetw=4.0), ["", "≤ 15 ms", "yes"])

    def test_ours_is_no_peer_of_its_own(self) -> None:
        """Ours on another database is shown, but ours is not compared with it."""
        scenario = SCENARIOS["archive-sat"]
        figures = {"mongoosetw": 40.0, "mongoosetw-postgresql": 1000.0, "ejabberd": 10.0}
        titles = {name: name for name in figures}
        text = report.comparison(runs(scenario, **figures), [scenario], titles)
        self.assertEqual(last_cells(text)[-3:], ["4.00 ×", "≥ 4 ×", "yes"])

    def test_ours_was_not_measured(self) -> None:
        """Peers alone give no verdict."""
        self.assertEqual(self.judged("chat-sat", prosody=1.0), ["", "≥ 2 ×", ""])


class PageTests(SynchronousTestCase):
    """docs/performance.md."""

    def setUp(self) -> None:
        """Takes a page of its own."""
        self.page = Path(self.mktemp())

    def test_prose_stays(self) -> None:
        """Only what stands between the markers changes, and it can be replaced again."""
        self.page.write_text(f"before\n{BEGIN}\nold\n{END}\nafter\n")
        report.put_between_markers(self.page, "first")
        report.put_between_markers(self.page, "new")
        self.assertEqual(self.page.read_text(), f"before\n{BEGIN}\n\nnew\n\n{END}\nafter\n")

    def test_no_markers(self) -> None:
        """A page without a place for the tables is left as it is."""
        self.page.write_text(f"{END}\n{BEGIN}\n")
        self.assertRaises(MarkersMissing, report.put_between_markers, self.page, "new")
        self.assertEqual(self.page.read_text(), f"{END}\n{BEGIN}\n")

    def test_the_page_has_a_place(self) -> None:
        """The tables can be written to the project's page."""
        page = Path(__file__).parents[2] / "docs" / "performance.md"
        self.page.write_text(page.read_text())
        report.put_between_markers(self.page, "new")
        self.assertIn("\nnew\n", self.page.read_text())
