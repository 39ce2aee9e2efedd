"""How connections end: last words arrive, nobody holds the server up."""

import contextlib
import socket
import struct
from typing import Any

from twisted.internet.defer import Deferred

from mongoosetw.net import transport
from mongoosetw.xmpp.jid import JID
from tests.integration.live import LiveTestCase, reactor, threaded, wait_until
from tests.integration.raw import RawClient, header


class ClosingTests(LiveTestCase):
    """A client, the server, or the network ends a connection."""

    @threaded
    def test_last_words_arrive(self) -> None:
        """A client that is refused in the middle of what it sends still reads why."""
        client = self.client()
        client.login("alice")
        client.send("<message to='bob@localhost'><body>" + "a" * 20_000_000)
        self.assertIn("<policy-violation", client.rest())

    @threaded
    def test_closing_handshake(self) -> None:
        """A client that closes its stream gets the server's closing tag, then the end."""
        client = self.client()
        client.login("alice")
        client.send("</stream:stream>")
        self.assertEqual(client.rest(), "</stream:stream>")

    @threaded
    def test_half_closed(self) -> None:
        """What a client asked before it shut its sending side is still answered."""
        client = self.client()
        client.login("alice")
        client.send("<iq type='get' id='last' to='localhost'><a xmlns='b'/></iq></stream:stream>")
        client.socket.shutdown(socket.SHUT_WR)
        answer = client.rest()
        self.assertIn("id='last'", answer)
        self.assertTrue(answer.endswith("</stream:stream>"))

    @threaded
    def test_peer_that_stays(self) -> None:
        """A client that neither reads what is queued for it nor closes is cut off after a while."""
        self.patch(transport, "CLOSING_TIME", 0.01)
        sender, client = self.client(), self.client()
        sender.login("alice")
        jid = JID.parse(client.login("bob"))
        sender.socket.setblocking(False)
        stanza = f"<message to='{jid}'><body>{'x' * 100_000}</body></message>".encode()
        while not self.in_reactor(lambda: self.session(jid).stream.transport.queued):
            self.send_some(sender, stanza)
        self.in_reactor(lambda: self.session(jid).close("conflict"))
        sender.close()
        self.wait_until_gone()

    def session(self, jid: JID) -> Any:
        """The session of a full JID."""
        return self.server.hosts["localhost"].sessions.get(jid)

    def send_some(self, client: RawClient, data: bytes) -> None:
        """Sends what the kernel takes at once."""
        with contextlib.suppress(BlockingIOError):
            client.socket.sendall(data)

    @threaded
    def test_reset(self) -> None:
        """A connection that is reset ends its session."""
        client = self.client()
        client.login("alice")
        client.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        client.close()
        self.wait_until_gone()
        self.assertEqual(self.in_reactor(self.server.hosts["localhost"].sessions.count), 0)

    @threaded
    def test_shutdown(self) -> None:
        """At shutdown every client is told, also one in the middle of a stanza."""
        clients = [self.client() for _ in range(3)]
        clients[0].login("alice")
        clients[1].open()
        clients[2].open()
        clients[2].send("<auth")
        self.in_reactor(
            lambda: [
                Deferred.fromCoroutine(listener.close_streams(may_return=False))
                for listener in self.server.listeners
            ]
        )
        for client in clients:
            self.assertIn("<system-shutdown", client.rest())

    def wait_until_gone(self) -> None:
        """Waits until the server has forgotten all connections."""
        self.in_reactor(self.listener.emptied)


class HandshakeTests(LiveTestCase):
    """What is no TLS handshake, or none that gets on."""

    listener_options = "tls.mode = 'tls'\nmax_connections = 2"

    def stalled(self) -> RawClient:
        """A client that has begun a handshake and says no more."""
        client = self.client()
        client.send(b"\x16\x03\x01\x02\x00\x01")
        return client

    def end_of(self, client: RawClient) -> bytes:
        """What comes until the server closes or resets the connection."""
        try:
            return client.rest().encode("latin-1")
        except (ConnectionResetError, UnicodeDecodeError):
            return b""

    @threaded
    def test_slow_handshake(self) -> None:
        """A client that does not finish its handshake is cut off in time, and costs nothing."""
        clients = [self.client(), self.stalled()]
        self.wait_for_streams(2)
        self.advance(61)
        self.assertEqual(self.in_reactor(reactor.getWriters), [])
        for client in clients:
            self.assertEqual(self.end_of(client), b"")

    @threaded
    def test_garbage(self) -> None:
        """Garbage instead of a handshake ends that connection; others get on."""
        good = self.client()
        good.start_tls()
        for garbage in (
            b"\x00" * 100,
            b"GET / HTTP/1.1\r\n\r\n",
            header().encode(),
            b"\xff" * 20_000,
        ):
            bad = self.client()
            bad.send(garbage)
            self.assertNotIn(b"stream", self.end_of(bad))
        self.assertIn("SCRAM-SHA-1", good.open())

    @threaded
    def test_too_many(self) -> None:
        """A connection beyond the limit is closed without a word that TLS could not carry."""
        clients = [self.client(), self.client()]
        for client in clients:
            client.start_tls()
        self.assertEqual(self.end_of(self.client()), b"")

    def wait_for_streams(self, number: int) -> None:
        """Waits until the server has accepted so many connections."""
        wait_until(lambda: self.in_reactor(lambda: len(self.listener.streams)) == number)
