"""One scenario on our server alone, for a few seconds: what did my change do?

    python -m benchmarks.quick chat-sat
    python -m benchmarks.quick login-tls --seconds 5 --profile flame.svg

The profile needs py-spy (``pip install py-spy``), and often root.
"""

import argparse
import contextlib
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

from benchmarks import certificate, generator, machine, scenarios
from benchmarks.compare import BUILD, FAILURES, terminated
from benchmarks.generator import Generator, Report
from benchmarks.report import number
from benchmarks.scenarios import SCENARIOS, Scenario
from benchmarks.servers import (
    MongooseTW,
    MongooseTWPostgreSQL,
    MongooseTWWorkers,
    Server,
)

_SHOWN = ("logins_per_s", "logins_per_cpu_s", "deliveries_per_s", "deliveries_per_cpu_s",
          "queries_per_s", "queries_per_cpu_s", "lat_p50_ms", "lat_p99_ms", "ack_p99_ms",
          "bytes_per_conn_up", "bytes_per_conn_held", "lost", "gaps", "backward", "failed",
          "server_cores", "beside_cores", "gen_cores", "other_cores")  # fmt: skip


@contextlib.contextmanager
def profiled(pid: int, output: Path | None) -> Iterator[None]:
    """Records what the server does meanwhile, as a flame graph."""
    if output is None:
        yield
        return
    spy = shutil.which("py-spy") or str(Path(sys.executable).with_name("py-spy"))
    command = [spy, "record", "--native", "-r", "250", "-p", str(pid), "-o", str(output)]
    recorder = subprocess.Popen([*command, "-d", "3600"], stdout=subprocess.DEVNULL)
    try:
        yield
    finally:
        recorder.send_signal(signal.SIGINT)  # writes the file
        recorder.wait()


def measure(
    server: Server, scenario: Scenario, seconds: float, profile: Path | None
) -> Report:
    """Makes the accounts and runs the scenario once, all on one process."""
    load = Generator(generator.build(BUILD), server.folder / "keys")
    with server.running():
        load.make_accounts(server.port, scenario.users)
        if scenario.name == "presence":
            load.run(scenarios.rosters(), server.port)
        with profiled(server.pid, profile):
            arguments = scenario.arguments(seconds)
            return load.run(arguments, server.port, server.pid, server.beside)


def run(
    kind: type[Server], scenario: Scenario, seconds: float, profile: Path | None
) -> Report:
    """Measures in a temporary folder."""
    with tempfile.TemporaryDirectory(prefix="mongoosetw-bench-") as name:
        folder = Path(name)
        pem = certificate.make(folder / "certificate.pem")
        server = kind(folder, pem, archive=scenario.group == "archive")
        with contextlib.closing(server):
            return measure(server, scenario, seconds, profile)


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one scenario and prints its figures."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.quick",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("scenario", nargs="?", default="chat-sat", choices=SCENARIOS)
    parser.add_argument("--seconds", type=float, default=3)
    parser.add_argument("--postgresql", action="store_true", help="instead of SQLite")
    parser.add_argument("--workers", action="store_true", help="two nodes instead of one")
    parser.add_argument("--profile", type=Path, metavar="FILE.svg")
    options = parser.parse_args(arguments)
    signal.signal(signal.SIGTERM, terminated)
    machine.raise_file_limit()
    scenario = SCENARIOS[options.scenario]
    kind: type[MongooseTW] = MongooseTWPostgreSQL if options.postgresql else MongooseTW
    kind = MongooseTWWorkers if options.workers else kind
    try:
        machine.require([*generator.PACKAGES, *kind.packages])
        report = run(kind, scenario, options.seconds, options.profile)
    except FAILURES as error:
        print(f"quick: {error}", file=sys.stderr)
        return 1
    for key in _SHOWN:
        if key in report:
            print(f"{key:22} {number(float(report[key]))}")
    return 0 if report["ok"] else 1


if __name__ == "__main__":
    sys.exit(main())
