"""``python -m tests.simulation SEED``, or ``--seeds 1-1000``: plays seeds, and tells what failed.

Sets are in the order of their hashes, so the interpreter is started once more without random ones:
a seed then means the same everywhere.
"""

import argparse
import multiprocessing
import os
import sys
import time
from collections.abc import Iterator, Sequence
from functools import partial

from tests.simulation.checks import GROUPS
from tests.simulation.plan import Plan
from tests.simulation.run import play, report

_FIXED = "0"


def _arguments(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.simulation", description=__doc__)
    parser.add_argument("seed", nargs="?", type=int, help="one seed to play")
    parser.add_argument("--seeds", help="several: FIRST-LAST")
    parser.add_argument("--groups", default=",".join(GROUPS), help="what to check")
    parser.add_argument("--long", action="store_true", help="more users and nodes")
    parser.add_argument("--redis", action="store_true", help="sessions are looked up in Redis")
    parser.add_argument("--events", action="store_true", help="print all that happens")
    parser.add_argument("--digest", action="store_true", help="print what identifies each run")
    return parser.parse_args(arguments)


def _seeds(options: argparse.Namespace) -> range:
    first, _, last = (options.seeds or str(options.seed)).partition("-")
    return range(int(first), int(last or first) + 1)


def _played(options: argparse.Namespace, seed: int) -> tuple[int, str, str]:
    """Plays a seed: its number, what identifies the run, and what is wrong, empty if nothing is."""
    groups = [group for group in options.groups.split(",") if group]
    plan = Plan.of(seed, long=options.long, redis=options.redis)
    world = play(plan, groups, print) if options.events else play(plan, groups)
    return seed, world.digest, report(world) if world.problems else ""


def _runs(options: argparse.Namespace) -> Iterator[tuple[int, str, str]]:
    """Plays all seeds, each in a process of its own.

    What one has left in the process's caches must not change the next, which is to be the same
    when it is played alone; and all processors have something to do.
    """
    seeds, run = _seeds(options), partial(_played, options)
    if options.events or len(seeds) == 1:
        yield from map(run, seeds)
        return
    with multiprocessing.get_context("fork").Pool(maxtasksperchild=1) as pool:
        yield from pool.imap(run, seeds)


def main(arguments: Sequence[str]) -> int:
    """Plays; returns the exit status."""
    options = _arguments(arguments)
    began, failed = time.monotonic(), []
    for seed, digest, problems in _runs(options):
        if options.digest:
            print(seed, digest)
        if problems:
            failed.append(seed)
            print(problems, flush=True)
    seconds = time.monotonic() - began
    print(f"{len(_seeds(options))} seeds in {seconds:.0f} seconds, failed: {failed or 'none'}")
    return 1 if failed else 0


if __name__ == "__main__":
    if os.environ.get("PYTHONHASHSEED") != _FIXED:
        command = [sys.executable, "-m", "tests.simulation", *sys.argv[1:]]
        os.execve(sys.executable, command, {**os.environ, "PYTHONHASHSEED": _FIXED})
    sys.exit(main(sys.argv[1:]))
