"""Limits on real sockets: slow readers, fast senders, many connections, many attempts."""

import contextlib
import re
from functools import partial
from typing import Any

from mongoosetw.net import transport
from mongoosetw.xmpp.jid import JID
from tests.integration.live import LiveTestCase, reactor, threaded, wait_until
from tests.integration.raw import RawClient


class SlowReaderTests(LiveTestCase):
    """Bob does not read."""

    users = ("alice", "bob", "carol", "dave", "eve", "fred")
    listener_options = LiveTestCase.listener_options + "\nmax_send_queue = 262_144"

    def stream(self, jid: str) -> Any:
        """The stream of a full JID."""
        session: Any = self.server.hosts["localhost"].sessions.get(JID.parse(jid))
        return session.stream

    def is_paused(self, jid: str) -> bool:
        """Whether the server reads nothing of a client."""
        stream = self.in_reactor(self.stream, jid)
        return stream.transport not in self.in_reactor(reactor.getReaders)

    def send_until_paused(self, client: RawClient, jid: str, to: str) -> int:
        """Sends numbered messages until the server reads no more; how many."""
        client.socket.setblocking(False)
        number, unsent = 0, b""
        while unsent or not self.is_paused(jid):
            if not unsent:
                body = f"<body>{'x' * 10_000}</body>"
                unsent = f"<message to='{to}' id='m{number}'>{body}</message>".encode()
                number += 1
            with contextlib.suppress(BlockingIOError):
                unsent = unsent[client.socket.send(unsent) :]
        client.socket.settimeout(20)
        return number

    @threaded
    def test_senders_are_paused(self) -> None:
        """Who sends him much is paused, others are not; when he reads, he gets it all in order."""
        bob, alice, carol = (self.client() for _ in range(3))
        to = bob.login("bob")
        sent = self.send_until_paused(alice, alice.login("alice"), to)
        queued = self.in_reactor(lambda: self.stream(to).transport.queued)
        self.assertLess(queued, 262_144)
        jid = carol.login("carol")
        carol.send(f"<message to='{to}' id='carol'><body>x</body></message>")
        carol.sync()
        self.assertFalse(self.is_paused(jid))
        received = bob.until(f"id='m{sent - 1}'")
        numbers = [int(number) for number in re.findall("id='m([0-9]+)'", received)]
        self.assertEqual(numbers, list(range(sent)))
        alice.sync()

    @threaded
    def test_queue_is_bounded(self) -> None:
        """When many send him much, he is disconnected before his queue grows for ever."""
        self.patch(transport, "CLOSING_TIME", 600.0)
        bob = self.client()
        to = bob.login("bob")
        for name in ("alice", "carol", "dave", "eve", "fred"):
            sender = self.client()
            jid = sender.login(name)
            session = self.server.hosts["localhost"].sessions.get(JID.parse(to))
            if session is None:
                break
            self.send_until_paused_or_gone(sender, jid, to)
        self.assertIn("<resource-constraint", bob.rest())
        sender.sync()

    def send_until_paused_or_gone(self, client: RawClient, jid: str, to: str) -> None:
        """Sends until the server reads no more of it, or Bob is disconnected."""
        message = f"<message to='{to}' type='headline'><body>{'x' * 10_000}</body></message>"
        sessions = self.server.hosts["localhost"].sessions
        while sessions.get(JID.parse(to)) is not None and not self.is_paused(jid):
            client.send(message)

    @threaded
    def test_reads_nothing(self) -> None:
        """When he has read nothing for a minute, he is disconnected and his senders go on."""
        bob, alice = self.client(), self.client()
        to = bob.login("bob")
        self.send_until_paused(alice, alice.login("alice"), to)
        self.advance(61)
        self.advance(61)
        alice.sync()


