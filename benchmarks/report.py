"""Medians, ratios and targets, as the tables of docs/performance.md."""

import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.generator import Report
from benchmarks.scenarios import Scenario

BEGIN = "<!-- begin of what `make bench` writes -->"
END = "<!-- end of what `make bench` writes -->"
OURS = "mongoosetw"

_LOSSES = ("lost", "gaps", "backward", "failed")
_DISTURBED = 0.15
"""Cores used by others from which on a run counts only where there is no better one."""


@dataclass(frozen=True)
class Run:
    """One scenario on one server, once."""

    server: str
    scenario: str
    report: Report

    @property
    def disturbed(self) -> bool:
        """Whether something else on the machine used much of it."""
        return float(self.report.get("other_cores", 0)) >= _DISTURBED


class MarkersMissing(Exception):
    """The page has no place for the tables."""


class Results:
    """All runs, by scenario and server."""

    def __init__(self, runs: Iterable[Run]) -> None:
        self._runs: dict[tuple[str, str], list[Run]] = {}
        for run in runs:
            self._runs.setdefault((run.scenario, run.server), []).append(run)

    def of(self, scenario: str, server: str) -> list[Run]:
        """The runs that count: the undisturbed ones where there are any."""
        runs = self._runs.get((scenario, server), [])
        return [run for run in runs if not run.disturbed] or runs

    def figure(self, scenario: Scenario, server: str) -> float | None:
        """The median of what a scenario measures."""
        values = [scenario.figure(run.report) for run in self.of(scenario.name, server)]
        known = [value for value in values if value is not None]
        return statistics.median(known) if known else None

    def median(self, scenario: str, server: str, key: str) -> float | None:
        """The median of any number of the generator's reports."""
        values = [float(r.report[key]) for r in self.of(scenario, server) if key in r.report]
        return statistics.median(values) if values else None

    def total(self, scenario: str, server: str, keys: Sequence[str]) -> float:
        """The sum of some counts over all runs, the disturbed ones too."""
        runs = self._runs.get((scenario, server), [])
        return sum(float(run.report.get(key, 0)) for run in runs for key in keys)

    def servers(self, order: Sequence[str]) -> list[str]:
        """Those that were measured."""
        return [name for name in order if any(server == name for _, server in self._runs)]


def number(value: float | None) -> str:
    """A figure as a person reads it, with three or four digits."""
    if value is None:
        return ""
    size = abs(value)
    if size >= 100:
        return f"{value:,.0f}".replace(",", " ")
    return f"{value:.1f}" if size >= 10 else f"{value:.2f}"


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table in Markdown."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(cells) + " |" for cells in lines)


def comparison(
    results: Results, scenarios: Iterable[Scenario], servers: Mapping[str, str]
) -> str:
    """Ours beside its peers: one line for each scenario, medians, the ratio, the target.

    :param servers: titles by name, in order.
    """
    head = ["what", "unit", *servers.values(), "to the better peer", "target", "reached"]
    rows = []
    for scenario in scenarios:
        medians = {name: results.figure(scenario, name) for name in servers}
        if any(value is not None for value in medians.values()):
            cells = [number(value) for value in medians.values()]
            judged = _judged(scenario, medians)
            rows.append([scenario.title, scenario.measure.unit, *cells, *judged])
    return table(head, rows)


def _judged(scenario: Scenario, medians: Mapping[str, float | None]) -> tuple[str, str, str]:
    """The ratio to the better peer, the target, whether it is reached."""
    measure, ours = scenario.measure, medians.get(OURS)
    peers = [v for name, v in medians.items() if v is not None and not name.startswith(OURS)]
    ratio = ours / measure.better(peers) if peers and ours is not None else None
    shown = "" if ratio is None else f"{ratio:.2f} ×"
    sign = "≥" if measure.per_second else "≤"
    if scenario.limit is not None:
        reached = "" if ours is None else _yes(ours <= scenario.limit)
        return shown, f"{sign} {scenario.limit:g} {measure.unit}", reached
    if scenario.target is None:
        return shown, "", ""
    reached = "" if ratio is None else _yes(measure.reached(ratio, scenario.target))
    return shown, f"{sign} {scenario.target:g} ×", reached


def _yes(reached: bool) -> str:
    return "yes" if reached else "**no**"


def losses(results: Results, scenarios: Iterable[Scenario]) -> str:
    """Whether our server failed a client in any run."""
    failed = sum(results.total(scenario.name, OURS, _LOSSES) for scenario in scenarios)
    if failed:
        return f"**Ours lost, doubled, reordered or refused {failed:.0f} messages or logins.**"
    return "No login of ours failed, and no message was lost, doubled or reordered."


def details(results: Results, scenarios: Iterable[Scenario], servers: Sequence[str]) -> str:
    """Everything worth knowing of each scenario on each server."""
    head = ["scenario", "server", "per s", "per CPU-s", "p50 ms", "p99 ms", "server cores",
            "database cores", "generator cores", "other cores", "lost", "runs"]  # fmt: skip
    rows = [
        _detail(results, scenario, server)
        for scenario in scenarios
        for server in servers
        if results.of(scenario.name, server)
    ]
    return table(head, rows)


def _detail(results: Results, scenario: Scenario, server: str) -> list[str]:
    prefix, latency = _figures_of(scenario)

    def median(key: str) -> str:
        return number(results.median(scenario.name, server, key))

    rates = [median(f"{prefix}_per_s"), median(f"{prefix}_per_cpu_s")] if prefix else ["", ""]
    times = [median(f"{latency}_p50_ms"), median(f"{latency}_p99_ms")] if prefix else ["", ""]
    cores = [median(f"{whose}_cores") for whose in ("server", "beside", "gen", "other")]
    lost = results.total(scenario.name, server, _LOSSES)
    runs = results.of(scenario.name, server)
    disturbed = " (disturbed)" if runs[0].disturbed else ""
    return [scenario.name, server, *rates, *times, *cores, f"{lost:.0f}", f"{len(runs)}{disturbed}"]


def _figures_of(scenario: Scenario) -> tuple[str, str]:
    """What a scenario's rates and latencies are called in the generator's report."""
    name = scenario.arguments(1)[0]
    return {
        "login": ("logins", "login"),
        "idle": ("", ""),
        "mam": ("queries", "lat"),
    }.get(name, ("deliveries", "lat"))


def put_between_markers(page: Path, text: str) -> None:
    """Replaces what stands between the two markers, and nothing else.

    :raises MarkersMissing: one of them is not there.
    """
    before, begin, rest = page.read_text().partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise MarkersMissing(f"{page} lacks a line {BEGIN!r} and, below it, {END!r}")
    page.write_text(f"{before}{BEGIN}\n\n{text.strip()}\n\n{END}{after}")
