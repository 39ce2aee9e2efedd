"""Several workers on one machine: started, watched, asked and stopped as one server.

Starting a machine takes seconds, so that each test here goes through a part of its life.
"""

import os
import signal
import socket
import subprocess
import time
import urllib.request

from tests.integration.machine import BIN, Machine, MachineTestCase, connects
from tests.integration.raw import RawClient

NODES = ("alpha.1", "alpha.2")


class OneServer(MachineTestCase):
    """What two workers are to those outside."""

    def check_one_server(self) -> None:
        """Goes through a life of two workers."""
        alpha = self.machine()
        self.start(alpha)
        clients = self.login_on_both(alpha)
        self.check_answers(alpha, len(clients))
        alpha.ctl("session kick", jid="alice@localhost")
        for client in clients:
            self.assertIn("policy-violation", client.rest())
        self.check_killed_worker(alpha)
        self.check_reload(alpha)
        self.check_sigterm(alpha)

    def login_on_both(self, machine: Machine) -> list[RawClient]:
        """Clients of one user, until both workers have one."""
        clients: list[RawClient] = []
        if "alice@localhost" not in machine.ctl("account list", domain="localhost"):
            machine.ctl("account register", jid="alice@localhost", password="secret")
        while {row["node"] for row in machine.ctl("session list")} != set(NODES):
            clients.append(self.login(machine, "alice", f"r{len(clients)}"))
            self.assertLess(len(clients), 100)
        return clients

    def check_answers(self, alpha: Machine, sessions: int) -> None:
        """mongoosectl, metrics and log speak of all workers."""
        rows = alpha.ctl("session list")
        self.assertEqual(len(rows), sessions)
        self.assertEqual(alpha.ctl("session count"), {"localhost": sessions})
        self.assertEqual(alpha.ctl("status")["sessions"], sessions)
        modules = alpha.ctl("modules")["localhost"]
        self.assertIn("mod_ping", [module["name"] for module in modules])
        metrics = self.metrics(alpha)
        for node in NODES:
            count = sum(row["node"] == node for row in rows)
            self.assertIn(f'sm_node_sessions_count{{node="{node}"}} {count}\n', metrics)
            self.assertEqual(alpha.ctl("modules", node=node), {"localhost": modules})
            accounts = alpha.ctl("account list", domain="localhost", node=node)
            self.assertEqual(accounts, ["alice@localhost"])
        self.assertEqual({entry["node"] for entry in alpha.logged("node_linked")}, set(NODES))
        self.assertEqual({entry["node"] for entry in alpha.logged("worker_ready")}, {"alpha"})

    def metrics(self, machine: Machine) -> str:
        """What Prometheus reads."""
        url = f"http://127.0.0.1:{machine.http_port}/metrics"
        with urllib.request.urlopen(url, timeout=20) as answer:
            text: str = answer.read().decode()
            return text

    def check_killed_worker(self, alpha: Machine) -> None:
        """It is started again under its name; the other one notices, and takes its connections."""
        pid = alpha.workers()["alpha.1"]["pid"]
        os.kill(pid, signal.SIGKILL)
        self.until(lambda: alpha.events("alpha.2", "lost"), "the loss")
        self.check_connections(alpha)
        self.until(lambda: alpha.linked() == 2, "the new link")
        worker = alpha.workers()["alpha.1"]
        self.assertNotEqual(worker["pid"], pid)
        self.assertEqual((worker["restarts"], worker["last_end"]), (1, "signal 9"))
        numbers = {node["node"]: node["number"] for node in alpha.ctl("cluster nodes")}
        self.assertEqual(numbers, {"alpha.1": 0, "alpha.2": 1})
        self.check_connections(alpha)

    def is_open(self, port: int) -> bool:
        """Whether connections are taken; they may wait then."""
        try:
            socket.create_connection(("127.0.0.1", port), 5).close()
        except ConnectionRefusedError:
            return False
        return True

    def check_connections(self, machine: Machine) -> None:
        """Whichever worker the kernel means: a client is greeted."""
        for _ in range(20):
            self.assertTrue(connects(machine.port))

    def check_reload(self, alpha: Machine) -> None:
        """SIGHUP reaches every worker; mongoosectl reload answers for all."""
        alpha.write(extra="[modules.mod_time]\n" + str(alpha.values["extra"]))
        assert alpha.process is not None
        os.kill(alpha.process.pid, signal.SIGHUP)
        self.until(lambda: self.all_have_time(alpha), "the reload")
        self.assertEqual(alpha.ctl("reload"), [])

    def all_have_time(self, machine: Machine) -> bool:
        """Whether both workers run mod_time."""
        return all("mod_time" in str(machine.ctl("modules", node=node)) for node in NODES)

    def check_sigterm(self, alpha: Machine) -> None:
        """It ends all, and every client is told."""
        clients = self.login_on_both(alpha)
        assert alpha.process is not None
        pids = [worker["pid"] for worker in alpha.workers().values()]
        alpha.process.terminate()
        for client in clients:
            self.assertIn("system-shutdown", client.rest())
        self.assertEqual(alpha.process.wait(60), 0)
        self.assertFalse([pid for pid in pids if _exists(pid)])


