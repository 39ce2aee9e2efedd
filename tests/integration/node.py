"""A node as a process of its own: twistd with a configuration, and mongoosectl against it."""

import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from tests.integration.live import free_port
from tests.integration.raw import RawClient

BIN = Path(sys.executable).parent
ROOT = Path(__file__).resolve().parents[2]
CONFIG = """
[general]
hosts = ["localhost"]
data_dir = "data"
[[listen.c2s]]
port = {port}
ip_address = "127.0.0.1"
tls.mode = "starttls"
allow_plain_without_tls = true
"""


class NodeTestCase(SynchronousTestCase):
    """Starts a node for each test.

    :cvar config: the configuration; ``{port}`` and every other name in :meth:`ports` is filled in.
    :ivar folder: where the node lives; its configuration is ``mongoosetw.toml``.
    """

    config = CONFIG

    def setUp(self) -> None:
        """Starts twistd and waits for its ports and its control socket."""
        # A short path: the control socket's may have 107 bytes at most.
        self.folder = Path(tempfile.mkdtemp(prefix="mongoosetw-"))
        self.addCleanup(shutil.rmtree, self.folder, ignore_errors=True)
        self.ports = self.choose_ports()
        self.port = self.ports["port"]
        self.file = self.folder / "mongoosetw.toml"
        self.file.write_text(self.config.format(**self.ports))
        self.start_node()

    def choose_ports(self) -> dict[str, int]:
        """Free TCP ports by the names that the configuration has for them."""
        return {"port": free_port()}

    def start_node(self) -> None:
        """Starts the node; ended with the test at the latest."""
        with (self.folder / "log").open("a") as log:
            self.node = subprocess.Popen(
                [BIN / "twistd", "-n", "--pidfile=", "mongoose", "--config", self.file],
                cwd=self.folder,
                # Lets a configuration name modules of the tests.
                env={**os.environ, "PYTHONPATH": str(ROOT)},
                stdout=log,
                stderr=subprocess.STDOUT,
            )
        self.addCleanup(self.end)
        for port in self.ports.values():
            self.wait_for(("127.0.0.1", port), socket.AF_INET)
        self.wait_for(str(self.folder / "data" / "mongoosectl.sock"), socket.AF_UNIX)

    def end(self) -> None:
        """Ends the node, whatever became of it."""
        self.node.kill()
        self.node.wait()

    def wait_for(self, address: Any, family: int) -> None:
        """Waits until the node accepts connections."""
        until = time.monotonic() + 60
        while self.node.poll() is None and time.monotonic() < until:
            with socket.socket(family) as probe:
                try:
                    probe.connect(address)
                    return
                except OSError:
                    time.sleep(0.05)
        self.fail((self.folder / "log").read_text())

    def client(self) -> RawClient:
        """A new connection, closed after the test."""
        client = RawClient(self.port)
        self.addCleanup(client.close)
        return client

    def run_ctl(self, *arguments: str, given: str = "") -> "subprocess.CompletedProcess[str]":
        """What came of mongoosectl, run against the node with ``given`` on its standard input."""
        command = [str(BIN / "mongoosectl"), "--config", str(self.file), *arguments]
        return subprocess.run(
            command, capture_output=True, text=True, input=given, timeout=60, check=False
        )

    def ctl(self, *arguments: str) -> str:
        """What mongoosectl prints; it has to succeed."""
        done = self.run_ctl(*arguments)
        self.assertEqual(done.returncode, 0, done.stderr)
        return done.stdout

    def ctl_json(self, *arguments: str) -> Any:
        """What mongoosectl prints with --json."""
        return json.loads(self.ctl("--json", *arguments))
