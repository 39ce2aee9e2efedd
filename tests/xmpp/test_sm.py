"""Stream management without I/O: counts, holds, wrap-around, and random lives against a model."""

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from mongoosetw.xmpp import sm
from mongoosetw.xmpp.stanza import Receipt, Stanza

WRAP = 1 << 32
STANZA = Stanza.parse("<message/>")


class Counting(sm.StreamLedger):
    """Counts what was settled."""

    settlements = 0

    def on_settled(self) -> None:
        """Something was settled."""
        self.settlements += 1


class InboundTests(SynchronousTestCase):
    """What the server tells the client that it has handled."""

    def setUp(self) -> None:
        """A client that has sent nothing."""
        self.inbound = Counting()

    def test_handled_at_once(self) -> None:
        """A stanza that nobody holds is handled when it is received."""
        for _ in range(3):
            self.inbound.receive()
        self.inbound.asked()
        self.assertEqual(self.inbound.answer(), b"<a xmlns='urn:xmpp:sm:3' h='3'/>")
        self.assertIsNone(self.inbound.answer())

    def test_held_stanza_stops_the_count(self) -> None:
        """h does not pass a stanza that is held, whatever came behind it."""
        first, second, third = (self.inbound.receive() for _ in range(3))
        first.hold()
        second.hold()
        third.hold()
        third.release()
        self.assertEqual(self.inbound.handled, 0)
        first.release()
        self.assertEqual(self.inbound.handled, 1)
        second.release()
        self.assertEqual(self.inbound.handled, 3)
        self.assertEqual(self.inbound.settlements, 1)

    def test_two_holds(self) -> None:
        """A stanza that two hold is handled when both have released it."""
        receipt = self.inbound.receive()
        receipt.hold()
        receipt.hold()
        receipt.release()
        self.assertFalse(self.inbound.settled)
        receipt.release()
        self.assertTrue(self.inbound.settled)

    def test_answer_waits(self) -> None:
        """A request is answered when all that came before it is handled; later stanzas may wait."""
        receipt = self.inbound.receive()
        receipt.hold()
        self.inbound.asked()
        late = self.inbound.receive()
        late.hold()
        self.assertIsNone(self.inbound.answer())
        receipt.release()
        self.assertEqual(self.inbound.answer(), sm.ack(1))

    def test_requests_collapse(self) -> None:
        """Requests that come while one waits share the next answer and do not put it off."""
        receipts = []
        for _ in range(10):
            receipts.append(self.inbound.receive())
            receipts[-1].hold()
            self.inbound.asked()
        answers = []
        for receipt in receipts:
            receipt.release()
            answers.append(self.inbound.answer())
        self.assertEqual([a for a in answers if a], [sm.ack(1), sm.ack(10)])

    def test_told_is_told(self) -> None:
        """A stanza that was acknowledged can no longer be held: h never goes back."""
        receipt = self.inbound.receive()
        self.assertEqual(self.inbound.tell(), 1)
        receipt.hold()
        self.assertEqual(self.inbound.tell(), 1)
        receipt.release()
        self.assertEqual(self.inbound.settlements, 0)

    def test_late_hold(self) -> None:
        """A stanza that is held only after a later one still stops the count."""
        first, second = self.inbound.receive(), self.inbound.receive()
        second.hold()
        first.hold()
        self.assertEqual(self.inbound.handled, 0)
        first.release()
        self.assertEqual(self.inbound.handled, 1)

    def test_wraps(self) -> None:
        """After 2³²-1 comes zero (§4)."""
        self.inbound.received = WRAP - 1
        self.assertEqual(self.inbound.tell(), WRAP - 1)
        self.inbound.receive()
        self.assertEqual(self.inbound.tell(), 0)


