"""The load generator ``xmppload.c``: compiled, run, its report read."""

import json
import subprocess
from collections.abc import Sequence
from pathlib import Path

SOURCE = Path(__file__).with_name("xmppload.c")
PACKAGES = ("gcc", "libc6-dev", "libssl-dev")
Report = dict[str, float | str]

_LONGEST_RUN = 300
"""Seconds after which the generator ends itself."""

_BATCH = 500
"""Accounts made in one run: hashing a password takes a server some milliseconds."""


class LoadFailed(Exception):
    """The generator could not do its work at all."""


def build(folder: Path) -> Path:
    """Compiles the generator unless it is there; returns its path.

    :raises subprocess.CalledProcessError: the compiler complains.
    """
    program = folder / "xmppload"
    if not program.exists() or program.stat().st_mtime < SOURCE.stat().st_mtime:
        folder.mkdir(parents=True, exist_ok=True)
        command = ["cc", "-O2", "-o", str(program), str(SOURCE), "-lssl", "-lcrypto"]
        subprocess.run(command, check=True)
    return program


class Generator:
    """Runs scenarios against one server.

    :ivar keys: file of the clients' SCRAM keys. Deriving them takes thousands of hashes; kept,
        they cost a login nothing, and the generator is not what a test of logins measures.
    """

    def __init__(self, program: Path, keys: Path) -> None:
        self._program = program
        self.keys = keys

    def make_accounts(self, port: int, count: int) -> None:
        """Registers users and logs each in once, so that their SCRAM keys are known.

        :raises LoadFailed: the server refuses some.
        """
        for scenario in ("register", "login"):
            for first in range(1, count + 1, _BATCH):
                users = ["--first", str(first), "-n", str(min(_BATCH, count + 1 - first))]
                report = self.run([scenario, *users], port)
                if report["failed"]:
                    raise LoadFailed(f"{scenario} of users {first} …: {report['failed']} failed")

    def run(
        self,
        scenario: Sequence[str],
        port: int,
        pid: int | None = None,
        beside: int | None = None,
    ) -> Report:
        """Runs one scenario with its arguments.

        :param pid: of the server, whose processor time and memory are measured.
        :param beside: a process whose time is counted apart, as a database's.

        :raises LoadFailed: nobody could log in, or the server or the generator is gone.
        """
        name, *arguments = scenario
        command = [str(self._program), name, "--port", str(port), "--scram-cache", str(self.keys)]
        command += ["--max-time", str(_LONGEST_RUN), "--json", "-", *arguments]
        if pid is not None:
            command += ["--pid", str(pid)]
        if beside is not None:
            command += ["--beside", str(beside)]
        try:
            done = subprocess.run(
                command, capture_output=True, text=True, timeout=_LONGEST_RUN + 60, check=False
            )
        except subprocess.TimeoutExpired as error:
            raise LoadFailed(f"{' '.join(scenario)} did not end") from error
        lines = done.stdout.splitlines()
        if not lines or not lines[-1].startswith("{"):
            raise LoadFailed(f"{' '.join(scenario)}: {done.stderr.strip() or done.returncode}")
        report: Report = json.loads(lines[-1])
        if done.returncode:
            print(done.stderr.strip())
        return report
