"""``make bench``: ours, Prosody and ejabberd by turns, and a table of what came out.

Of every scenario, each round runs it once on each server, on a process started for it and with
the data as they were prepared: whatever disturbs the machine, disturbs all servers alike.
"""

import argparse
import datetime
import json
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

from benchmarks import certificate, generator, machine, report, scenarios
from benchmarks.generator import Generator, LoadFailed
from benchmarks.report import OURS, Results, Run
from benchmarks.scenarios import SCENARIOS, Scenario
from benchmarks.servers import SERVERS, MongooseTW, Server, ServerFailed

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "performance.md"
BUILD = ROOT / "build" / "bench"
_ARCHIVED = {"mongoosetw": 0.6, "mongoosetw-postgresql": 0.4}
"""Of our rate without an archive, what is to remain with one."""

_WARMING_LOGINS = 200
"""Logins before memory is measured: what is made at first use is no session's cost."""


@dataclass(frozen=True)
class Plan:
    """What to measure."""

    servers: tuple[str, ...]
    scenarios: tuple[Scenario, ...]
    rounds: int
    seconds: float
    retries: int
    quiet: float
    chosen_servers: bool

    def servers_of(self, scenario: Scenario) -> list[str]:
        """The servers that a scenario runs on."""
        return [
            name
            for name in self.servers
            if self.chosen_servers or scenario.group in SERVERS[name].groups
        ]

    def users_of(self, server: str, *, archive: bool) -> int:
        """Accounts that a server needs."""
        return max(
            (s.users for s in self.scenarios
             if (s.group == "archive") == archive and server in self.servers_of(s)),
            default=0,
        )  # fmt: skip


class Bench:
    """Servers with their accounts, and the generator to load them with."""

    def __init__(self, plan: Plan, folder: Path, program: Path) -> None:
        self._plan = plan
        self._folder = folder
        self._program = program
        self._certificate = certificate.make(folder / "certificate.pem")
        self._prepared: dict[tuple[str, bool], tuple[Server, Generator]] = {}

    def close(self) -> None:
        """Ends what the servers share among their runs."""
        for server, _ in self._prepared.values():
            server.close()

    def runs(self) -> Iterator[Run]:
        """Measures everything, by turns."""
        for scenario in self._plan.scenarios:
            names = self._plan.servers_of(scenario)
            for name in names:
                self._prepare(name, archive=scenario.group == "archive")
            for turn in range(self._plan.rounds):
                for name in names:
                    yield self._run(scenario, name, turn)

    def _prepare(self, name: str, *, archive: bool) -> None:
        """Makes the accounts, has each log in once, makes the rosters; all of it once."""
        if (name, archive) in self._prepared:
            return
        folder = self._folder / (f"{name}-archive" if archive else name)
        folder.mkdir()
        server = SERVERS[name](folder, self._certificate, archive=archive)
        load = Generator(self._program, folder / "keys")
        self._prepared[name, archive] = server, load
        users = str(self._plan.users_of(name, archive=archive))
        progress(f"{folder.name}: {users} accounts")
        with server.running():
            load.run(["register", "-n", users], server.port)
            load.run(["login", "-n", users], server.port)
            if not archive and SCENARIOS["presence"] in self._plan.scenarios:
                load.run(scenarios.rosters(), server.port)
        server.keep_data()

    def _run(self, scenario: Scenario, name: str, turn: int) -> Run:
        for _ in range(self._plan.retries + 1):
            machine.wait_until_quiet(self._plan.quiet)
            run = self._measure(scenario, name)
            if not run.disturbed:
                break
        figure = report.number(scenario.figure(run.report))
        noise = f"; others used {run.report['other_cores']} cores" if run.disturbed else ""
        progress(f"{scenario.name} {turn + 1}: {name} {figure} {scenario.measure.unit}{noise}")
        return run

    def _measure(self, scenario: Scenario, name: str) -> Run:
        server, load = self._prepared[name, scenario.group == "archive"]
        with server.running():
            if scenario.group == "memory":
                load.run(["login", "-n", str(_WARMING_LOGINS)], server.port)
            arguments = scenario.arguments(self._plan.seconds)
            report = load.run(arguments, server.port, server.pid, server.beside)
        return Run(name, scenario.name, report)


def progress(line: str) -> None:
    """Tells how far it is, on standard error."""
    print(f"{datetime.datetime.now():%H:%M:%S} {line}", file=sys.stderr, flush=True)


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
    parts += ["### In detail", report.details(results, plan.scenarios, names)]
    return "\n\n".join(part for part in parts if part)


