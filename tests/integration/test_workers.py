"""Several workers on one machine: started, watched, asked and stopped as one server."""

import os
import signal
import subprocess
import time
import urllib.request

from tests.integration.machine import BIN, Machine, MachineTestCase, connects
from tests.integration.raw import RawClient


class OneServer(MachineTestCase):
    """What two workers are to those outside, on either database."""

    def setUp(self) -> None:
        """Starts a machine with two workers."""
        self.alpha = self.machine()
        self.start(self.alpha)

    def pid(self, name: str) -> int:
        """The process of a worker."""
        found: int = self.alpha.workers()[name]["pid"]
        return found

    def login_on_both(self, machine: Machine) -> list[RawClient]:
        """Clients of one user, until both workers have one."""
        machine.ctl("account register", jid="alice@localhost", password="secret")
        clients = []
        while {row["node"] for row in machine.ctl("session list")} != {"alpha.1", "alpha.2"}:
            clients.append(self.login(machine, "alice", f"r{len(clients)}"))
            self.assertLess(len(clients), 100)
        return clients

    def check_one_server(self) -> None:
        """mongoosectl, metrics and log speak of all workers; a user logs in wherever it comes."""
        alpha = self.alpha
        clients = self.login_on_both(alpha)
        for node in ("alpha.1", "alpha.2"):
            accounts = alpha.ctl("account list", domain="localhost", node=node)
            self.assertEqual(accounts, ["alice@localhost"])
        rows = alpha.ctl("session list")
        self.assertEqual(len(rows), len(clients))
        self.assertEqual(alpha.ctl("session count"), {"localhost": len(clients)})
        self.assertEqual(alpha.ctl("status")["sessions"], len(clients))
        modules = alpha.ctl("modules")["localhost"]
        self.assertIn("mod_ping", [module["name"] for module in modules])
        self.assertEqual(alpha.ctl("modules", node="alpha.2"), {"localhost": modules})
        for node in ("alpha.1", "alpha.2"):
            count = sum(row["node"] == node for row in rows)
            self.assertIn(f'sm_node_sessions_count{{node="{node}"}} {count}\n', self.metrics())
        alpha.ctl("session kick", jid="alice@localhost")
        for client in clients:
            self.assertIn("policy-violation", client.rest())
        nodes = {entry["node"] for entry in alpha.logged("node_linked")}
        self.assertEqual(nodes, {"alpha.1", "alpha.2"})
        self.assertEqual({entry["node"] for entry in alpha.logged("worker_ready")}, {"alpha"})

    def metrics(self) -> str:
        """What Prometheus reads."""
        url = f"http://127.0.0.1:{self.alpha.http_port}/metrics"
        with urllib.request.urlopen(url, timeout=20) as answer:
            text: str = answer.read().decode()
            return text

    def check_killed_worker(self) -> None:
        """A killed worker is started again under its name; the other one takes its connections."""
        pid = self.pid("alpha.1")
        os.kill(pid, signal.SIGKILL)
        self.until(lambda: self.events("alpha.2", "lost"), "the loss")
        for _ in range(20):
            self.assertTrue(connects(self.alpha.port))
        self.until(lambda: self.alpha.linked() == 2, "the new link")
        worker = self.alpha.workers()["alpha.1"]
        self.assertNotEqual(worker["pid"], pid)
        self.assertEqual((worker["restarts"], worker["last_end"]), (1, "signal 9"))
        numbers = {node["node"]: node["number"] for node in self.alpha.ctl("cluster nodes")}
        self.assertEqual(numbers, {"alpha.1": 0, "alpha.2": 1})
        for _ in range(20):
            self.assertTrue(connects(self.alpha.port))

    def events(self, node: str, event: str) -> list[dict[str, str]]:
        """What a node has seen happen lately."""
        found = self.alpha.ctl("cluster status", node=node)["lately"]
        return [entry for entry in found if entry["event"] == event]

class WorkersTests(OneServer):
    """Two workers that share an SQLite file."""

    def test_one_server(self) -> None:
        """mongoosectl, metrics and log speak of all workers; a user logs in wherever it comes."""
        self.check_one_server()

    def test_killed_worker(self) -> None:
        """A killed worker is started again under its name; the other one takes its connections."""
        self.check_killed_worker()

    def test_reload(self) -> None:
        """SIGHUP reaches every worker; mongoosectl reload answers for all."""
        self.alpha.write(extra="[modules.mod_time]\n" + str(self.alpha.values["extra"]))
        assert self.alpha.process is not None
        os.kill(self.alpha.process.pid, signal.SIGHUP)
        self.until(self.all_have_time, "the reload")
        changes = self.alpha.ctl("reload")
        self.assertEqual(changes, [])

    def all_have_time(self) -> bool:
        """Whether both workers run mod_time."""
        found = [self.alpha.ctl("modules", node=n) for n in ("alpha.1", "alpha.2")]
        return all("mod_time" in str(modules) for modules in found)

    def test_sigterm(self) -> None:
        """SIGTERM ends all, and every client is told."""
        clients = self.login_on_both(self.alpha)
        assert self.alpha.process is not None
        pids = [worker["pid"] for worker in self.alpha.workers().values()]
        self.alpha.process.terminate()
        for client in clients:
            self.assertIn("system-shutdown", client.rest())
        self.assertEqual(self.alpha.process.wait(60), -signal.SIGTERM)
        self.assertFalse([pid for pid in pids if _exists(pid)])

    def test_supervisor_killed(self) -> None:
        """Workers do not outlive their supervisor: the next one starts others of the same names."""
        assert self.alpha.process is not None
        pids = [worker["pid"] for worker in self.alpha.workers().values()]
        self.alpha.process.kill()
        self.alpha.process.wait()
        self.until(lambda: not [pid for pid in pids if _exists(pid)], "the end of the workers")
        self.start(self.alpha)