class WorkersTests(OneServer):
    """Two workers that share an SQLite file."""

    def test_one_server(self) -> None:
        """Two workers look like one server, through a crash of one, a reload and SIGTERM."""
        self.check_one_server()

    def test_frozen_worker(self) -> None:
        """A frozen worker is noticed, spared if it wakes in time, replaced if not."""
        alpha = self.machine(cluster="peer_timeout = 3\nworker_timeout = 20")
        self.start(alpha)
        pid = alpha.workers()["alpha.1"]["pid"]
        os.kill(pid, signal.SIGSTOP)
        self.until(lambda: alpha.events("alpha.2", "lost"), "the loss")
        self.until(lambda: alpha.running() == ["alpha.2"], "the freeze")
        self.check_connections(alpha)
        os.kill(pid, signal.SIGCONT)
        self.until(lambda: alpha.linked() == 2, "the new link")
        self.until(lambda: len(alpha.running()) == 2, "the recovery")
        self.assertEqual(alpha.workers()["alpha.1"]["pid"], pid)
        os.kill(pid, signal.SIGSTOP)
        self.until(lambda: alpha.workers()["alpha.1"]["last_end"] == "signal 9", "the kill")
        pids = [worker["pid"] for worker in alpha.workers().values() if worker["pid"]]
        assert alpha.process is not None
        alpha.process.kill()
        alpha.process.wait()
        self.until(lambda: not [pid for pid in pids if _exists(pid)], "the end of the workers")

    def test_just_frozen(self) -> None:
        """Who looks before a freeze is noticed is soon told which worker does not answer."""
        alpha = self.machine()
        self.start(alpha)
        os.kill(alpha.workers()["alpha.1"]["pid"], signal.SIGSTOP)
        for command in ("status", "cluster status"):
            began = time.monotonic()
            silent = alpha.ctl(command)["silent"]
            self.assertLess(time.monotonic() - began, 8)
            self.assertEqual([row["node"] for row in silent], ["alpha.1"])

    def test_rolling_restart(self) -> None:
        """Workers are replaced one after the other, and somebody takes clients all the time."""
        alpha = self.machine(cluster="drain_rate = 20")
        self.start(alpha)
        clients = self.login_on_both(alpha)
        pids = [worker["pid"] for worker in alpha.workers().values()]
        self.assertEqual(alpha.ctl("cluster restart"), {"restart": list(NODES)})
        while not alpha.logged("rolling_ends"):
            self.assertTrue(connects(alpha.port))
        for client in clients:
            self.assertIn("system-shutdown", client.rest())
        self.until(lambda: alpha.linked() == 2, "the links")
        workers = alpha.workers()
        self.assertFalse({worker["pid"] for worker in workers.values()} & set(pids))
        self.assertEqual([worker["restarts"] for worker in workers.values()], [0, 0])
        left = alpha.events("alpha.1", "left")
        self.assertEqual([event["peer"] for event in left], ["alpha.2"])
        alpha.ctl("cluster drain", node="alpha.1")
        self.until(lambda: alpha.workers()["alpha.1"]["state"] == "draining", "the draining")
        self.until(lambda: len(alpha.logged("rolling_ends")) == 2, "its end")
        self.check_connections(alpha)
        alpha.ctl("cluster leave")
        assert alpha.process is not None
        self.assertEqual(alpha.process.wait(120), 0)


class PostgreSQLWorkersTests(OneServer):
    """Two workers that share PostgreSQL."""

    postgresql = True

    def test_one_server(self) -> None:
        """The same on PostgreSQL."""
        self.check_one_server()


class StartTests(OneServer):
    """The start, and what can go wrong with it."""

    def test_open_when_ready(self) -> None:
        """Clients are turned away until all workers can serve them."""
        alpha = self.machine()
        alpha.start()
        self.until(lambda: self.is_open(alpha.port), "the opening of the port")
        self.assertEqual(len(alpha.logged("worker_ready")), 2)
        self.login_on_both(alpha)

    def test_daemon(self) -> None:
        """As a daemon it has a pid file and a log; a second server on its port is refused."""
        alpha, beta = self.machine(), self.machine("beta")
        options = ["--pidfile=pid", "--logfile=log"]
        command = [str(BIN / "twistd"), *options, "mongoose", "--config", str(alpha.config)]
        subprocess.run(command, cwd=alpha.folder, check=True, timeout=60)
        self.until(lambda: len(alpha.running()) == 2, "the start")
        pid = int((alpha.folder / "pid").read_text())
        self.assertEqual({entry["node"] for entry in alpha.logged("module_started")}, set(NODES))
        beta.write(port=alpha.port)
        beta.start()
        assert beta.process is not None
        self.assertEqual(beta.process.wait(60), 1)
        self.assertIn(f"listen on 127.0.0.1:{alpha.port}", (beta.folder / "log").read_text())
        os.kill(pid, signal.SIGTERM)
        self.until(lambda: not (alpha.folder / "pid").exists(), "the end")

    def test_crash_loop(self) -> None:
        """Workers that end whenever they are started are given up on, loudly, with status 1."""
        alpha = self.machine()
        (alpha.folder / "data").mkdir(mode=0o700)
        # An SQLite database that is none: every worker fails to open it.
        (alpha.folder / "data" / "mongoosetw.sqlite").write_bytes(b"no database" * 1000)
        alpha.start()
        assert alpha.process is not None
        self.assertEqual(alpha.process.wait(300), 1)
        self.assertTrue(alpha.logged("crash_loop"))
        self.assertIn("mongoosetw gives up", (alpha.folder / "log").read_text())


def _exists(pid: int) -> bool:
    """Whether a process runs; one that is dead and waits for its parent does not."""
    try:
        with open(f"/proc/{pid}/stat") as file:
            return file.read().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False
