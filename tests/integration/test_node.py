"""A whole node as a process: twistd, real sockets, TLS, real clients, mongoosectl."""

import os
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

BIN = Path(sys.executable).parent
CHAT = Path(__file__).with_name("slixmpp_chat.py").resolve()
HEADER = (
    b"<stream:stream to='localhost' version='1.0' xmlns='jabber:client' "
    b"xmlns:stream='http://etherx.jabber.org/streams'>"
)
CONFIG = """
[general]
hosts = ["localhost"]
data_dir = "data"
[[listen.c2s]]
port = {port}
ip_address = "127.0.0.1"
tls.mode = "starttls"
[[listen.c2s]]
port = {tls_port}
ip_address = "127.0.0.1"
tls.mode = "tls"
[modules.mod_roster]
[modules.mod_presence]
[modules.mod_disco]
[modules.mod_ping]
[modules.mod_carboncopy]
[modules.mod_csi]
[modules.mod_offline]
[modules.mod_register]
{database}
"""
POSTGRESQL = """
[outgoing_pools.rdbms.default]
driver = "pgsql"
host = "127.0.0.1"
port = {port}
database = "postgres"
username = "test"
"""


class NodeTests(SynchronousTestCase):
    """Starts a node with the embedded database."""

    database = ""

    def setUp(self) -> None:
        """Starts twistd in a folder of its own and waits for its port."""
        # A short path: the control socket's may have 107 bytes at most.
        self.folder = Path(tempfile.mkdtemp(prefix="mongoosetw-"))
        self.addCleanup(shutil.rmtree, self.folder, ignore_errors=True)
        with socket.socket() as probe, socket.socket() as other:
            probe.bind(("127.0.0.1", 0))
            other.bind(("127.0.0.1", 0))
            self.port, self.tls_port = probe.getsockname()[1], other.getsockname()[1]
        config = self.folder / "mongoosetw.toml"
        config.write_text(
            CONFIG.format(port=self.port, tls_port=self.tls_port, database=self.database)
        )
        self.log = (self.folder / "log").open("w")
        self.addCleanup(self.log.close)
        self.node = subprocess.Popen(
            [BIN / "twistd", "-n", "--pidfile=", "mongoose", "--config", config],
            cwd=self.folder,
            stdout=self.log,
            stderr=subprocess.STDOUT,
        )
        self.addCleanup(self.end)
        for port in (self.port, self.tls_port):
            self.wait_for(port)

    def end(self) -> None:
        """Ends the node, whatever became of it."""
        self.node.kill()
        self.node.wait()

    def wait_for(self, port: int) -> None:
        """Waits until the node accepts connections."""
        until = time.monotonic() + 60
        while self.node.poll() is None and time.monotonic() < until:
            try:
                socket.create_connection(("127.0.0.1", port), 1).close()
                return
            except OSError:
                time.sleep(0.05)
        self.fail((self.folder / "log").read_text())

    def ctl(self, *arguments: str) -> str:
        """Runs mongoosectl against the node."""
        config = str(self.folder / "mongoosetw.toml")
        command = [str(BIN / "mongoosectl"), "--config", config, *arguments]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
        self.assertEqual(done.returncode, 0, done.stderr)
        return done.stdout

    def open(self) -> socket.socket:
        """A raw connection with an open stream."""
        connection = socket.create_connection(("127.0.0.1", self.port), 10)
        self.addCleanup(connection.close)
        connection.settimeout(10)
        connection.sendall(HEADER)
        self.read_until(connection, b"</stream:features>")
        return connection

    def read_until(self, connection: socket.socket, end: bytes) -> bytes:
        """Reads until something has come."""
        data = b""
        while end not in data:
            chunk = connection.recv(65536)
            if not chunk:
                break
            data += chunk
        self.assertIn(end, data)
        return data

    def test_two_people_chat(self) -> None:
        """Two slixmpp clients log in over TLS with a verified certificate and chat."""
        for user in ("alice", "bob"):
            self.ctl("account", "register", f"{user}@localhost", "--password", "secret")
        certificate = next((self.folder / "data").glob("*.crt"))
        chat = subprocess.run(
            [sys.executable, str(CHAT), str(self.port), str(certificate)],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        self.assertEqual(chat.stdout.split("\n")[:2], ["hello bob", "hello alice"], chat.stderr)

    def test_bad_input_ends_one_stream_only(self) -> None:
        """Each kind of bad input gets its stream error; the node goes on."""
        cases = {
            b"<a></b>": b"<not-well-formed",
            b"<x:a/>": b"<not-well-formed",
            b"<!-- c -->": b"<restricted-xml",
            b"<message>&bomb;</message>": b"<restricted-xml",
            b"<message/>": b"<not-authorized",
            b"<auth>" + b"a" * 100_000: b"<policy-violation",
            b"<a>" * 1000: b"<policy-violation",
        }
        for bad, condition in cases.items():
            connection = self.open()
            connection.sendall(bad)
            self.read_until(connection, condition)
        self.open()

    def test_direct_tls(self) -> None:
        """TLS from the first byte, with ALPN (XEP-0368); channel bindings are announced."""
        certificate = next((self.folder / "data").glob("*.crt"))
        context = ssl.create_default_context(cafile=str(certificate))
        context.set_alpn_protocols(["xmpp-client"])
        plain = socket.create_connection(("127.0.0.1", self.tls_port), 10)
        connection = context.wrap_socket(plain, server_hostname="localhost")
        self.addCleanup(connection.close)
        self.assertEqual(connection.selected_alpn_protocol(), "xmpp-client")
        connection.sendall(HEADER)
        features = self.read_until(connection, b"</stream:features>")
        self.assertNotIn(b"<starttls", features)
        self.assertIn(b"SCRAM-SHA-256-PLUS", features)
        self.assertIn(b"tls-exporter", features)

    def test_sigterm_says_goodbye(self) -> None:
        """SIGTERM closes every stream with system-shutdown and ends the process cleanly."""
        connection = self.open()
        os.kill(self.node.pid, signal.SIGTERM)
        self.read_until(connection, b"<system-shutdown")
        # twistd ends itself by the signal that it got, when all is closed
        self.assertEqual(self.node.wait(30), -signal.SIGTERM)

    def test_reload_keeps_connections(self) -> None:
        """A module can be switched off while clients stay; a bad file changes nothing."""
        connection = self.open()
        config = self.folder / "mongoosetw.toml"
        good = config.read_text()
        config.write_text(good.replace("[modules.mod_ping]", ""))
        self.ctl("reload")
        self.assertNotIn("mod_ping", self.ctl("modules"))
        config.write_text(good + "\n[modules.mod_nonsense]\n")
        command = [str(BIN / "mongoosectl"), "--config", str(config), "reload"]
        refused = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
        self.assertEqual(refused.returncode, 1)
        self.assertIn("mod_nonsense", refused.stderr)
        connection.sendall(b"</stream:stream>")
        self.read_until(connection, b"</stream:stream>")


class PostgreSQLNodeTests(NodeTests):
    """The same node on PostgreSQL."""

    def setUp(self) -> None:
        """Points the configuration at the private PostgreSQL."""
        url = os.environ.get("MONGOOSETW_TEST_PG")
        if not url:
            self.skipTest("MONGOOSETW_TEST_PG names no database")
        self.database = POSTGRESQL.format(port=url.rpartition(":")[2].partition("/")[0])
        super().setUp()
