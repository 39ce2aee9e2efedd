"""Sessions as bytes."""

import contextlib
import struct

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from modules.mod_stream_management import package
from modules.mod_stream_management.package import BadPackage, Item, Package, Refused
from mongoosetw.xmpp.errors import StreamError
from mongoosetw.xmpp.jid import JID
from mongoosetw.xmpp.sm import Counts

_texts = st.text(st.characters(exclude_categories=("Cs", "Cc")), max_size=20)
_counts = st.integers(0, 2**63)
_seconds = st.floats(0, 1e9)
_items = st.builds(
    Item,
    data=st.binary(max_size=50),
    at=st.floats(0, 2e9),
    log=_counts,
    shown=st.booleans(),
)
_packages = st.builds(
    Package,
    jid=st.sampled_from([JID.parse("romeo@example.net/ö r"), JID.parse("a@b/c")]),
    sid=_counts,
    resume_id=_texts,
    counts=st.builds(Counts, _counts, _counts, _counts),
    timeout=st.integers(0, 2**32 - 1),
    left=_seconds,
    age=_seconds,
    silent=_seconds,
    presence=st.just(b"<presence/>"),
    priority=st.integers(-128, 127),
    flags=st.frozensets(_texts.filter(bool), max_size=3),
    secure=st.booleans(),
    inactive=st.booleans(),
    address=_texts,
    queue=st.lists(_items, max_size=4).map(tuple),
    state=st.dictionaries(_texts, st.lists(_texts, max_size=2), max_size=2),
)


class PackageTests(SynchronousTestCase):
    """What is packed is what arrives."""

    @given(_packages)
    def test_round_trip(self, sent: Package) -> None:
        """Nothing is lost on the way."""
        self.assertEqual(package.unpack(sent.pack()), sent)
        self.assertEqual(package.answer(package.given(sent.pack())), sent)

    def test_unavailable(self) -> None:
        """A session without presence has no priority."""
        sent = Package(JID.parse("a@b/c"), 1, "x", Counts(1, 2, 3), 600, 10.0)
        got = package.unpack(sent.pack())
        self.assertEqual((got.presence, got.priority, got.queue), (b"", None, ()))

    @given(_packages, st.integers(0, 400))
    def test_cut(self, sent: Package, length: int) -> None:
        """What ends too early is no session, and so said, unless it ends with a stanza."""
        packed = sent.pack()
        if length < len(packed):
            try:
                got = package.unpack(packed[:length])
            except BadPackage:
                return
            self.assertEqual(got.queue, sent.queue[: len(got.queue)])

    @given(st.binary(max_size=200))
    def test_garbage(self, data: bytes) -> None:
        """Whatever arrives is a session or none, nothing else happens."""
        with contextlib.suppress(BadPackage):
            package.unpack(data)

    def test_another_version(self) -> None:
        """A package of a newer program is refused."""
        sent = Package(JID.parse("a@b/c"), 1, "x", Counts(1, 2, 3), 600, 10.0).pack()
        self.assertRaises(BadPackage, package.unpack, b"\7" + sent[1:])


class AnswerTests(SynchronousTestCase):
    """Questions, and answers without a session."""

    @given(_texts, st.integers(0, 2**32 - 1))
    def test_question(self, previous: str, h: int) -> None:
        """A question says whose session it is, its id and the client's count."""
        user = JID.parse("romeo@example.net")
        asked = package.unpack_question(package.pack_question(user, previous, str(h)))
        self.assertEqual(asked, (user, {"previd": previous, "h": str(h)}))

    def test_refused(self) -> None:
        """A refusal says why, what was handled, and where the session has gone."""
        for sent in (Refused("item-not-found"), Refused("item-not-found", 7, "alpha.1")):
            got = self.assertRaises(Refused, package.answer, package.refusal(sent))
            self.assertEqual((got.condition, got.h, got.node), (sent.condition, sent.h, sent.node))

    def test_stream_error(self) -> None:
        """An error of the client's stream arrives as it is."""
        sent = StreamError("undefined-condition", "so", app=b"<handled-count-too-high h='1'/>")
        got = self.assertRaises(StreamError, package.answer, package.refusal(sent))
        self.assertEqual((got.condition, got.text, got.app), (sent.condition, sent.text, sent.app))

    def test_no_answer(self) -> None:
        """Anything else is none."""
        for data in (b"", b"\1", b"\0", struct.pack("!B", 1)):
            self.assertRaises(BadPackage, package.answer, data)
