"""Scenarios on servers of ours that live at once, of which one runs at a time, for a second each.

    python -m benchmarks.turns chat-sat archive-chat
    python -m benchmarks.turns chat-sm archive-sat --seconds 15 --postgresql

The speed of a machine that is shared with others changes by half from one minute to the next.
Here that hits all alike, so the ratios can be trusted where single runs cannot. Only scenarios
without a rate make sense: while its server stands still, a generator waits.
"""

import argparse
import contextlib
import os
import signal
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from pathlib import Path

from benchmarks import certificate, generator, machine
from benchmarks.compare import BUILD, FAILURES, terminated
from benchmarks.generator import Generator, Report
from benchmarks.scenarios import SCENARIOS, Scenario
from benchmarks.servers import MongooseTW, MongooseTWPostgreSQL, Server


@contextlib.contextmanager
def prepared(kind: type[Server], scenario: Scenario, folder: Path) -> Iterator[tuple[Server, Path]]:
    """A server that has just been started, and has the accounts; the file of their keys."""
    folder.mkdir()
    keys = folder / "keys"
    pem = certificate.make(folder / "certificate.pem")
    with contextlib.closing(kind(folder, pem, archive=scenario.group == "archive")) as server:
        with server.running():
            Generator(generator.build(BUILD), keys).make_accounts(server.port, scenario.users)
        server.keep_data()
        with server.running():
            yield server, keys


def take_turns(servers: Sequence[Server], runs: Sequence["Future[Report]"], turn: float) -> None:
    """Lets one server after the other run, until all their generators have ended."""
    try:
        for server in servers:
            os.killpg(server.pid, signal.SIGSTOP)
        while not all(run.done() for run in runs):
            for server in servers:
                os.killpg(server.pid, signal.SIGCONT)
                time.sleep(turn)
                os.killpg(server.pid, signal.SIGSTOP)
    finally:
        for server in servers:
            os.killpg(server.pid, signal.SIGCONT)


def measure(
    kind: type[Server], scenarios: Sequence[Scenario], seconds: float, turn: float
) -> list[Report]:
    """Runs each scenario for so many seconds in all."""
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="mongoosetw-bench-")))
        ready = [
            stack.enter_context(prepared(kind, scenario, folder / str(place)))
            for place, scenario in enumerate(scenarios)
        ]
        pool = stack.enter_context(ThreadPoolExecutor(len(scenarios)))
        runs = [
            pool.submit(
                Generator(generator.build(BUILD), keys).run,
                scenario.arguments(seconds * len(scenarios)),
                server.port, server.pid, server.beside,
            )
            for scenario, (server, keys) in zip(scenarios, ready, strict=True)
        ]  # fmt: skip
        take_turns([server for server, _ in ready], runs, turn)
        wait(runs)
        return [run.result() for run in runs]


def show(scenarios: Sequence[Scenario], reports: Sequence[Report]) -> None:
    """Prints the processor time of each, and its rate beside the first one's."""
    first = scenarios[0].figure(reports[0])
    for scenario, report in zip(scenarios, reports, strict=True):
        figure = scenario.figure(report)
        if figure and first:
            print(f"{scenario.name:14} {1e6 / figure:7.1f} µs  {figure / first:.3f} ×")
        else:
            print(f"{scenario.name:14} nothing was measured")


def main(arguments: Sequence[str] | None = None) -> int:
    """Measures and prints."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.turns",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    names = [name for name, scenario in SCENARIOS.items() if scenario.measure.per_second]
    parser.add_argument("scenarios", nargs="+", choices=names, metavar="scenario")
    parser.add_argument("--seconds", type=float, default=8, help="for each scenario, in all")
    parser.add_argument("--turn", type=float, default=1, metavar="SECONDS")
    parser.add_argument("--postgresql", action="store_true", help="instead of SQLite")
    options = parser.parse_args(arguments)
    signal.signal(signal.SIGTERM, terminated)
    machine.raise_file_limit()
    kind: type[Server] = MongooseTWPostgreSQL if options.postgresql else MongooseTW
    scenarios = [SCENARIOS[name] for name in options.scenarios]
    try:
        machine.require([*generator.PACKAGES, *kind.packages])
        reports = measure(kind, scenarios, options.seconds, options.turn)
    except FAILURES as error:
        print(f"turns: {error}", file=sys.stderr)
        return 1
    show(scenarios, reports)
    return 0


if __name__ == "__main__":
    sys.exit(main())
