"""Whether something may wait for a user, as a node knows it without the database."""

from types import SimpleNamespace
from typing import Any

from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from mongoosetw.cluster.mesh import Node
from mongoosetw.cluster.sessions.calls import CallFailed
from mongoosetw.messagelog.waiting import AGAIN, RENEWED, MayWait
from mongoosetw.net.flush import TurnFlusher
from mongoosetw.storage.work import DatabaseUnavailable
from mongoosetw.timers import Timers

B = Node("b", 1, 1)


class MayWaitTests(SynchronousTestCase):
    """One node, and its link to b."""

    def setUp(self) -> None:
        """No link yet."""
        self.clock = Clock()
        self.gone: set[str] = set()
        self.mesh: Any = SimpleNamespace(
            peers={}, awaited=False, watch=self.watch, left=self.gone.__contains__
        )
        self.told: list[list[int]] = []
        self.reading: Deferred[set[int]] = Deferred()
        flusher = TurnFlusher(self.clock)
        timers = Timers(self.clock)
        self.addCleanup(timers.stop)
        self.known = MayWait(
            self.mesh, flusher, self.told.append, lambda node: self.reading, timers
        )

    def watch(self, up: Any, down: Any) -> None:
        """Has the link told."""
        self.up, self.down = up, down

    def link(self, found: "Deferred[set[int]] | None" = None) -> None:
        """The link comes up."""
        self.reading = Deferred() if found is None else found
        self.mesh.peers["b"] = B
        self.up(B)

    def lose(self) -> None:
        """It goes."""
        del self.mesh.peers["b"]
        self.down(B)

    def add(self, *owners: int) -> list[list[int]]:
        """Rows are written; what others are told of it at the end of the turn."""
        for owner in owners:
            self.known.add(owner)
        self.clock.advance(0)
        told, self.told[:] = list(self.told), []
        return told

    def test_told_once(self) -> None:
        """Other nodes are told once of each; again when there is a new link."""
        self.assertEqual(self.add(1, 2, 1), [[1, 2]])
        self.assertEqual(self.add(2, 3), [[3]])
        self.link(succeed(set()))
        self.assertEqual(self.add(2), [[2]])
        self.assertIn(1, self.known)
        self.assertNotIn(4, self.known)

    def test_new_link(self) -> None:
        """Until it is known what the other node has written something may wait for anybody."""
        self.link()
        self.assertIn(4, self.known)
        self.reading.callback({5})
        self.assertNotIn(4, self.known)
        self.assertIn(5, self.known)

    def test_linked_before(self) -> None:
        """So it is with a node that was linked before the log was open."""
        self.mesh.peers["b"] = B
        self.known.start()
        self.assertIn(4, self.known)
        self.reading.callback(set())
        self.assertNotIn(4, self.known)

    def test_unreadable(self) -> None:
        """What could not be read stays unknown, until it can be."""
        self.link(fail(CallFailed("b", "timeout")))
        self.assertIn(4, self.known)
        self.reading = succeed({5})
        self.clock.advance(AGAIN)
        self.assertNotIn(4, self.known)
        self.assertIn(5, self.known)

    def test_open_later(self) -> None:
        """A node that could not answer is asked as soon as it asks itself."""
        self.link(fail(CallFailed("b", "feature-not-implemented")))
        self.reading = succeed({5})
        self.known.answers(B)
        self.assertNotIn(4, self.known)
        self.reading = Deferred()
        self.known.answers(B)
        self.clock.advance(AGAIN)
        self.assertIsNot(self.reading.called, True)
        self.assertEqual(self.reading.callbacks, [])

    def test_unreadable_and_lost(self) -> None:
        """Whom there is no link to any more nobody asks again."""
        self.link(fail(CallFailed("b", "timeout")))
        self.lose()
        self.reading = succeed(set())
        self.clock.advance(AGAIN)
        self.assertIn(4, self.known)

    def test_lost_meanwhile(self) -> None:
        """What was read before the link was lost is not all that the node may write."""
        self.link()
        reading = self.reading
        self.lose()
        reading.callback({5})
        self.assertIn(4, self.known)
        self.link(succeed(set()))
        self.assertNotIn(4, self.known)

    def test_left(self) -> None:
        """A node that has said goodbye writes nothing any more."""
        self.link()
        self.gone.add("b")
        self.lose()
        self.assertNotIn(4, self.known)

    def test_awaited(self) -> None:
        """There may be nodes that were not reached yet."""
        self.mesh.awaited = True
        self.assertIn(4, self.known)

    def hours(self, number: int, *found: int) -> list[list[int]]:
        """Some hours pass; what is in the database meanwhile."""
        for _ in range(number):
            self.reading = succeed(set(found))
            self.clock.advance(RENEWED)
        return self.add()

    def test_forgotten(self) -> None:
        """Who has nothing that waits is forgotten after some hours, if nobody has told of it."""
        self.known.start()
        self.add(1, 2)
        self.known.learn((3, 4))
        self.hours(1)
        self.known.learn((4,))
        self.hours(2, 2)
        self.assertEqual([owner for owner in range(5) if owner in self.known], [2, 4])
        self.hours(1)
        self.assertEqual([owner for owner in range(5) if owner in self.known], [])

    def test_told_again(self) -> None:
        """Others are told again of who they may have forgotten by then."""
        self.known.start()
        self.assertEqual(self.add(1), [[1]])
        self.hours(1, 1)
        self.assertEqual(self.add(1), [[1]])
        self.assertEqual(self.add(1), [])

    def test_told_meanwhile(self) -> None:
        """What is told while the database is being read is not forgotten, nor what was before."""
        self.known.start()
        self.add(1)
        self.clock.advance(RENEWED)
        self.known.learn((2,))
        self.assertIn(1, self.known)
        self.reading.callback(set())
        self.assertEqual([owner in self.known for owner in (1, 2)], [True, True])

    def test_database_away(self) -> None:
        """Nobody is forgotten while the database is away."""
        self.known.start()
        self.add(1)
        for _ in range(4):
            self.reading = fail(DatabaseUnavailable())
            self.clock.advance(RENEWED)
        self.assertIn(1, self.known)
        self.hours(1)
        self.assertNotIn(1, self.known)