class ShaperTests(LiveTestCase):
    """A limit of 20 000 bytes a second."""

    listener_options = LiveTestCase.listener_options + "\nshaper = 'slow'"
    extra = "[shaper.slow]\nmax_rate = 20_000"

    @threaded
    def test_fast_sender(self) -> None:
        """A fast sender is slowed to the rate, others are not, and nothing is lost."""
        fast, other = self.client(), self.client()
        jid = fast.login("alice")
        other.login("bob")
        message = f"<message to='{jid}' id='{{}}'><body>{'x' * 1000}</body></message>"
        fast.send("".join(message.format(n) for n in range(300)))
        session: Any = self.server.hosts["localhost"].sessions.get(JID.parse(jid))
        received, seconds = "", 0
        while "id='299'" not in received:
            received += fast.pending()
            if session.stream.transport not in self.in_reactor(reactor.getReaders):
                other.sync()
                self.advance(1)
                seconds += 1
        numbers = [int(number) for number in re.findall("id='([0-9]+)'", received)]
        self.assertEqual(numbers, list(range(300)))
        self.assertGreaterEqual(seconds, 300_000 // 20_000 - 5)


class LoopbackTests(LiveTestCase):
    """Limits by address, applied to this machine."""

    listener_options = LiveTestCase.listener_options + (
        "\nlimits_apply_to_loopback = true\nmax_connections_per_address = 2"
        "\nlogin_attempts = {{free_per_address = 2, delay = 1.0, max_per_stream = 10}}"
    )

    @threaded
    def test_connections(self) -> None:
        """The third connection is refused with a reason; when one ends, another may begin."""
        clients = [self.client(), self.client()]
        for client in clients:
            client.open()
        self.assertIn("<resource-constraint", self.client().rest())
        clients[0].send("</stream:stream>")
        clients[0].rest()
        clients[0].close()
        wait_until(lambda: self.in_reactor(lambda: self.listener.connections.total) == 1)
        self.client().open()

    @threaded
    def test_attempts(self) -> None:
        """From the third failure on, answers to an address take longer, whichever user it tries."""
        client = self.client()
        client.open()
        for user in ("a", "b"):
            self.assertIn("<not-authorized/>", client.plain(user))
        for seconds in (1, 2, 4):
            client.send(
                "<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='PLAIN'>AGMAYw==</auth>"
            )
            wait_until(partial(self.waiting, seconds))
            self.advance(seconds)
            client.until("</failure>")

    def waiting(self, seconds: int) -> bool:
        """Whether something is to happen in just so many seconds."""
        calls = self.in_reactor(self.clock.getDelayedCalls)
        return any(call.getTime() - self.clock.seconds() == seconds for call in calls)


class SparedTests(LiveTestCase):
    """Limits by address spare this machine on the defaults."""

    listener_options = LiveTestCase.listener_options + (
        "\nmax_connections_per_address = 2"
        "\nlogin_attempts = {{free_per_address = 0, max_per_stream = 10}}"
    )

    @threaded
    def test_spared(self) -> None:
        """A load test has all the connections and attempts that it wants."""
        for client in [self.client() for _ in range(20)]:
            client.open()
            self.assertIn("<not-authorized/>", client.plain(f"user{id(client)}"))


class UnauthenticatedTests(LiveTestCase):
    """Clients that do not log in."""

    listener_options = LiveTestCase.listener_options + (
        "\nmax_unauthenticated_bytes = 10_000\nstate_timeout = 30.0"
    )

    @threaded
    def test_bytes(self) -> None:
        """Who sends more than the limit is refused, be it a stanza, keepalives or half a header."""
        for data in ("<auth>" + "a" * 20_000, " " * 20_000, "<?xml " + " " * 20_000):
            client = self.client()
            if not data.startswith("<?"):
                client.open()
            for begin in range(0, len(data), 1000):
                with contextlib.suppress(OSError):
                    client.send(data[begin : begin + 1000])
            self.assertIn("<policy-violation", client.rest())

    @threaded
    def test_time(self) -> None:
        """Who has no session in time is refused, however busy it is; who has one may be silent."""
        silent, opened, slow, proven, bound = (self.client() for _ in range(5))
        opened.open()
        slow.open()
        proven.open()
        proven.plain("alice")
        proven.open()
        bound.login("bob")
        for byte in "<auth xmlns='urn:ietf":
            slow.send(byte)
            self.advance(1)
        slow.send("<")
        wait_until(lambda: self.in_reactor(lambda: len(self.listener.streams)) == 5)
        self.advance(31)
        for client in (silent, opened, slow, proven):
            self.assertIn("<connection-timeout", client.rest())
        bound.sync()
