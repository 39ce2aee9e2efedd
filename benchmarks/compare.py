"""``make bench``: ours, Prosody and ejabberd by turns, and a table of what came out.

Of every scenario, each round runs it once on each server, on a process started for it and with
the data as they were prepared: whatever disturbs the machine, disturbs all servers alike.
"""

import datetime
import json
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import Final, NoReturn

from benchmarks import certificate, generator, machine, page, report, scenarios
from benchmarks.generator import Generator, LoadFailed
from benchmarks.plan import Plan, parse
from benchmarks.report import Results, Run
from benchmarks.scenarios import SCENARIOS, Scenario
from benchmarks.servers import SERVERS, Server, ServerFailed

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "performance.md"
BUILD = ROOT / "build" / "bench"
FAILURES: Final = (
    FileNotFoundError,
    machine.MissingPackages,
    ServerFailed,
    LoadFailed,
    subprocess.CalledProcessError,
)
"""What may go wrong with a measurement, and says so itself."""
_WARMING_LOGINS = 200
"""Logins before memory is measured: what is made at first use is no session's cost."""


class Bench:
    """Servers with their accounts, and the generator to load them with."""

    def __init__(self, plan: Plan, folder: Path, program: Path) -> None:
        self._plan = plan
        self._folder = folder
        self._program = program
        self._certificate = certificate.make(folder / "certificate.pem")
        self._prepared: dict[tuple[str, bool], tuple[Server, Generator]] = {}
        self.failures: list[str] = []

    def close(self) -> None:
        """Ends what the servers share among their runs."""
        for server, _ in self._prepared.values():
            server.close()

    def runs(self) -> Iterator[Run]:
        """Measures everything, by turns; what fails is noted and left out."""
        for scenario in self._plan.scenarios:
            names = self._plan.servers_of(scenario)
            for name in names:
                self._prepare(name, archive=scenario.group == "archive")
            for turn in range(self._plan.rounds):
                for name in names:
                    run = self._attempt(scenario, name, turn)
                    if run is not None:
                        yield run

    def _attempt(self, scenario: Scenario, name: str, turn: int) -> Run | None:
        try:
            return self._run(scenario, name, turn)
        except (ServerFailed, LoadFailed) as error:
            self.failures.append(f"{scenario.name} on {name}: {error}")
            progress(f"FAILED: {self.failures[-1]}")
            return None

    def _prepare(self, name: str, *, archive: bool) -> None:
        """Makes the accounts, has each log in once, makes the rosters; all of it once."""
        if (name, archive) in self._prepared:
            return
        folder = self._folder / (f"{name}-archive" if archive else name)
        folder.mkdir()
        server = SERVERS[name](folder, self._certificate, archive=archive)
        load = Generator(self._program, folder / "keys")
        self._prepared[name, archive] = server, load
        users = self._plan.users_of(name, archive=archive)
        progress(f"{folder.name}: {users} accounts")
        with server.running():
            load.make_accounts(server.port, users)
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


def require(plan: Plan) -> None:
    """Has all programs that a plan needs installed.

    :raises machine.MissingPackages: this user may not.
    """
    needed = list(generator.PACKAGES)
    for scenario in plan.scenarios:
        for name in plan.servers_of(scenario):
            needed += SERVERS[name].packages
    machine.require(list(dict.fromkeys(needed)))


def measure(plan: Plan) -> tuple[Results, list[str]]:
    """Runs the plan; returns also what failed. The single reports stay in build/bench/."""
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
        return Results(runs), bench.failures


def terminated(*_: object) -> NoReturn:
    """Ends as by an exception, so that the servers are ended, too."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)  # make passes on what its group got already
    raise SystemExit(1)


def main(arguments: Sequence[str] | None = None) -> int:
    """Measures and prints or writes the tables."""
    plan = parse(sys.argv[1:] if arguments is None else arguments)
    signal.signal(signal.SIGTERM, terminated)
    machine.raise_file_limit()
    try:
        require(plan)
        results, failures = measure(plan)
    except FAILURES as error:
        print(f"bench: {error}", file=sys.stderr)
        return 1
    text = page.render(plan, results)
    print(text)
    for failure in failures:
        print(f"bench: failed: {failure}", file=sys.stderr)
    if plan.write:
        report.put_between_markers(PAGE, text)
        progress(f"written to {PAGE.relative_to(ROOT)}")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
