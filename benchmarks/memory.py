"""``make bench-memory``: does the server grow while clients log in and out for minutes?

All clients log in and out again and again, with and without TLS by turns. Between two passes
nobody is logged in and the memory of the process is read: what rises from pass to pass is lost.
"""

import argparse
import signal
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from benchmarks import certificate, generator, machine
from benchmarks.compare import BUILD, FAILURES, progress, terminated
from benchmarks.generator import Generator
from benchmarks.servers import MongooseTW

_USERS = 500
_SETTLING = 0.25
"""Share of the passes left out at the beginning: caches fill, the allocator finds its size."""

_TOLERATED = 64 * 1024
"""Bytes a thousand logins by which the allocator's fragments may grow."""

Sample = tuple[int, int, int]
"""Logins so far, resident and proportional set size in bytes."""


def samples(server: MongooseTW, load: Generator, seconds: float) -> Iterator[Sample]:
    """Lets clients in and out; a sample after each pass."""
    until = time.monotonic() + seconds
    logins = 0
    while time.monotonic() < until:
        for tls in ([], ["--tls"]):
            report = load.run(["login", "-n", str(_USERS), "-c", "32", *tls], server.port)
            logins += int(report["ready"])
        time.sleep(0.2)  # the last streams close
        yield logins, *machine.memory_of(server.pid)


def slope(taken: Sequence[Sample], column: int) -> float:
    """Bytes a thousand logins by which a figure rises, once it has settled."""
    settled = taken[int(len(taken) * _SETTLING) :]
    if len(settled) < 2:
        return 0.0
    logins = [sample[0] for sample in settled]
    line = statistics.linear_regression(logins, [sample[column] for sample in settled])
    return line.slope * 1000


def watch(minutes: float, folder: Path) -> list[Sample]:
    """Starts a server with its accounts, and samples it."""
    server = MongooseTW(folder, certificate.make(folder / "certificate.pem"))
    load = Generator(generator.build(BUILD), folder / "keys")
    taken = []
    with server.running():
        load.make_accounts(server.port, _USERS)
        for sample in samples(server, load, minutes * 60):
            taken.append(sample)
            logins, rss, pss = sample
            progress(f"{logins} logins: RSS {rss / 1024:.0f} KiB, PSS {pss / 1024:.0f} KiB")
    return taken


def main(arguments: Sequence[str] | None = None) -> int:
    """Prints the slope; the exit status is 1 if the server grows."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.memory", description=__doc__)
    parser.add_argument("--minutes", type=float, default=10)
    options = parser.parse_args(arguments)
    signal.signal(signal.SIGTERM, terminated)
    machine.raise_file_limit()
    try:
        machine.require(generator.PACKAGES)
        with tempfile.TemporaryDirectory(prefix="mongoosetw-bench-") as folder:
            taken = watch(options.minutes, Path(folder))
    except FAILURES as error:
        print(f"bench-memory: {error}", file=sys.stderr)
        return 1
    rss, pss = slope(taken, 1), slope(taken, 2)
    print(
        f"{taken[-1][0]} logins and logouts in {options.minutes:g} minutes: from "
        f"{taken[0][1] / 1024:.0f} to {taken[-1][1] / 1024:.0f} KiB; a thousand logins add "
        f"{rss / 1024:.1f} KiB RSS, {pss / 1024:.1f} KiB PSS (tolerated: {_TOLERATED / 1024:.0f})"
    )
    return 0 if rss <= _TOLERATED else 1


if __name__ == "__main__":
    sys.exit(main())