class OutboundTests(SynchronousTestCase):
    """What the server remembers of what it has sent."""

    def setUp(self) -> None:
        """Five stanzas were sent."""
        self.outbound = sm.StreamLedger()
        for number in range(1, 6):
            self.outbound.append(STANZA, b"%d" % number)

    def bytes_of(self, items: "list[sm.Unacknowledged] | sm.StreamLedger") -> bytes:
        """What the items say, joined."""
        return b"".join(data for data, _, _ in items)

    def test_acknowledge(self) -> None:
        """What was acknowledged goes, in order; the rest stays."""
        self.assertEqual(self.bytes_of(self.outbound.acknowledge(2)), b"12")
        self.assertEqual(self.bytes_of(self.outbound.acknowledge(2)), b"")
        self.assertEqual(self.bytes_of(self.outbound), b"345")

    def test_too_high(self) -> None:
        """More than was sent cannot have been handled (§6)."""
        error = self.assertRaises(sm.CountTooHigh, self.outbound.acknowledge, 6).stream_error
        self.assertEqual(error.condition, "undefined-condition")
        self.assertEqual(
            error.app, b"<handled-count-too-high xmlns='urn:xmpp:sm:3' h='6' send-count='5'/>"
        )
        self.assertEqual(self.outbound.queued, 5)

    def test_going_back(self) -> None:
        """An older count than the last one changes nothing."""
        self.outbound.acknowledge(4)
        self.assertTrue(self.outbound.behind(3))
        self.assertFalse(self.outbound.behind(4))
        self.assertEqual(self.outbound.acknowledge(3), [])
        self.assertEqual(self.bytes_of(self.outbound), b"5")

    def test_dropped(self) -> None:
        """What was dropped cannot be sent again, until the client has acknowledged it."""
        self.outbound.drop()
        self.outbound.drop()
        self.assertFalse(self.outbound.complete)
        self.assertEqual(self.outbound.acknowledge(1), [])
        self.assertFalse(self.outbound.complete)
        self.assertEqual(self.bytes_of(self.outbound.acknowledge(3)), b"3")
        self.assertTrue(self.outbound.complete)

    def test_wraps(self) -> None:
        """Counts beyond 2³²-1 are taken modulo 2³² (§4)."""
        outbound = sm.StreamLedger()
        outbound.sent = outbound.acknowledged = WRAP - 2
        for number in range(5):
            outbound.append(STANZA, b"%d" % number)
        self.assertEqual(self.bytes_of(outbound.acknowledge(WRAP - 1)), b"0")
        self.assertEqual(self.bytes_of(outbound.acknowledge(1)), b"12")
        self.assertRaises(sm.CountTooHigh, outbound.acknowledge, 4)
        self.assertTrue(outbound.behind(WRAP - 1))


class SyntaxTests(SynchronousTestCase):
    """Attributes that clients write."""

    def test_counts(self) -> None:
        """Only an unsigned integer of 32 bits is a count."""
        self.assertEqual(sm.count_in({"h": " 7 "}), 7)
        self.assertEqual(sm.count_in({"h": str(WRAP - 1)}), WRAP - 1)
        for bad in ("", "-1", "1.0", "x", "²", str(WRAP), "1" * 5000):
            self.assertIsNone(sm.count_in({"h": bad}), bad)
        self.assertIsNone(sm.count_in({}))

    def test_booleans(self) -> None:
        """xs:boolean has four spellings."""
        read = [sm.boolean(text) for text in ("true", "1", "false", "0")]
        self.assertEqual(read, [True, True, False, False])
        self.assertIsNone(sm.boolean("yes"))


