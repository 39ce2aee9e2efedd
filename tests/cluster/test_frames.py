"""Batches of payloads, and the queue they wait in."""

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from mongoosetw.cluster.frames import BATCH, JOINED, OVERHEAD, BadBatch, Inbox, Outbox

LIMIT = 16 * 1024 * 1024
PB_LIMIT = 640 * 1024
payloads = st.lists(
    st.tuples(st.sampled_from(["s", "registry", "x" * 32]), st.binary(max_size=50)), max_size=30
)


def drain(outbox: Outbox) -> list[bytes]:
    """All batches."""
    batches = []
    while outbox.waiting:
        batches.append(outbox.take())
    return batches


class FrameTests(SynchronousTestCase):
    """What is packed is what is unpacked."""

    def unpacked(self, batches: list[bytes]) -> list[tuple[str, bytes]]:
        """The payloads of batches that no PB limit forbids."""
        inbox = Inbox(LIMIT)
        for batch in batches:
            self.assertLess(len(batch), PB_LIMIT)
        return [item for batch in batches for item in inbox.unpack(batch)]

    @given(payloads)
    def test_round_trip(self, sent: list[tuple[str, bytes]]) -> None:
        """Payloads come out in order, each with its channel."""
        outbox = Outbox(LIMIT)
        for channel, payload in sent:
            self.assertTrue(outbox.put(channel, payload))
        self.assertEqual(self.unpacked(drain(outbox)), sent)

    def test_many_batches(self) -> None:
        """What is too much for one batch is several, small and great payloads mixed."""
        outbox = Outbox(LIMIT)
        sizes = [0, 1, BATCH, BATCH + 1, 5, 3 * BATCH, 200_000, 200_000, BATCH - OVERHEAD, 7]
        sent = [("s" if n % 2 else "t", bytes([n]) * size) for n, size in enumerate(sizes)]
        for channel, payload in sent:
            self.assertTrue(outbox.put(channel, payload))
        batches = drain(outbox)
        self.assertGreater(len(batches), 4)
        self.assertEqual(self.unpacked(batches), sent)

    def test_worst_headers(self) -> None:
        """A batch of empty payloads on changing channels stays below PB's limit."""
        outbox = Outbox(LIMIT)
        for n in range(20_000):
            outbox.put(f"{n % 2}" * 32, b"")
        self.assertEqual(len(self.unpacked(drain(outbox))), 20_000)

    def test_bound(self) -> None:
        """A full queue takes nothing; what has arrived makes room, what was only sent does not."""
        outbox = Outbox(1000 + 2 * OVERHEAD)
        self.assertTrue(outbox.put("s", b"x" * 600))
        self.assertFalse(outbox.put("s", b"x" * 401))
        self.assertTrue(outbox.put("s", b"x" * 400))
        outbox.take()
        self.assertFalse(outbox.put("s", b""))
        outbox.settle(1)
        self.assertEqual((outbox.held, outbox.on_its_way), (0, 0))
        self.assertTrue(outbox.put("s", b"x" * 1000))

    def test_added(self) -> None:
        """More is added to the last payload only, as long as it is short, and there is room."""
        outbox = Outbox(JOINED + 100 + 3 * OVERHEAD)
        self.assertFalse(outbox.extend("s", b"x"))
        outbox.put("s", b"a")
        outbox.put("s", b"b")
        self.assertTrue(outbox.extend("s", b"c"))
        self.assertEqual(outbox.held, 3 + 2 * OVERHEAD)
        outbox.put("t", b"")
        self.assertFalse(outbox.extend("s", b"d"))
        self.assertFalse(outbox.extend("t", b"x" * (JOINED + 98)))
        self.assertTrue(outbox.extend("t", b"x" * JOINED))
        self.assertFalse(outbox.extend("t", b"x"))
        batches = drain(outbox)
        self.assertEqual(
            self.unpacked(batches), [("s", b"a"), ("s", b"bc"), ("t", b"x" * JOINED)]
        )
        outbox.settle(len(batches))
        self.assertEqual(outbox.held, 0)

    def test_pieces_are_not_added_to(self) -> None:
        """A payload that travels in pieces stays as it is."""
        outbox = Outbox(LIMIT)
        outbox.put("s", b"x" * (BATCH + 1))
        self.assertFalse(outbox.extend("s", b"y"))

    def test_bound_of_many_pieces(self) -> None:
        """A payload in pieces is counted once, and settled completely."""
        outbox = Outbox(LIMIT)
        outbox.put("s", b"x" * (4 * BATCH + 5))
        outbox.settle(len(drain(outbox)))
        self.assertEqual(outbox.held, 0)

    @given(st.binary(max_size=100))
    def test_nonsense(self, data: bytes) -> None:
        """What no node has packed is told apart, and nothing else happens."""
        try:
            list(Inbox(LIMIT).unpack(data))
        except BadBatch:
            pass

    def test_endless_pieces(self) -> None:
        """A payload in pieces cannot grow beyond the limit."""
        outbox = Outbox(LIMIT)
        outbox.put("s", b"x" * (3 * BATCH))
        inbox = Inbox(2 * BATCH)
        with self.assertRaises(BadBatch):
            for batch in drain(outbox):
                list(inbox.unpack(batch))
