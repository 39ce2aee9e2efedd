"""What a run of ``make bench`` measures: the command line, and who takes part in what."""

import argparse
from collections.abc import Sequence
from dataclasses import dataclass

from benchmarks.scenarios import SCENARIOS, Scenario
from benchmarks.servers import SERVERS, MongooseTW


@dataclass(frozen=True)
class Plan:
    """What to measure.

    :ivar seconds: measured window of a run.
    :ivar retries: how often a run that was disturbed is repeated.
    :ivar quiet: seconds to wait at most for a quiet machine.
    :ivar write: put the tables into docs/performance.md.
    """

    servers: tuple[str, ...]
    scenarios: tuple[Scenario, ...]
    rounds: int
    seconds: float
    retries: int
    quiet: float
    chosen_servers: bool
    write: bool

    @property
    def command(self) -> str:
        """The command that measures the same again."""
        archive = " ARCHIVE=1" if any(s.group == "archive" for s in self.scenarios) else ""
        return f"make bench ROUNDS={self.rounds} SECONDS={self.seconds:g}{archive}"

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


def default_scenarios(*, archive: bool) -> list[str]:
    """What is measured when nothing is named."""
    return [s.name for s in SCENARIOS.values() if archive or s.group != "archive"]


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.compare")
    parser.add_argument("--servers", default="", help=f"of {' '.join(SERVERS)}")
    parser.add_argument("--tests", default="", help=f"of {' '.join(SCENARIOS)}")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=8, help="measured window of a run")
    parser.add_argument("--archive", action="store_true", help="measure with an archive, too")
    parser.add_argument("--retries", type=int, default=2, help="of a run that was disturbed")
    parser.add_argument("--quiet", type=float, default=60, metavar="SECONDS",
                        help="longest wait for a quiet machine before a run")  # fmt: skip
    parser.add_argument("--write", action="store_true", help="put the tables into the docs")
    return parser


def parse(arguments: Sequence[str]) -> Plan:
    """Reads the command line; ends the program where it makes no sense."""
    parser = _parser()
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
        write=options.write,
    )
    if any(s.group == "archive" for s in plan.scenarios) and not MongooseTW.has_archive():
        parser.error("there is no mod_mam to measure")
    return plan