def conditions(plan: Plan, names: Sequence[str]) -> str:
    """Date, machine, versions and command."""
    versions = "\n".join(f"* {SERVERS[name].title}: {SERVERS[name].version()}" for name in names)
    return (
        f"Measured on {datetime.date.today():%Y-%m-%d} by `{command(plan)}` on "
        f"{machine.description()}.\nMedians of {plan.rounds} runs of {plan.seconds:g} s by turns.\n"
        f"\n{versions}"
    )


def command(plan: Plan) -> str:
    """The command that measures the same again."""
    archive = " ARCHIVE=1" if any(s.group == "archive" for s in plan.scenarios) else ""
    return f"make bench ROUNDS={plan.rounds} SECONDS={plan.seconds:g}{archive}"


def _archived_share(results: Results, server: str, least: float) -> str:
    """How much of our own rate remains when every message is archived."""
    key = SCENARIOS["chat-sat"].measure.key
    plain = results.median("chat-sat", OURS, key)
    archived = results.median("archive-sat", server, key)
    if not plain or not archived:
        return ""
    return (
        f"The rate of {SERVERS[server].title} with an archive is {archived / plain:.2f} × "
        f"that of ours without (target: ≥ {least:g} ×)."
    )


def default_scenarios(*, archive: bool) -> list[str]:
    """What is measured when nothing is named."""
    return [s.name for s in SCENARIOS.values() if archive or s.group != "archive"]


def parse(arguments: Sequence[str]) -> tuple[Plan, argparse.Namespace]:
    """Reads the command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.compare", description=__doc__)
    parser.add_argument("--servers", default="", help=f"of {' '.join(SERVERS)}")
    parser.add_argument("--tests", default="", help=f"of {' '.join(SCENARIOS)}")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=8, help="measured window of a run")
    parser.add_argument("--archive", action="store_true", help="measure with an archive, too")
    parser.add_argument("--retries", type=int, default=2, help="of a run that was disturbed")
    parser.add_argument("--quiet", type=float, default=60, metavar="SECONDS",
                        help="longest wait for a quiet machine before a run")  # fmt: skip
    parser.add_argument("--write", action="store_true", help=f"put the tables into {PAGE.name}")
    options = parser.parse_args(arguments)
    servers, tests = options.servers.split(), options.tests.split()
    unknown = [*(set(servers) - set(SERVERS)), *(set(tests) - set(SCENARIOS))]
    if unknown:
        parser.error(f"there is no {', '.join(unknown)}")
    plan = Plan(
        servers=tuple(servers or SERVERS),
        scenarios=tuple(SCENARIOS[n] for n in tests or default_scenarios(archive=options.archive)),
        rounds=options.rounds,
        seconds=options.seconds,
        retries=options.retries,
        quiet=options.quiet,
        chosen_servers=bool(servers),
    )
    if any(s.group == "archive" for s in plan.scenarios) and not MongooseTW.has_archive():
        parser.error("there is no mod_mam to measure")
    return plan, options


def require(plan: Plan) -> None:
    """Has all programs that a plan needs installed.

    :raises machine.MissingPackages: this user may not.
    """
    needed = list(generator.PACKAGES)
    for scenario in plan.scenarios:
        for name in plan.servers_of(scenario):
            needed += SERVERS[name].packages
    machine.require(list(dict.fromkeys(needed)))


def measure(plan: Plan) -> Results:
    """Runs the plan; the single reports stay in build/bench/."""
    program = generator.build(BUILD)
    log = BUILD / f"runs-{datetime.datetime.now():%Y%m%d-%H%M%S}.jsonl"
    runs = []
    with (
        tempfile.TemporaryDirectory(prefix="mongoosetw-bench-") as folder,
        closing(Bench(plan, Path(folder), program)) as bench,
        log.open("w") as lines,
    ):
        for run in bench.runs():
            runs.append(run)
            line = {"server": run.server, "scenario_name": run.scenario, **run.report}
            print(json.dumps(line), file=lines, flush=True)
    return Results(runs)


def terminated(*_: object) -> NoReturn:
    """Ends as by an exception, so that the servers are ended, too."""
    raise SystemExit(1)


def main(arguments: Sequence[str] | None = None) -> int:
    """Measures and prints or writes the tables."""
    plan, options = parse(sys.argv[1:] if arguments is None else arguments)
    signal.signal(signal.SIGTERM, terminated)
    machine.raise_file_limit()
    try:
        require(plan)
        text = render(plan, measure(plan))
    except (
        machine.MissingPackages, ServerFailed, LoadFailed, subprocess.CalledProcessError
    ) as error:  # fmt: skip
        print(f"bench: {error}", file=sys.stderr)
        return 1
    print(text)
    if options.write:
        report.put_between_markers(PAGE, text)
        progress(f"written to {PAGE.relative_to(ROOT)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
