"""What nodes tell one another of their sessions, as bytes."""

from types import SimpleNamespace
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from mongoosetw.cluster.sessions.changes import (
    BadFrame,
    Closed,
    Kind,
    Opened,
    closed,
    opened,
    pack,
    records,
    unpack,
)
from mongoosetw.xmpp.jid import JID

_SIDS = st.integers(0, 2**64 - 1)
_PART = st.text("aZ0.-ü名\U0001f339 <", min_size=1, max_size=30)
_FLAGS = st.frozensets(st.text("abc-:", min_size=1, max_size=8), max_size=3)
_OPENED = st.builds(
    Opened, _SIDS, _PART, _PART, st.text("a@/ü,", min_size=1, max_size=9),
    st.none() | st.integers(-128, 127), _FLAGS, st.booleans(), st.just(0) | _SIDS,
)  # fmt: skip


def as_bytes(record: Opened | Closed) -> bytes:
    """The record of a session that is like this."""
    session: Any = SimpleNamespace(**record._asdict())
    if isinstance(record, Closed):
        return closed(record.sid, replaced=record.replaced)
    session.jid = JID(record.local, record.domain, record.resource)
    session.available = record.priority is not None
    return opened(session)


class ChangesTests(SynchronousTestCase):
    """What was packed is unpacked; what nobody packed is refused."""

    @given(
        st.lists(_OPENED | st.builds(Closed, _SIDS, st.booleans()), max_size=9),
        st.sampled_from(Kind),
        _SIDS,
        _SIDS,
    )
    def test_round_trip(
        self, changes: list[Opened | Closed], kind: Kind, number: int, seen: int
    ) -> None:
        """Any sessions, in one frame."""
        payload = pack(kind, number, seen, b"".join(map(as_bytes, changes)))
        frame = unpack(payload)
        self.assertEqual(frame[:3], (kind, number, seen))
        self.assertEqual(records(frame.body), changes)

    @given(st.binary(max_size=200))
    def test_garbage(self, payload: bytes) -> None:
        """Any bytes are a frame or refused, and so are records."""
        for read in (unpack, records):
            try:
                read(payload)
            except BadFrame as error:
                self.assertTrue(str(error))

    @given(st.lists(_OPENED, min_size=1, max_size=4), st.data())
    def test_damaged(self, changes: list[Opened], data: Any) -> None:
        """Records with other bytes in them, or cut off, are read as others or refused."""
        body = bytearray(b"".join(map(as_bytes, changes)))
        for _ in range(data.draw(st.integers(0, 3))):
            body[data.draw(st.integers(0, len(body) - 1))] = data.draw(st.integers(0, 255))
        try:
            records(bytes(body[: data.draw(st.integers(0, len(body)))]))
        except BadFrame as error:
            self.assertTrue(str(error))

    def test_size(self) -> None:
        """A session takes little more than its address."""
        juliet = Opened(1, "juliet", "localhost", "balcony", 0, frozenset(), True)
        self.assertEqual(len(as_bytes(juliet)), 15 + len("juliet@localhost/balcony"))
