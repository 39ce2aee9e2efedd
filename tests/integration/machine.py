"""The server as processes: twistd with its workers, seen from outside."""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

from twisted.trial.unittest import SkipTest, SynchronousTestCase

from mongoosetw.ctl import Failed, ask
from tests.integration.live import free_port
from tests.integration.raw import RawClient

BIN = Path(sys.executable).parent
PATIENCE = 90.0
"""Seconds until something that has to happen is given up."""
CONFIG = """
[general]
hosts = ["localhost"]
data_dir = "data"
loglevel = "info"
log_format = "json"
workers = {workers}
[auth]
password.scram_iterations = 4096
[[listen.c2s]]
port = {port}
ip_address = "{address}"
allow_plain_without_tls = true
[[listen.http]]
port = {http_port}
[modules.mod_roster]
[modules.mod_presence]
[modules.mod_ping]
[cluster]
node_name = "{name}"
{cluster}
{extra}
"""
POSTGRESQL = """
[outgoing_pools.rdbms.default]
driver = "pgsql"
host = "127.0.0.1"
port = {port}
database = "{database}"
username = "test"
"""


class Machine:
    """One twistd, its configuration, log and control socket.

    :param prefix: put before the command line, such as ``ip netns exec NAME``.
    :param address: that clients connect to.
    """

    def __init__(
        self,
        name: str = "alpha",
        *,
        workers: int = 2,
        cluster: str = "",
        extra: str = "",
        prefix: tuple[str, ...] = (),
        address: str = "127.0.0.1",
    ) -> None:
        # A short path: a Unix socket's may have 107 bytes at most.
        self.folder = Path(tempfile.mkdtemp(prefix="mongoosetw-"))
        self.name = name
        self.port, self.http_port = free_port(), free_port()
        self.config = self.folder / "m.toml"
        self.values = {
            "name": name, "workers": workers, "cluster": cluster, "extra": extra,
            "address": address, "port": self.port, "http_port": self.http_port,
        }  # fmt: skip
        self.write()
        self._prefix = prefix
        self.process: subprocess.Popen[bytes] | None = None

    def write(self, **changes: object) -> None:
        """Writes the configuration, with other values."""
        self.values |= changes
        self.config.write_text(CONFIG.format(**self.values))

    def start(self, *options: str) -> None:
        """Starts twistd."""
        command = [*self._prefix, BIN / "twistd", "-n", "--pidfile=", *options]
        with (self.folder / "log").open("ab") as log:
            self.process = subprocess.Popen(
                [*command, "mongoose", "--config", self.config],
                cwd=self.folder,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
            )

    def end(self) -> None:
        """Ends all, whatever became of it."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()
        for pid in self.pids_in_log():
            try:
                if b"mongoosetw.cluster.worker" in Path(f"/proc/{pid}/cmdline").read_bytes():
                    os.kill(pid, signal.SIGKILL)
            except OSError:
                continue
        shutil.rmtree(self.folder, ignore_errors=True)

    def pids_in_log(self) -> list[int]:
        """The processes of all workers that were ever started."""
        return [entry["pid"] for entry in self.logged("worker_started")]

    def logged(self, what: str) -> list[dict[str, Any]]:
        """The entries of the log with this event; one that is just being written is none yet."""
        whole, _, _ = (self.folder / "log").read_text().rpartition("\n")
        entries = [json.loads(line) for line in whole.splitlines() if line.startswith("{")]
        return [entry for entry in entries if entry["what"] == what]

    def ctl(self, command: str, **args: str) -> Any:
        """The answer to a command of mongoosectl, without its start.

        :raises Failed: it was refused, or nobody answers.
        """
        return ask(self.folder / "data" / "mongoosectl.sock", command, args)

    def words(self, *arguments: str) -> str:
        """What mongoosectl prints."""
        command = [str(BIN / "mongoosectl"), "--config", str(self.config), *arguments]
        return subprocess.check_output(command, text=True, timeout=60)

    def workers(self) -> dict[str, dict[str, Any]]:
        """What ``status`` says of the workers, by name; nothing if nobody answers."""
        try:
            return {worker["node"]: worker for worker in self.ctl("status")["workers"]}
        except Failed:
            return {}

    def running(self) -> list[str]:
        """The workers that run."""
        found = self.workers()
        return [name for name, worker in found.items() if worker["state"] == "running"]

    def events(self, node: str, event: str) -> list[dict[str, str]]:
        """What a node has seen happen lately."""
        found = self.ctl("cluster status", node=node)["lately"]
        return [entry for entry in found if entry["event"] == event]

    def linked(self) -> int:
        """How many ends of links are up."""
        try:
            status = self.ctl("cluster status")
        except Failed:
            return 0
        return sum(link["linked"] for link in status.get("links", ()))


class MachineTestCase(SynchronousTestCase):
    """Starts machines.

    :cvar postgresql: the machines share the PostgreSQL of the tests.
    """

    postgresql: ClassVar[bool] = False

    def machine(self, name: str = "alpha", **options: Any) -> Machine:
        """A machine, not started yet, ended after the test."""
        if self.postgresql:
            options["extra"] = options.get("extra", "") + self.database()
        machine = Machine(name, **options)
        self.addCleanup(machine.end)
        return machine

    def database(self) -> str:
        """The lines that name the database of this test, which is new and empty."""
        url = os.environ.get("MONGOOSETW_TEST_PG")
        if not url:
            raise SkipTest("MONGOOSETW_TEST_PG names no database")
        import psycopg2

        if not hasattr(self, "_database"):
            self._database = f"cluster_{os.getpid()}_{time.time_ns()}"
            connection = psycopg2.connect(url.replace("postgresql+psycopg2", "postgresql"))
            connection.autocommit = True
            connection.cursor().execute(f"CREATE DATABASE {self._database}")
            connection.close()
        port = url.rpartition(":")[2].partition("/")[0]
        return POSTGRESQL.format(port=port, database=self._database)

    def by_socket(self, lines: str) -> str:
        """The same database by its Unix socket: its TCP port is in no namespace but its own."""
        import psycopg2

        url = os.environ["MONGOOSETW_TEST_PG"].replace("postgresql+psycopg2", "postgresql")
        connection = psycopg2.connect(url)
        with connection.cursor() as cursor:
            cursor.execute("SHOW unix_socket_directories")
            (folder,) = cursor.fetchone()
        connection.close()
        return lines.replace('host = "127.0.0.1"', f'host = "{folder}"')

    def until(self, condition: Callable[[], object], what: str) -> Any:
        """Waits for something to become true; what it was in the end."""
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline:
            try:
                found = condition()
            except Failed:  # who is asked is not there, or has no time
                found = None
            if found:
                return found
            time.sleep(0.1)
        raise AssertionError(f"{what} did not happen")

    def start(self, machine: Machine) -> None:
        """Starts a machine and waits until its workers run and are linked."""
        machine.start()
        count = int(machine.values["workers"])  # type: ignore[call-overload]
        self.until(lambda: self._runs(machine, count), "the start")
        if count > 1:
            self.until(lambda: machine.linked() >= count * (count - 1), "the links")

    def _runs(self, machine: Machine, count: int) -> bool:
        assert machine.process is not None
        if machine.process.poll() is not None:
            raise AssertionError((machine.folder / "log").read_text())
        return len(machine.running()) == count

    def login(self, machine: Machine, user: str, resource: str) -> RawClient:
        """A logged-in client with a resource."""
        client = RawClient(machine.port, "localhost")
        self.addCleanup(client.close)
        client.login(user, resource)
        return client


def connects(port: int) -> bool:
    """Whether a new connection gets an answer."""
    with socket.create_connection(("127.0.0.1", port), 5) as client:
        client.settimeout(5)
        client.sendall(
            b"<stream:stream to='localhost' version='1.0' xmlns='jabber:client' "
            b"xmlns:stream='http://etherx.jabber.org/streams'>"
        )
        return bool(client.recv(100))
