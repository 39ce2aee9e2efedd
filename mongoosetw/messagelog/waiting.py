"""For whom messages may wait, known without a look at the database."""

from collections.abc import Callable, Iterable
from typing import Final

from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from mongoosetw.cluster.mesh import Mesh, Node
from mongoosetw.cluster.sessions.calls import CallFailed
from mongoosetw.net.flush import TurnFlusher
from mongoosetw.storage.work import DatabaseUnavailable
from mongoosetw.timers import Timers

AGAIN: Final = 0.25
"""Seconds until a node is asked again that could not say what it has written; each time twice as
long."""
_LONGEST: Final = 8.0
RENEWED: Final = 3600.0
"""Seconds after which it is looked for whom nothing waits any more."""


class MayWait:
    """The owners of all rows in ``message_pending``, and some who have none any more.

    Whoever writes a row for an owner tells the other nodes, unless they were told within the hour.
    What was written while there was no link is read from the database when there is one. Every
    hour those are forgotten of whom nobody has told for two, and who have no row.

    :param tell: sends owners to all nodes.
    :param read: reads all that is written, and that a node which has just been linked may be
        writing.
    :param timers: for what could not be read.
    """

    def __init__(
        self,
        mesh: Mesh,
        flusher: TurnFlusher,
        tell: Callable[[list[int]], None],
        read: Callable[[Node | None], "Deferred[set[int]]"],
        timers: Timers,
    ) -> None:
        self._mesh = mesh
        self._flusher = flusher
        self._tell = tell
        self._read = read
        self._timers = timers
        self._owners: set[int] = set()
        self._fresh: set[int] = set()  # since the last look, and before that since the one before
        self._recent: set[int] = set()
        self._told: set[int] = set()  # to all nodes that are linked
        self._new: list[int] = []
        self._unknown: set[str] = set()
        self._failing: set[str] = set()
        mesh.watch(self._up, self._down)

    def start(self) -> None:
        """The log is open, maybe on a node that is linked since long."""
        for node in self._mesh.peers.values():
            self._up(node)
        self._timers.later(RENEWED, self._renew)

    def add(self, owner: int) -> None:
        """A row is written for an owner."""
        if owner not in self._told:
            self._fresh.add(owner)
            self._told.add(owner)
            if not self._new:
                self._flusher.add(self)
            self._new.append(owner)

    def flush(self) -> None:
        """The turn ends."""
        new, self._new = self._new, []
        self._tell(new)

    def learn(self, owners: Iterable[int]) -> None:
        """Rows were written by another node, or an earlier process."""
        self._fresh.update(owners)

    def __contains__(self, owner: int) -> bool:
        """Whether something may wait; always, while another node may know better."""
        known = owner in self._owners or owner in self._fresh
        return known or bool(self._unknown) or self._mesh.awaited

    def _renew(self) -> None:
        self._timers.later(RENEWED, self._renew)
        fresh, self._fresh = self._fresh, set()
        recent, self._recent = self._recent | fresh, fresh
        self._owners |= fresh
        self._told.clear()
        self._read(None).addCallbacks(self._forget, _unreadable, (recent,))

    def _forget(self, found: set[int], recent: set[int]) -> None:
        self._owners = found | recent

    def _up(self, node: Node) -> None:
        self._told.clear()
        self._unknown.add(node.name)
        self._ask(node)

    def answers(self, node: Node) -> None:
        """A node's log is open: what could not be asked before is asked at once."""
        if node.name in self._failing:
            self._ask(node)

    def _ask(self, node: Node, again: float = AGAIN) -> None:
        self._failing.discard(node.name)
        if self._mesh.peers.get(node.name) == node:
            asked = self._read(node)
            asked.addCallbacks(self._got, self._failed, (node,), errbackArgs=(node, again))

    def _got(self, owners: set[int], node: Node) -> None:
        self.learn(owners)
        if self._mesh.peers.get(node.name) == node:
            self._unknown.discard(node.name)

    def _again(self, node: Node, again: float) -> None:
        if node.name in self._failing:
            self._ask(node, again)

    def _failed(self, failure: Failure, node: Node, again: float) -> None:
        """Until it is known the database is asked for each user.

        A node that has just started may not be able to answer yet.
        """
        failure.trap(CallFailed, DatabaseUnavailable)
        self._failing.add(node.name)
        self._timers.later(again, self._again, node, min(2 * again, _LONGEST))

    def _down(self, node: Node) -> None:
        if self._mesh.left(node.name):
            self._unknown.discard(node.name)
        else:
            self._unknown.add(node.name)  # it may live, and write


def _unreadable(failure: Failure) -> None:
    """All are known still."""
    failure.trap(DatabaseUnavailable)
