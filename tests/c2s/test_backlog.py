"""Clients that read slowly, and clients that send fast."""

from mongoosetw.c2s.backlog import FREE
from mongoosetw.testing.client import Client
from mongoosetw.testing.server import ServerTestCase


class BacklogTests(ServerTestCase):
    """Juliet does not read."""

    listener_options = "max_send_queue = 1_000_000\nsend_timeout = 30.0"

    def setUp(self) -> None:
        """Juliet's queue is long."""
        super().setUp()
        self.juliet = self.connect("juliet@localhost/a")
        self.romeo = self.connect("romeo@localhost/a")
        self.juliet.transport.producer.pauseProducing()

    def send(self, client: Client, size: int) -> None:
        """Sends Juliet so many bytes and a little more."""
        client.send(f"<message to='juliet@localhost/a'><body>{'x' * size}</body></message>")

    def test_little_is_let_through(self) -> None:
        """Who sends her little is not paused."""
        self.send(self.romeo, 100)
        self.assertFalse(self.romeo.transport.paused)

    def test_much_is_paused(self) -> None:
        """Who sends her much is paused until she has read; nobody else is."""
        benvolio = self.connect("benvolio@localhost/a")
        self.send(self.romeo, FREE)
        self.send(benvolio, FREE // 2)
        self.assertTrue(self.romeo.transport.paused)
        self.assertFalse(benvolio.transport.paused)
        self.send(benvolio, FREE // 2)
        self.assertTrue(benvolio.transport.paused)
        self.juliet.transport.producer.resumeProducing()
        self.assertFalse(self.romeo.transport.paused)
        self.assertFalse(benvolio.transport.paused)

    def test_sends_herself_much(self) -> None:
        """A client that does not read what it sends itself is paused, too."""
        self.send(self.juliet, FREE)
        self.assertTrue(self.juliet.transport.paused)

    def test_too_much(self) -> None:
        """Beyond ``max_send_queue`` she is disconnected, and her senders go on."""
        self.send(self.romeo, FREE)
        self.juliet.transport.queued = 1_000_001
        self.send(self.romeo, 1)
        self.assertTrue(self.juliet.transport.closed)
        self.assertIn(b"<resource-constraint", self.juliet.output())
        self.assertFalse(self.romeo.transport.paused)

    def test_lost(self) -> None:
        """When she is gone her senders go on."""
        self.send(self.romeo, FREE)
        self.juliet.lose()
        self.assertFalse(self.romeo.transport.paused)

    def test_paused_sender_leaves(self) -> None:
        """A sender that is gone meanwhile is not started again."""
        self.send(self.romeo, FREE)
        self.romeo.lose()
        self.juliet.transport.producer.resumeProducing()
        self.assertTrue(self.romeo.transport.paused)

    def test_reads_nothing(self) -> None:
        """When she has read nothing for ``send_timeout`` she is disconnected, before that not."""
        self.clock.advance(29)
        self.juliet.transport.moved = True
        self.clock.advance(29)
        self.assertFalse(self.juliet.transport.closed)
        self.clock.advance(31)
        self.assertIn(b"<connection-timeout", self.juliet.output())

    def test_reads_everything(self) -> None:
        """When she has read everything there is no time limit."""
        self.juliet.transport.producer.resumeProducing()
        self.clock.advance(100)
        self.assertFalse(self.juliet.transport.closed)


class ShaperTests(ServerTestCase):
    """A shaper of 1000 bytes a second."""

    listener_options = "shaper = 'slow'"
    extra = "[shaper.slow]\nmax_rate = 1000"

    def test_fast_sender(self) -> None:
        """Who sends more than the rate is paused as long as that takes, and nothing is lost."""
        romeo = self.connect("romeo@localhost/a")
        self.clock.advance(1)
        romeo.send(f"<message to='{romeo.jid}'><body>{'x' * 3000}</body></message>")
        self.assertTrue(romeo.transport.paused)
        romeo.receives("<message/>")
        self.clock.advance(1.5)
        self.assertTrue(romeo.transport.paused)
        self.clock.advance(1)
        self.assertFalse(romeo.transport.paused)

    def test_lost(self) -> None:
        """A client that is gone while it is paused leaves nothing behind."""
        romeo = self.connect("romeo@localhost/a")
        romeo.send("<message/>" + " " * 5000)
        romeo.lose()
