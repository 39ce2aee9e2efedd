"""A private PostgreSQL for tests, in a temporary folder.

``python -m mongoosetw.testing.postgres -- COMMAND…`` runs a command with the database's URL
in ``MONGOOSETW_TEST_PG`` and returns its exit status. Without PostgreSQL's programs the
command runs without it.
"""

import glob
import os
import pwd
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager

VARIABLE = "MONGOOSETW_TEST_PG"


def _program(name: str) -> str | None:
    found = sorted(glob.glob(f"/usr/lib/postgresql/*/bin/{name}"))
    return found[-1] if found else shutil.which(name)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _as_user() -> list[str]:
    """PostgreSQL refuses to run as root."""
    return ["runuser", "-u", "postgres", "--"] if os.getuid() == 0 else []


@contextmanager
def private_postgres() -> Iterator[str | None]:
    """Runs a server of its own; gives SQLAlchemy's URL, or None where there is no PostgreSQL.

    :raises subprocess.CalledProcessError: it does not start.
    """
    initdb, pg_ctl = _program("initdb"), _program("pg_ctl")
    if initdb is None or pg_ctl is None:
        yield None
        return
    folder = tempfile.mkdtemp(prefix="mongoosetw-pg-")
    if os.getuid() == 0:
        os.chown(folder, pwd.getpwnam("postgres").pw_uid, -1)
    data, port, prefix = os.path.join(folder, "data"), _free_port(), _as_user()
    quiet = {"stdout": subprocess.DEVNULL, "cwd": folder, "check": True}
    try:
        make = [initdb, "-D", data, "-A", "trust", "-U", "test", "-E", "UTF8", "--no-sync"]
        subprocess.run([*prefix, *make], **quiet)  # type: ignore[call-overload]
        options = f"-p {port} -k {folder} -c listen_addresses=127.0.0.1"
        log = os.path.join(folder, "log")
        start = [pg_ctl, "-D", data, "-w", "-l", log, "-o", options, "start"]
        subprocess.run([*prefix, *start], **quiet)  # type: ignore[call-overload]
        yield f"postgresql+psycopg2://test@127.0.0.1:{port}/postgres"
    finally:
        if os.path.exists(os.path.join(data, "postmaster.pid")):
            stop = [pg_ctl, "-D", data, "-m", "immediate", "stop"]
            subprocess.run([*prefix, *stop], **quiet)  # type: ignore[call-overload]
        shutil.rmtree(folder, ignore_errors=True)


def main() -> int:
    """Runs the command behind ``--``; returns its exit status."""
    command = sys.argv[sys.argv.index("--") + 1 :]
    with private_postgres() as url:
        environment = dict(os.environ)
        if url is not None:
            environment[VARIABLE] = url
        return subprocess.run(command, env=environment, check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