class FrozenWorkerTests(MachineTestCase):
    """A worker that is stopped by a signal, as by a debugger or a hanging disk."""

    def test_frozen_worker(self) -> None:
        """It is noticed in time, others take its connections, and it is killed in the end."""
        alpha = self.machine(cluster="peer_timeout = 3\nworker_timeout = 6")
        self.start(alpha)
        pid = alpha.workers()["alpha.1"]["pid"]
        frozen_at = time.monotonic()
        os.kill(pid, signal.SIGSTOP)
        self.until(lambda: self.lost_by(alpha, "alpha.2"), "the loss")
        self.assertLess(time.monotonic() - frozen_at, 20)  # 3 on an idle machine
        self.until(lambda: alpha.running() == ["alpha.2"], "the freeze")
        for _ in range(20):
            self.assertTrue(connects(alpha.port))
        self.until(lambda: alpha.linked() == 2, "the new start")
        self.assertEqual(alpha.workers()["alpha.1"]["last_end"], "signal 9")

    def lost_by(self, machine: Machine, node: str) -> bool:
        """Whether a node has lost another one."""
        lately = machine.ctl("cluster status", node=node)["lately"]
        return any(entry["event"] == "lost" for entry in lately)

    def test_short_freeze(self) -> None:
        """A worker that goes on in time is linked again, and nothing is restarted."""
        alpha = self.machine(cluster="peer_timeout = 2\nworker_timeout = 300")
        self.start(alpha)
        pid = alpha.workers()["alpha.1"]["pid"]
        os.kill(pid, signal.SIGSTOP)
        self.until(lambda: self.lost_by(alpha, "alpha.2"), "the loss")
        os.kill(pid, signal.SIGCONT)
        self.until(lambda: alpha.linked() == 2, "the new link")
        self.until(lambda: len(alpha.running()) == 2, "the recovery")
        self.assertEqual(alpha.workers()["alpha.1"]["pid"], pid)


class StartTests(MachineTestCase):
    """What can go wrong at the start."""

    def test_port_taken(self) -> None:
        """A port that another server has is said, whichever way that server listens."""
        alpha = self.machine()
        beta = self.machine("beta")
        beta.write(port=alpha.port)
        alpha.start()
        self.until(lambda: len(alpha.running()) == 2, "the start")
        beta.start()
        assert beta.process is not None
        self.assertEqual(beta.process.wait(60), 1)
        self.assertIn(f"listen on 127.0.0.1:{alpha.port}", (beta.folder / "log").read_text())

    def test_crash_loop(self) -> None:
        """Workers that end whenever they are started are given up on, loudly, with status 1."""
        alpha = self.machine()
        (alpha.folder / "data").mkdir(mode=0o700)
        # An SQLite database that is none: every worker fails to open it.
        (alpha.folder / "data" / "mongoosetw.sqlite").write_bytes(b"no database" * 1000)
        alpha.start()
        assert alpha.process is not None
        self.assertEqual(alpha.process.wait(180), 1)
        self.assertTrue(alpha.logged("crash_loop"))
        self.assertIn("mongoosetw gives up", (alpha.folder / "log").read_text())

    def test_daemon(self) -> None:
        """As a daemon: the pid file is the supervisor's, the workers' output is in its log."""
        alpha = self.machine()
        options = ["--pidfile=pid", "--logfile=log"]
        command = [str(BIN / "twistd"), *options, "mongoose", "--config", str(alpha.config)]
        subprocess.run(command, cwd=alpha.folder, check=True, timeout=60)
        self.until(lambda: len(alpha.running()) == 2, "the start")
        pid = int((alpha.folder / "pid").read_text())
        self.assertEqual({entry["node"] for entry in alpha.logged("worker_ready")}, {"alpha"})
        self.assertEqual(
            {entry["node"] for entry in alpha.logged("module_started")}, {"alpha.1", "alpha.2"}
        )
        os.kill(pid, signal.SIGTERM)
        self.until(lambda: not (alpha.folder / "pid").exists(), "the end")
        self.until(lambda: not alpha.workers(), "the end of the control socket")


class PostgreSQLWorkersTests(OneServer):
    """Two workers that share PostgreSQL."""

    postgresql = True

    def test_all(self) -> None:
        """The same on PostgreSQL."""
        self.check_one_server()
        self.check_killed_worker()


def _exists(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True
