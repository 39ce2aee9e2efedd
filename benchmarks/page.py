"""What ``make bench`` writes: the conditions of the measurement, and the tables."""

import datetime
from collections.abc import Sequence

from benchmarks import machine, report
from benchmarks.plan import Plan
from benchmarks.report import OURS, Results
from benchmarks.scenarios import SCENARIOS
from benchmarks.servers import SERVERS

_ARCHIVED = {"mongoosetw": 0.6, "mongoosetw-postgresql": 0.4}
"""Of our rate without an archive, what is to remain with one."""
_PAIRS = (
    ("archive-chat", "chat-sat", "without stream management"),
    ("archive-sat", "chat-sm", "with stream management"),
)
"""Scenarios with and without an archive, and what their clients do."""


def render(plan: Plan, results: Results) -> str:
    """The tables and what has to be known to read them."""
    names = results.servers(plan.servers)
    parts = [conditions(plan, names)]
    for title, group in (
        ("### Messages, logins, presence", "core"),
        ("### Memory", "memory"),
        ("### With an archive", "archive"),
    ):
        chosen = [s for s in plan.scenarios if s.group == group]
        if chosen:
            taking_part = {name for scenario in chosen for name in plan.servers_of(scenario)}
            titles = {name: SERVERS[name].title for name in names if name in taking_part}
            parts += [title, report.comparison(results, chosen, titles)]
    parts += [_archived_share(results, name, least) for name, least in _ARCHIVED.items()]
    parts += ["### In detail", report.losses(results, plan.scenarios)]
    parts.append(report.details(results, plan.scenarios, names))
    return "\n\n".join(part for part in parts if part)


def conditions(plan: Plan, names: Sequence[str]) -> str:
    """Date, machine, versions and command."""
    versions = "\n".join(f"* {SERVERS[name].title}: {SERVERS[name].version()}" for name in names)
    return (
        f"Measured on {datetime.date.today():%Y-%m-%d} by `{plan.command}` on "
        f"{machine.description()}.\nMedians of {plan.rounds} runs of {plan.seconds:g} s by turns.\n"
        f"\n{versions}"
    )


def _archived_share(results: Results, server: str, least: float) -> str:
    """How much of our own rate remains when every message is archived, clients being the same."""
    shares = []
    for archived, plain, clients in _PAIRS:
        with_archive = results.figure(SCENARIOS[archived], server)
        without = results.figure(SCENARIOS[plain], OURS)
        if with_archive and without:
            shares.append(f"{with_archive / without:.2f} × {clients}")
    if not shares:
        return ""
    return (
        f"The rate of {SERVERS[server].title} with an archive is, to that of ours without, "
        f"{' and '.join(shares)} (target: ≥ {least:g} ×)."
    )
