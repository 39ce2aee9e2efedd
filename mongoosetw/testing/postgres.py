"""A private PostgreSQL for tests, in a temporary folder.

``python -m mongoosetw.testing.postgres -- COMMAND…`` runs a command with the database's URL
in ``MONGOOSETW_TEST_PG`` and returns its exit status. Without PostgreSQL's programs the
command runs without it.

A test of what happens when the database fails has one of its own, :class:`PostgreSQL`.
"""

import atexit
import glob
import os
import pwd
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from functools import cache
from pathlib import Path

import psycopg2

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


def _folder(volume: str | None = None) -> str:
    folder = tempfile.mkdtemp(prefix="mongoosetw-pg-", dir=volume)
    if os.getuid() == 0:
        os.chown(folder, pwd.getpwnam("postgres").pw_uid, -1)
    return folder


def _run(folder: str, program: str, *arguments: str) -> None:
    path = _program(program)
    assert path is not None, f"{program} is not installed"
    # A file for its output: a server would keep a pipe open for as long as it runs
    with open(os.path.join(folder, "output"), "a") as output:
        command = [*_as_user(), path, *arguments]
        subprocess.run(command, stdout=output, stderr=output, cwd=folder, check=True)


@cache
def _empty_cluster() -> str:
    """A data directory to copy, which is quicker than making one; removed at the end."""
    folder = _folder()
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    data = os.path.join(folder, "data")
    _run(folder, "initdb", "-D", data, "-A", "trust", "-U", "test", "-E", "UTF8", "-N")
    return data


class PostgreSQL:
    """A PostgreSQL server that a test starts, ends and disturbs as it likes.

    :ivar folder: holds the data, the log and the Unix socket.
    :ivar port: of the Unix socket's name, and TCP's if there is one.
    :ivar url: SQLAlchemy's URL.
    """

    def __init__(
        self, *, tcp: bool = False, settings: str = "-c fsync=off", volume: str | None = None
    ) -> None:
        """Makes the database, but does not start it.

        :param tcp: listen on 127.0.0.1, too; else nobody can take the port of a server that
            is to be started again.
        :param settings: options of ``postgres``; by default it survives only its own death.
        :param volume: the folder in which to make one; by default that of temporary files.
        """
        self.folder = _folder(volume)
        self._data = os.path.join(self.folder, "data")
        self.port = _free_port()
        address = "127.0.0.1" if tcp else ""
        self._options = f"-p {self.port} -k {self.folder} -c listen_addresses={address} {settings}"
        place = "127.0.0.1" if tcp else ""
        self.url = f"postgresql+psycopg2://test@{place}:{self.port}/postgres"
        if not tcp:
            self.url = f"postgresql+psycopg2://test@/postgres?host={self.folder}&port={self.port}"
        subprocess.run(["cp", "-a", _empty_cluster(), self._data], check=True)

    @staticmethod
    def installed() -> bool:
        """Whether PostgreSQL's programs are there."""
        return _program("initdb") is not None and _program("pg_ctl") is not None

    @property
    def configuration(self) -> str:
        """Lines of the server's configuration file that name this database."""
        return (
            "[outgoing_pools.rdbms.default]\n"
            f'driver = "pgsql"\nhost = "{self.folder}"\nport = {self.port}\n'
            'database = "postgres"\nusername = "test"\n'
        )

    def start(self) -> None:
        """Starts the server and waits until it takes connections.

        :raises subprocess.CalledProcessError: it does not start.
        """
        log = os.path.join(self.folder, "log")
        self._run("pg_ctl", "-D", self._data, "-w", "-l", log, "-o", self._options, "start")

    @property
    def running(self) -> bool:
        """Whether it is started and not dead."""
        return bool(self._processes())

    def stop(self, mode: str = "immediate") -> None:
        """Ends the server.

        :param mode: ``immediate`` (as in a crash), ``fast`` (clients are sent away) or
            ``smart`` (waits for them).
        """
        self._run("pg_ctl", "-D", self._data, "-w", "-m", mode, "stop")

    def restart(self, mode: str = "immediate") -> None:
        """Ends the server and starts it again."""
        self.stop(mode)
        self.start()

    def kill(self) -> None:
        """Kills all its processes at once, by SIGKILL."""
        processes = self._processes()
        self._signal(signal.SIGKILL)
        for process in processes:
            while os.path.exists(f"/proc/{process}") and _state(process) != "Z":
                time.sleep(0.005)
        # Where nobody reaps orphans, the dead one's number would look like a living server's
        for lock in (Path(self._data, "postmaster.pid"), *Path(self.folder).glob(".s.PGSQL.*")):
            lock.unlink(missing_ok=True)

    def freeze(self) -> None:
        """Suspends all its processes: connections stay, but nothing is answered."""
        self._signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """Lets its processes run on."""
        self._signal(signal.SIGCONT)

    def terminate_backends(self) -> int:
        """Ends the connections of all clients by ``pg_terminate_backend``; how many."""
        others = "FROM pg_stat_activity WHERE pid <> pg_backend_pid() AND backend_type = %s"
        return len(self.query(f"SELECT pg_terminate_backend(pid) {others}", "client backend"))

    def query(self, statement: str, *values: object) -> list[tuple[object, ...]]:
        """Runs a statement in a connection of its own; the rows, if it has any."""
        place = f"host={self.folder} port={self.port} user=test dbname=postgres"
        with closing(psycopg2.connect(place)) as connection:
            connection.autocommit = True
            with connection.cursor() as cursor:
                cursor.execute(statement, values)
                return cursor.fetchall() if cursor.description else []

    def close(self) -> None:
        """Ends the server, if it runs, and removes its folder."""
        self.kill()
        shutil.rmtree(self.folder, ignore_errors=True)

    def _run(self, program: str, *arguments: str) -> None:
        _run(self.folder, program, *arguments)

    def _processes(self) -> list[int]:
        """The server's first process and its children, none if it does not run."""
        try:
            text = Path(self._data, "postmaster.pid").read_text()
        except FileNotFoundError:
            return []
        first = int(text.partition("\n")[0])
        everybody = (int(name) for name in os.listdir("/proc") if name.isdigit())
        children = [process for process in everybody if _parent(process) == first]
        mine = _command(first).find(self._data.encode()) >= 0
        return [first, *children] if mine else []

    def _signal(self, number: signal.Signals) -> None:
        for process in self._processes():
            with suppress(ProcessLookupError):
                os.kill(process, number)


def _status(process: int) -> list[str]:
    """Fields of proc(5)'s ``stat`` after the name: state, parent …"""
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return ["", "0"]


def _state(process: int) -> str:
    return _status(process)[0]


def _parent(process: int) -> int:
    return int(_status(process)[1])


def _command(process: int) -> bytes:
    try:
        return Path(f"/proc/{process}/cmdline").read_bytes()
    except (FileNotFoundError, ProcessLookupError):
        return b""


@contextmanager
def private_postgres() -> Iterator[str | None]:
    """Runs a server of its own; gives SQLAlchemy's URL, or None where there is no PostgreSQL.

    :raises subprocess.CalledProcessError: it does not start.
    """
    if not PostgreSQL.installed():
        yield None
        return
    server = PostgreSQL(tcp=True, settings="")
    try:
        server.start()
        yield server.url
        server.stop()
    finally:
        server.close()


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
