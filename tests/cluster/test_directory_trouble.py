"""What must not happen between directories of sessions, and yet does no lasting harm."""

from unittest.mock import patch

from mongoosetw.cluster.sessions import feed
from mongoosetw.cluster.sessions.directory import CHANNEL, READY
from mongoosetw.cluster.sessions.peer import PATIENCE
from mongoosetw.xmpp.jid import JID
from tests.cluster.directories import JULIET, ROMEO, DirectoryCase


class TroubleTests(DirectoryCase):
    """What must not happen, and yet does no harm."""

    def test_hole(self) -> None:
        """A change that was swallowed is noticed by the next one, and all is asked for anew."""
        self.a.open(ROMEO, 1)
        self.settle()
        receive = self.b.mesh._receivers[CHANNEL]
        self.b.mesh._receivers[CHANNEL] = lambda node, payload: None
        self.a.host.sessions.get(JID.parse(ROMEO)).close()  # type: ignore[union-attr]
        self.a.open(JULIET)
        self.settle()
        self.b.mesh._receivers[CHANNEL] = receive
        self.a.open("nurse@localhost/c")
        self.settle()
        self.assert_agreed(JULIET, "nurse@localhost/c")
        self.assertEqual(self.b.lost, [])

    def test_full_queue(self) -> None:
        """A node for which there was no room is told all when there is, and the link stays."""
        self.a.open(ROMEO, 1)
        self.settle()
        with patch.object(self.all.network, "queue_size", 10):
            self.a.open(JULIET)
            self.a.host.sessions.get(JID.parse(ROMEO)).close()  # type: ignore[union-attr]
            self.all.run_for(3 * PATIENCE)
        self.assertEqual(list(self.b.known()), [ROMEO])
        self.all.run_for(2 * PATIENCE)
        self.assert_agreed(JULIET)
        self.assertEqual(self.b.lost, [])

    def test_garbage_before_silence(self) -> None:
        """All is asked for anew though nothing further arrives, and there is no room at first."""
        self.a.open(ROMEO)
        self.b.mesh._receivers[CHANNEL], receive = lambda *_: None, self.b.mesh._receivers[CHANNEL]
        self.settle()
        self.b.mesh._receivers[CHANNEL] = receive
        with patch.object(self.all.network, "queue_size", 10):
            receive(self.a.mesh.local, b"?")
            self.all.run_for(3 * PATIENCE)
        self.assertEqual(self.b.known(), {})
        self.all.run_for(2 * PATIENCE)
        self.assert_agreed(ROMEO)

    def test_no_room_to_acknowledge(self) -> None:
        """A node that waits for an acknowledgement gets it when there is room."""
        for n in range(10 * feed.PORTION):
            self.a.open(f"user{n}@localhost/r")
        late = self.all.start("c")
        self.all.run_for(0.01)
        with patch.object(late.mesh.ends["a"], "put", lambda channel, payload: False):
            self.all.run_for(3)
        self.assertLess(len(late.known()), 10 * feed.PORTION)
        self.all.run_for(3)
        self.assertEqual(len(late.known()), 10 * feed.PORTION)
        self.assertTrue(self.a.directory._peers["c"].feed.settled)

    def test_garbage(self) -> None:
        """What cannot be read is logged, and all is asked for anew."""
        self.a.open(ROMEO)
        self.settle()
        for payload in (b"", b"\0" * 17, b"\xff" * 40, b"\4" + b"\0" * 7):
            self.a.mesh.send("b", CHANNEL, payload)
            self.all.run_for(2 * PATIENCE)
        self.a.open(JULIET)
        self.all.run_for(2 * PATIENCE)
        self.assert_agreed(ROMEO, JULIET)

    def test_ready_alone(self) -> None:
        """A node that sees nobody is ready at once."""
        self.all.kill("a")
        self.all.kill("b")
        self.settle()
        self.successResultOf(self.all.start("c").directory.ready())

    def test_ready_without_an_answer(self) -> None:
        """A node that tells nothing is not waited for for ever."""
        self.a.directory.stop()
        for n in range(2 * feed.PORTION):
            self.a.open(f"user{n}@localhost/r")
        late = self.all.start("c")
        self.all.run_for(0.01)
        ready = late.directory.ready()
        self.all.run_for(READY - 0.5)
        self.assertNoResult(ready)
        self.all.run_for(1)
        self.successResultOf(ready)

    def test_stay_above(self) -> None:
        """Ids of sessions keep above what they replace; the times of messages do not move."""
        late = self.all.start("c", 7200.0)
        self.all.run_for(1)
        late.open(ROMEO)
        self.settle()
        newer = self.a.open(ROMEO)
        self.assertGreater(newer.sid, late.host.sessions.get(JID.parse(ROMEO)).sid)
