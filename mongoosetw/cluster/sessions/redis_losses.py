"""What nodes had whose links are lost: clients here may have seen more than is known of it."""

import logging
from collections.abc import Callable
from typing import Final

from mongoosetw.cluster.mesh import Mesh, Node, is_first
from mongoosetw.cluster.sessions.found import tell_lost
from mongoosetw.cluster.sessions.redis_others import Others
from mongoosetw.cluster.sessions.redis_peers import Peer
from mongoosetw.cluster.sessions.redis_store import ALIVE, Store
from mongoosetw.cluster.sessions.redis_upkeep import Tasks
from mongoosetw.cluster.sessions.remote import RemoteSession
from mongoosetw.hooks.c2s import SessionLike

logger = logging.getLogger(__name__)
CLEAN_AFTER: Final = ALIVE + 10.0
"""Seconds after the loss of a node, when it counts as dead and the others have read what it had."""


class Losses:
    """Says goodbye for sessions that are out of reach, and has what dead nodes left removed.

    :param note: as :class:`mongoosetw.cluster.sessions.redis.RedisDirectory`.
    """

    def __init__(
        self,
        mesh: Mesh,
        store: Store,
        tasks: Tasks,
        others: Others,
        note: Callable[[str, str, str], None],
    ) -> None:
        self._mesh = mesh
        self._store = store
        self._tasks = tasks
        self._others = others
        self._note = note
        self._unread: dict[str, tuple[Node, set[int]]] = {}

    def lose(self, peer: Peer) -> list[SessionLike]:
        """A link is down.

        :returns: sessions that had moved from there: the last that was said there may be lost.
        """
        node, left = peer.node, self._mesh.left(peer.node.name)
        lost, known = self._others.lose(peer)
        self._lost(lost, node, left=left)
        told = set(lost)  # of those that were put aside clients may have seen the last, too
        rest = [session for session in peer.sessions.values() if session not in told]
        departures, there = self._others.departures, peer.sessions.values()
        gone = [] if left else departures.of_node(node.name, there)  # who leaves has said all
        places = departures.places((*rest, *gone))
        tell_lost([s for s in rest if s not in places], node.name, left=left)
        self._unread.pop(node.name, None)
        if not left:
            self._unread[node.name] = (node, known)
            self.look_for_others()
        tell_lost([s for s in gone if s not in places], node.name, left=left, over=True)
        self._tasks.later(CLEAN_AFTER, self._clean_later, node)
        return list(places.values())

    def _lost(self, lost: list[RemoteSession], node: Node, *, left: bool) -> None:
        if not lost:
            return
        text = f"{len(lost)}, {'it left' if left else 'it was lost'}"
        self._note("sessions lost", node.name, text)
        logger.info("sessions_lost peer=%s sessions=%d", node.name, len(lost))
        tell_lost(lost, node.name, left=left)

    def look_for_others(self) -> None:
        """Clients here may have seen sessions that are not followed any more: Redis has all."""
        for node, known in list(self._unread.values()):
            self._tasks.run(self._lose_rest(node, known))

    async def _lose_rest(self, node: Node, known: set[int]) -> None:
        entries = await self._store.of_node(node.name) + await self._store.ended(node.name)
        if self._unread.pop(node.name, None) is None or node.name in self._others.peers:
            return
        lost = self._others.unregistered(
            e for e in entries if e.incarnation == node.incarnation and e.session.sid not in known
        )
        self._lost(lost, node, left=False)

    def _clean_later(self, node: Node) -> None:
        """One of the nodes that are left removes what a dead one has left in Redis."""
        if is_first(self._mesh) and node.name not in self._others.peers:
            self._tasks.run(self._clean(node.name))

    async def _clean(self, node: str) -> None:
        if not await self._store.lives(node):
            number = await self._store.clean(node)
            logger.info("sessions_cleaned peer=%s number=%d", node, number)
