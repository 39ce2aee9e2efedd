"""What two ends of a link say to each other, byte by byte."""

from twisted.internet.testing import StringTransport
from twisted.trial.unittest import SynchronousTestCase

from mongoosetw.cluster.pb import _Broker, _Ready


class Taken:
    """Notes what the other end says."""

    def __init__(self) -> None:
        self.heard: list[object] = []

    def take(self, batch: bytes) -> None:
        """The payloads of a turn."""
        self.heard.append(batch)

    def taken(self, batches: int) -> None:
        """So many have arrived."""
        self.heard.append(batches)

    def beat(self) -> float:
        """Nobody asks."""
        return 0.0

    def leave(self, reason: str) -> None:
        """Nobody leaves."""


class BrokerTests(SynchronousTestCase):
    """Two brokers that have agreed on a dialect."""

    def setUp(self) -> None:
        """They greet each other."""
        self.heard = Taken()
        self.sender, self.receiver = (
            _Broker(Taken(), calling=True),
            _Broker(self.heard, calling=False),
        )
        for broker in (self.sender, self.receiver):
            broker.factory = _Ready(lambda: None)
            broker.makeConnection(StringTransport())
        for _ in range(2):
            self.receiver.dataReceived(self.said(self.sender))
            self.sender.dataReceived(self.said(self.receiver))

    def said(self, broker: _Broker) -> bytes:
        """What a broker has written since the last time."""
        said: bytes = broker.transport.value()
        broker.transport.clear()
        return said

    def talk(self) -> bytes:
        """Batches of all sizes with something else between them."""
        self.sender.send_batch(b"one")
        self.sender.send_batch(b"")
        self.sender.send_taken(70)
        self.sender.send_batch(b"x" * 300)
        self.sender.sendEncoded((b"batch", b"as PB has it"))
        self.sender.send_batch(b"last")
        return self.said(self.sender)

    def test_in_order(self) -> None:
        """All arrives in order, however it is cut."""
        said = self.talk()
        expected = [b"one", b"", 70, b"x" * 300, b"as PB has it", b"last"]
        for size in (1, 2, 3, 5, 7, 12, 13, 14, 100, len(said)):
            self.heard.heard.clear()
            for start in range(0, len(said), size):
                self.receiver.dataReceived(said[start : start + size])
            self.assertEqual(self.heard.heard, expected)

    def test_longest(self) -> None:
        """A batch may be as long as PB takes it."""
        batch = bytes(range(256)) * 2500
        self.sender.send_batch(batch)
        self.receiver.dataReceived(self.said(self.sender))
        self.assertEqual(self.heard.heard, [batch])