class Line:
    """A server and a client with a line between them that loses what is on it when it breaks.

    Messages are numbers. The model is what was given to each side, in order.
    """

    def __init__(self, first: int) -> None:
        self.inbound = self.outbound = sm.StreamLedger()
        self.inbound.received = self.outbound.sent = self.outbound.acknowledged = first
        self.inbound.tell()
        self.sent_down: list[int] = []  # given to the server for the client
        self.got_down: list[int] = []
        self.down: list[int] = []  # on the line
        self.client_count = first
        self.sent_up: list[int] = []  # given to the client for the server
        self.got_up: list[int] = []
        self.up: list[int] = []
        self.client_queue: list[int] = []
        self.client_acked = first
        self.held: list[Receipt] = []

    def server_sends(self) -> None:
        """The server sends the client its next message."""
        number = len(self.sent_down)
        self.sent_down.append(number)
        self.outbound.append(STANZA, b"%d" % number)
        self.down.append(number)

    def client_sends(self) -> None:
        """The client sends the server its next message."""
        number = len(self.sent_up)
        self.sent_up.append(number)
        self.client_queue.append(number)
        self.up.append(number)

    def client_reads(self) -> None:
        """What is next on the line reaches the client."""
        if self.down:
            self.got_down.append(self.down.pop(0))
            self.client_count += 1

    def server_reads(self, hold: bool) -> None:
        """What is next on the line reaches the server, which may have to work on it."""
        if self.up:
            self.got_up.append(self.up.pop(0))
            receipt = self.inbound.receive()
            if hold:
                receipt.hold()
                self.held.append(receipt)

    def server_commits(self, index: int) -> None:
        """A commit has come through."""
        if self.held:
            self.held.pop(index % len(self.held)).release()

    def client_acknowledges(self) -> None:
        """The client acknowledges what it has."""
        self.outbound.acknowledge(self.client_count % WRAP)

    def server_acknowledges(self) -> None:
        """The server acknowledges what it has handled."""
        self._drop_up(self.inbound.tell())

    def _drop_up(self, h: int) -> None:
        new = (h - self.client_acked) % WRAP
        assert new <= len(self.client_queue)
        del self.client_queue[:new]
        self.client_acked += new

    def breaks_and_resumes(self) -> None:
        """All on the line is lost; both sides tell their counts and send the rest again (§5)."""
        self.down.clear()
        self.up.clear()
        while self.held:
            self.held.pop(0).release()
        self.outbound.acknowledge(self.client_count % WRAP)
        self._drop_up(self.inbound.tell())
        self.down += [int(data) for data, _, _ in self.outbound]
        self.up += self.client_queue


class ModelTests(SynchronousTestCase):
    """Random lives of a stream: nothing is lost, doubled or reordered."""

    names = ("send", "read", "ack", "write", "take", "hold", "commit", "tell", "break")
    actions = st.lists(st.sampled_from(names), max_size=120)

    @settings(max_examples=300)
    @given(actions, st.sampled_from([0, WRAP - 5, WRAP]))
    def test_any_order(self, actions: list[str], first: int) -> None:
        """Whatever is lost and whenever, after resumption both sides have all, once, in order."""
        line = Line(first)
        for index, action in enumerate(actions):
            {
                "send": line.server_sends,
                "read": line.client_reads,
                "ack": line.client_acknowledges,
                "write": line.client_sends,
                "take": lambda: line.server_reads(False),
                "hold": lambda: line.server_reads(True),
                "commit": lambda index=index: line.server_commits(index),  # type: ignore[misc]
                "tell": line.server_acknowledges,
                "break": line.breaks_and_resumes,
            }[action]()
            done = len(line.got_up) - len(line.held)
            self.assertLessEqual(line.inbound.handled - first, len(line.got_up))
            if not line.held:
                self.assertEqual(line.inbound.handled - first, done)
        line.breaks_and_resumes()
        while line.down:
            line.client_reads()
        while line.up:
            line.server_reads(False)
        self.assertEqual(line.got_down, line.sent_down)
        self.assertEqual(line.got_up, line.sent_up)


class ReceiptTests(SynchronousTestCase):
    """The receipt that a stanza carries."""

    def test_copies_share_it(self) -> None:
        """A copy of a stanza holds the same receipt."""
        inbound = sm.StreamLedger()
        stanza = Stanza.parse("<message/>")
        stanza.receipt = inbound.receive()
        copy = stanza.copy(type="chat")
        assert copy.receipt is not None
        copy.receipt.hold()
        self.assertEqual(inbound.handled, 0)
