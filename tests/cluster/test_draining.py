"""A node that is drained, and the socket that nobody listens on any more."""

import socket

from twisted.trial.unittest import SynchronousTestCase

from mongoosetw.cluster.sockets import PortTaken, open_sockets
from mongoosetw.config.load import Config, load_text
from mongoosetw.control_commands import server_control
from mongoosetw.loading import options_of
from mongoosetw.testing.server import ServerTestCase
from tests.integration.live import free_port


class DrainTests(ServerTestCase):
    """Clients of a node that is drained."""

    extra = "[cluster]\ndrain_rate = 20\nnode_name = 'alpha'"

    def setUp(self) -> None:
        """Has a control socket's commands."""
        super().setUp()
        self.control = server_control(self.server, self.clock.callLater)

    def ask(self, command: str) -> object:
        """The answer to a command of mongoosectl."""
        return self.await_(self.control._run(command, {}))

    def test_some_at_a_time(self) -> None:
        """All clients are told to go, no more of them at a time than others can take."""
        clients = [self.connect(f"romeo@localhost/r{n}") for n in range(7)]
        self.assertEqual(self.ask("cluster drain"), {"connections": 5, "done": False})
        self.clock.advance(0.1)
        self.assertEqual(self.ask("cluster drain"), {"connections": 3, "done": False})
        self.clock.advance(0.1)
        self.clock.advance(0.1)
        self.assertEqual(self.ask("cluster drain"), {"connections": 0, "done": False})
        for client in clients:
            self.assertIn(b"<system-shutdown", client.output())
        self.assertTrue(self.server.draining)
        self.clock.advance(0.1)

    def test_leave(self) -> None:
        """A node that leaves ends when the last client has gone."""
        ended: list[bool] = []
        self.server.when_stopped = lambda: ended.append(True)
        self.connect("romeo@localhost/r")
        self.ask("cluster leave")
        self.assertEqual(ended, [])
        self.clock.advance(0.1)
        self.assertEqual(ended, [True])


class ElsewhereTests(ServerTestCase):
    """Clients that are told where to go."""

    extra = "[cluster]\nsee_other_host = 'beta.example.org:5222'"

    def test_see_other_host(self) -> None:
        """They get the address as RFC 6120 §4.9.3.19 has it."""
        client = self.connect("romeo@localhost/r")
        control = server_control(self.server, self.clock.callLater)
        self.await_(control._run("cluster drain", {}))
        self.assertIn(
            b"<stream:error><see-other-host xmlns='urn:ietf:params:xml:ns:xmpp-streams'>"
            b"beta.example.org:5222</see-other-host></stream:error>",
            client.output(),
        )
        self.clock.advance(0.1)


class SocketsTests(SynchronousTestCase):
    """The sockets that a supervisor opens."""

    def config(self, port: int) -> Config:
        """A configuration with one port."""
        text = f"[general]\nhosts = ['x']\n[[listen.c2s]]\nport = {port}\nip_address = '127.0.0.1'"
        return load_text(text, options_of)

    def test_refused_and_accepted(self) -> None:
        """Clients are turned away while there is no worker, and wait while there will be one."""
        port = free_port()
        sockets = open_sockets(self.config(port), 2)
        self.addCleanup(sockets.close)
        self.assertRaises(ConnectionRefusedError, socket.create_connection, ("127.0.0.1", port), 5)
        sockets.accept()
        socket.create_connection(("127.0.0.1", port), 5).close()
        sockets.refuse()
        self.assertRaises(ConnectionRefusedError, socket.create_connection, ("127.0.0.1", port), 5)
        sockets.accept()
        for _ in range(20):
            socket.create_connection(("127.0.0.1", port), 5).close()

    def test_taken(self) -> None:
        """A port that another server shares with its own workers is not shared with it."""
        port = free_port()
        sockets = open_sockets(self.config(port), 2)
        self.addCleanup(sockets.close)
        sockets.accept()
        self.assertRaises(PortTaken, open_sockets, self.config(port), 2)

    def test_taken_meanwhile(self) -> None:
        """Of two servers that start at the same time the later one gives way."""
        port = free_port()
        first, second = (open_sockets(self.config(port), 2) for _ in range(2))
        self.addCleanup(first.close)
        self.addCleanup(second.close)
        first.check()
        first.accept()
        self.assertRaises(PortTaken, second.check)
