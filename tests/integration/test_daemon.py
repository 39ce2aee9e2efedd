"""``twistd mongoose`` as a daemon: files, signals, exit statuses."""

import os
import signal
import socket
import subprocess
from pathlib import Path

from tests.integration.live import wait_until
from tests.integration.node import BIN, CONFIG, ROOT, NodeTestCase


class DaemonTests(NodeTestCase):
    """A node in the background, with a log file and a file of its process id."""

    def start_node(self) -> None:
        """Starts twistd, which goes to the background, and waits for the node."""
        self.pidfile, self.logfile = self.folder / "node.pid", self.folder / "node.log"
        self.addCleanup(self.end)
        self.launched = self.twistd("--pidfile", str(self.pidfile), "--logfile", str(self.logfile))
        assert self.launched.returncode == 0, self.launched.stderr
        self.node = Daemon(self.pidfile)  # type: ignore[assignment]
        self.wait_for(("127.0.0.1", self.port), socket.AF_INET)
        self.wait_for(str(self.folder / "data" / "mongoosectl.sock"), socket.AF_UNIX)

    def twistd(self, *options: str) -> "subprocess.CompletedProcess[str]":
        """Runs twistd until it ends or goes to the background."""
        return subprocess.run(
            [BIN / "twistd", *options, "mongoose", "--config", self.file],
            cwd=self.folder,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    def end(self) -> None:
        """Ends the daemon, whatever became of it."""
        if self.pidfile.exists():
            os.kill(int(self.pidfile.read_text()), signal.SIGKILL)

    def test_signals(self) -> None:
        """SIGHUP reads the configuration again, SIGTERM says goodbye and cleans up."""
        clients = [self.client() for _ in range(3)]
        for client in clients:
            client.open()
        self.file.write_text(CONFIG.format(**self.ports) + "[modules.mod_ping]\n")
        self.node.send_signal(signal.SIGHUP)
        wait_until(lambda: "mod_ping" in self.ctl("modules"))
        self.file.write_text("[general]\nhosts = []\n")
        self.node.send_signal(signal.SIGHUP)
        wait_until(lambda: "reload_refused" in self.logfile.read_text())
        self.assertIn("general.hosts", self.logfile.read_text())
        self.assertIn("mod_ping", self.run_socket("modules"))
        self.node.send_signal(signal.SIGTERM)
        for client in clients:
            self.assertIn("<system-shutdown", client.rest())
            client.close()
        wait_until(lambda: not self.pidfile.exists())
        self.assertRaises(OSError, socket.create_connection, ("127.0.0.1", self.port), 10)
        self.assertFalse((self.folder / "data" / "mongoosectl.sock").exists())

    def run_socket(self, command: str) -> str:
        """What mongoosectl prints; it need not read the configuration."""
        path = str(self.folder / "data" / "mongoosectl.sock")
        done = subprocess.run(
            [BIN / "mongoosectl", "--socket", path, command],
            capture_output=True,
            text=True,
            timeout=60,
            check=True,
        )
        return done.stdout


class Daemon:
    """What a test does with a process, by its id."""

    def __init__(self, pidfile: Path) -> None:
        self._pidfile = pidfile

    def poll(self) -> int | None:
        """None while it runs."""
        return None if self._pidfile.exists() else 1

    def send_signal(self, number: signal.Signals) -> None:
        """Sends it a signal."""
        os.kill(int(self._pidfile.read_text()), number)


class ForegroundTests(NodeTestCase):
    """A node in the foreground, as a service manager runs it."""

    def test_exit_status(self) -> None:
        """SIGTERM and SIGINT, also twice, end it with status 0."""
        for number in (signal.SIGTERM, signal.SIGINT):
            client = self.client()
            client.open()
            self.node.send_signal(number)
            self.assertIn("<system-shutdown", client.rest())
            self.node.send_signal(number)
            client.close()
            self.assertEqual(self.node.wait(60), 0)
            self.start_node()


class BadStartTests(NodeTestCase):
    """Nodes that cannot start."""

    config = CONFIG.replace('data_dir = "data"', 'data_dir = "{data}"')

    def choose_ports(self) -> dict[str, int]:
        """And a folder whose name is too long for a socket."""
        return {**super().choose_ports(), "data": "d" * 100}  # type: ignore[dict-item]

    def start_node(self) -> None:
        """Starts none."""

    def test_path_of_the_control_socket(self) -> None:
        """A control socket with too long a path is said to be just that."""
        done = subprocess.run(
            [BIN / "twistd", "-n", "--pidfile=", "mongoose", "--config", self.file],
            cwd=self.folder,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        self.assertEqual(done.returncode, 1)
        self.assertIn("cannot start: the path of the control socket has", done.stderr)
        self.assertIn("at most 107 are possible", done.stderr)
        for command in ("check", "status"):
            done = self.run_ctl(command)
            self.assertEqual(done.returncode, 1)
            self.assertIn("at most 107 are possible", done.stderr)

    def test_port_taken(self) -> None:
        """A port that another process has is named."""
        self.file.write_text(CONFIG.format(port=self.port))
        with socket.create_server(("127.0.0.1", self.port)):
            done = subprocess.run(
                [BIN / "twistd", "-n", "--pidfile=", "mongoose", "--config", self.file],
                cwd=self.folder,
                capture_output=True,
                text=True,
                timeout=60,
                check=False,
            )
        self.assertEqual(done.returncode, 1)
        self.assertIn(str(self.port), done.stderr)
