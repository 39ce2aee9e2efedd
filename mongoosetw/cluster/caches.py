"""Caches that all nodes have of the same data: who changes the data has the others forget.

A change is told when it is committed, on the links that stanzas take, too: what is sent to a node
behind it finds the cache empty. Who had no link at that time is told when there is one again.
"""

from collections import deque
from collections.abc import Callable
from typing import Final, TypeAlias

from twisted.internet.interfaces import IReactorTime

from mongoosetw.cluster.alone import Alone
from mongoosetw.cluster.mesh import Mesh, Node

CHANNEL: Final = "cache"
KEPT: Final = 10_000
"""Changes that are remembered for nodes without a link."""
DOUBT: Final = 60.0
"""Seconds before the loss of a link in which what was sent may not have arrived."""
_EVERYTHING: Final = b""
_LATE: Final = b"\0late"
"""What follows was changed while there was no link, up to ``_NOW``."""
_NOW: Final = b"\0now"

Forget: TypeAlias = Callable[[str], object]
ForgetAll: TypeAlias = Callable[[], object]


class SharedCache:
    """One cache, as the one who keeps it sees it."""

    __slots__ = ("_caches", "_name")

    def __init__(self, caches: "Caches", name: str) -> None:
        self._caches = caches
        self._name = name

    def changed(self, key: str) -> None:
        """The data of a key was changed, and that is committed: the other nodes forget it."""
        self._caches.tell(f"{self._name}\0{key}".encode())

    @property
    def late(self) -> bool:
        """While something is to be forgotten: it may have changed when there was no link.

        What its node has sent to sessions here since then may be lost.
        """
        return self._caches.late

    def end(self) -> None:
        """There is no such cache here any more."""
        self._caches.withdraw(self._name)


class Caches:
    """The shared caches of this node.

    :ivar late: see :attr:`SharedCache.late`.
    """

    def __init__(self, mesh: Mesh, clock: IReactorTime) -> None:
        self._mesh = mesh
        self._clock = clock
        self._shared: dict[str, tuple[Forget, ForgetAll]] = {}
        self._told: deque[tuple[int, float, bytes]] = deque(maxlen=KEPT)
        self._number = 0
        self._known: dict[str, tuple[int, int]] = {}
        self._late: set[str] = set()  # nodes that are telling what was missed
        self.late = False
        mesh.receive(CHANNEL, self._received)
        mesh.watch(self._up, self._down)

    def share(self, name: str, forget: Forget, forget_all: ForgetAll) -> SharedCache:
        """Declares a cache.

        A value that is being loaded while its key is forgotten is as old as one in the cache:
        ``forget`` has to take care that it is not kept either.

        :param name: the same on all nodes, such as ``mod_roster localhost``.
        :param forget: drops what is remembered of a key.
        :param forget_all: drops everything.
        :raises ValueError: the name is taken.
        """
        if name in self._shared:
            raise ValueError(f"there is a cache {name} already")
        self._shared[name] = (forget, forget_all)
        return SharedCache(self, name)

    def withdraw(self, name: str) -> None:
        """Forgets about a cache; see :meth:`SharedCache.end`."""
        self._shared.pop(name, None)

    def tell(self, change: bytes) -> None:
        """Sends a change to all nodes, and remembers it for those that come later."""
        if isinstance(self._mesh, Alone):
            return
        self._number += 1
        self._told.append((self._number, self._clock.seconds(), change))
        self._mesh.broadcast(CHANNEL, change)

    def _up(self, node: Node) -> None:
        """Tells a node what it may have missed.

        A process that was never linked may have read, before its link came up, what this one has
        changed since its own start.
        """
        incarnation, number = self._known.pop(node.name, (0, 0))
        since = number if incarnation == node.incarnation else 0
        oldest = self._told[0][0] if self._told else self._number + 1
        if since + 1 < oldest:
            self._mesh.send(node.name, CHANNEL, _EVERYTHING)
            return
        missed = [change for told, _, change in self._told if told > since]
        if missed:
            for part in (_LATE, *missed, _NOW):
                self._mesh.send(node.name, CHANNEL, part)

    def _down(self, node: Node) -> None:
        self._late.discard(node.name)
        certain = self._clock.seconds() - DOUBT
        number = 0
        for told, when, _ in self._told:
            if when >= certain:
                break
            number = told
        else:
            number = self._number
        self._known[node.name] = (node.incarnation, number)

    def _received(self, node: Node, change: bytes) -> None:
        if change == _LATE:
            self._late.add(node.name)
        elif change == _NOW:
            self._late.discard(node.name)
        else:
            self.late = node.name in self._late
            self._forget(change)

    def _forget(self, change: bytes) -> None:
        if change == _EVERYTHING:
            for _, forget_all in list(self._shared.values()):
                forget_all()
            return
        name, _, key = change.decode().partition("\0")
        found = self._shared.get(name)
        if found is not None:
            found[0](key)
