"""What nodes send one another for their sessions, as bytes and back.

Measured by :func:`benchmark` (``python -m tests.cluster.test_wire``): a chat message of 350 bytes.
"""

from time import process_time
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from mongoosetw.cluster.sessions.wire import (
    BadEnvelope,
    Envelope,
    Op,
    Words,
    pack_stanza,
    pack_words,
    unpack,
)
from mongoosetw.messagelog import Entry
from mongoosetw.xmpp.jid import JID
from mongoosetw.xmpp.stanza import Stanza

JULIET = JID.parse("juliet@localhost/balcony")
ADDRESSES = tuple(
    map(
        JID.parse,
        ("localhost", "romeo@localhost", "romeo@example.org/a/b", "jürgen@bücher.example/Büro 1"),
    )
)
text = st.text(st.characters(exclude_characters="\0", exclude_categories=("Cs",)), max_size=20)
names = st.none() | st.lists(st.tuples(text, text), max_size=4).map(tuple)


@st.composite
def stanzas(draw: Any) -> Stanza:
    """Any stanza, with or without an entry in the log."""
    address = st.sampled_from((None, JULIET, *ADDRESSES))
    stanza = Stanza(
        draw(st.sampled_from(("message", "presence", "iq"))),
        draw(address), draw(address), draw(text), draw(text), draw(st.none() | text),
        draw(names), draw(text).encode(),
    )  # fmt: skip
    if draw(st.booleans()):
        entry = stanza.log = Entry(draw(st.integers(0, 2**63 - 1)), shown=draw(st.booleans()))
        entry.holder = draw(st.integers(0, 2**63 - 1))
        entry.origin = draw(st.none() | st.integers(0, 255))
    return stanza


def parts(stanza: Stanza) -> tuple[object, ...]:
    """All that is to arrive of a stanza, but its place in the log."""
    return (
        stanza.kind, stanza.to, stanza.from_, stanza.type, stanza.id, stanza.lang,
        stanza.known_children, stanza.inner,
    )  # fmt: skip


class WireTests(SynchronousTestCase):
    """There and back."""

    @given(stanzas(), st.sampled_from((Op.DELIVER, Op.SEND, Op.ANSWER)), st.booleans())
    def test_stanza(self, stanza: Stanza, op: Op, shared: bool) -> None:
        """A stanza arrives as it was sent, with its place in the log and who wrote it."""
        packed = pack_stanza(op, 3, 2**62, JULIET, stanza, 7, shared=shared)
        got = unpack(packed)
        assert isinstance(got, Envelope)
        self.assertEqual(
            (got.op, got.hops, got.sid, got.target, got.shared), (op, 3, 2**62, JULIET, shared)
        )
        self.assertEqual(parts(got.stanza), parts(stanza))
        self.assertEqual(got.stanza.to_bytes(), stanza.to_bytes())
        sent, arrived = stanza.log, got.stanza.log
        self.assertEqual(arrived is None, sent is None)
        if sent is not None:
            writer = 7 if sent.origin is None else sent.origin
            self.assertEqual(
                (arrived.id, arrived.shown, arrived.holder, arrived.origin),
                (sent.id, sent.shown, sent.holder, writer),
            )

    @given(st.lists(text, min_size=1, max_size=5), st.integers(0, 2**63 - 1))
    def test_words(self, words: list[str], number: int) -> None:
        """Words arrive as they were sent."""
        got = unpack(pack_words(Op.CLOSE, number, *words, hops=2))
        assert isinstance(got, Words)
        self.assertEqual(
            (got.op, got.hops, got.number, list(got.words)), (Op.CLOSE, 2, number, words)
        )

    @given(stanzas(), st.lists(text, min_size=1, max_size=3))
    def test_truncated(self, stanza: Stanza, words: list[str]) -> None:
        """Whatever is missing at the end is noticed, and so is what is too much."""
        for whole in (
            pack_stanza(Op.DELIVER, 0, 1, JULIET, stanza, 0),
            pack_words(Op.SHOW, 1, *words),
        ):
            for end in range(len(whole)):
                self.assertRaises(BadEnvelope, unpack, whole[:end])
            self.assertRaises(BadEnvelope, unpack, whole + b"x")

    @given(st.binary(max_size=80))
    def test_garbage(self, garbage: bytes) -> None:
        """What no node has sent is refused by one exception, or is an envelope by chance."""
        try:
            unpack(garbage)
        except BadEnvelope:
            pass

    @given(stanzas(), st.integers(0), st.integers(0, 255))
    def test_damaged(self, stanza: Stanza, position: int, byte: int) -> None:
        """So is an envelope of which a byte was changed."""
        packed = bytearray(pack_stanza(Op.DELIVER, 0, 1, JULIET, stanza, 0))
        packed[position % len(packed)] = byte
        self.test_garbage.hypothesis.inner_test(self, bytes(packed))  # type: ignore[attr-defined]


def benchmark(rounds: int = 100_000) -> float:
    """Microseconds of processor time that both ends need for a chat message of 350 bytes."""
    head = b"<message from='romeo@localhost/orchard' to='juliet@localhost/balcony' type='chat' "
    state = b"<active xmlns='http://jabber.org/protocol/chatstates'/></message>"
    head += b"id='0123456789abcdef'><body>"
    body = b"x" * (350 - len(head) - len(state) - len(b"</body>"))
    whole = head + body + b"</body>" + state
    stanza = Stanza.parse(whole)
    started = process_time()
    for _ in range(rounds):
        unpack(pack_stanza(Op.DELIVER, 0, 1 << 40, JULIET, stanza, 0))
    return (process_time() - started) / rounds * 1e6


if __name__ == "__main__":
    print(f"{benchmark():.2f} µs")
