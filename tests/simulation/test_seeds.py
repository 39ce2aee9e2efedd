"""Clusters under faults, from seeds; ``make simulate`` plays many more."""

import os
import subprocess
import sys
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

SEEDS = "1-40"


def simulate(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Plays seeds in a process of its own, whose hashes are not random."""
    return subprocess.run(
        [sys.executable, "-m", "tests.simulation", *arguments],
        cwd=Path(__file__).parents[2],
        env={**os.environ, "PYTHONHASHSEED": "0"},
        capture_output=True,
        text=True,
        check=False,
    )


class SeedTests(SynchronousTestCase):
    """What the simulation finds, and that it finds it again."""

    def test_seeds(self) -> None:
        """Whatever goes wrong, in the end all know who is there, and have their messages."""
        played = simulate("--seeds", SEEDS)
        self.assertEqual(played.returncode, 0, played.stdout[-6000:] + played.stderr[-3000:])

    def test_redis(self) -> None:
        """The same with sessions in Redis, which fails, too."""
        played = simulate("--seeds", "1-12", "--redis")
        self.assertEqual(played.returncode, 0, played.stdout[-6000:] + played.stderr[-3000:])

    def test_replay(self) -> None:
        """A seed plays the same events at the same times in every process."""
        runs = [simulate("7", "--digest").stdout.split()[:2] for _ in range(2)]
        self.assertEqual(runs[0], runs[1])
        self.assertNotEqual(runs[0][1], simulate("8", "--digest").stdout.split()[1])
