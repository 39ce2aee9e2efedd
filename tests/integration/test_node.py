"""A whole node as a process: twistd, real sockets, TLS, real clients, mongoosectl."""

import os
import signal
import socket
import ssl
import subprocess
import sys
from pathlib import Path

from tests.integration.live import free_port
from tests.integration.node import NodeTestCase

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
[modules.mod_stream_management]
[modules.mod_offline]
[modules.mod_register]
"""
POSTGRESQL = """
[outgoing_pools.rdbms.default]
driver = "pgsql"
host = "127.0.0.1"
port = {pg_port}
database = "postgres"
username = "test"
"""


class NodeTests(NodeTestCase):
    """A node with the embedded database."""

    config = CONFIG

    def choose_ports(self) -> dict[str, int]:
        """One port for STARTTLS, one for direct TLS."""
        return {"port": free_port(), "tls_port": free_port()}

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
        plain = socket.create_connection(("127.0.0.1", self.ports["tls_port"]), 10)
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
        self.assertEqual(self.node.wait(30), 0)

    def test_reload_keeps_connections(self) -> None:
        """A module can be switched off while clients stay; a bad file changes nothing."""
        connection = self.open()
        good = self.file.read_text()
        self.file.write_text(good.replace("[modules.mod_ping]", ""))
        self.ctl("reload")
        self.assertNotIn("mod_ping", self.ctl("modules"))
        self.file.write_text(good + "\n[modules.mod_nonsense]\n")
        refused = self.run_ctl("reload")
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
        port = url.rpartition(":")[2].partition("/")[0]
        self.config = CONFIG + POSTGRESQL.replace("{pg_port}", port)
        super().setUp()
