"""Sessions of other nodes that have gone a moment ago, and whose last words may not have come.

What a node says of a session's presence may have to wait there, for a fence say, while that the
session has ended, or goes on elsewhere, is told at once. If the node is lost meanwhile nobody
else says it.
"""

from collections.abc import Iterable
from copy import copy
from typing import Final

from twisted.internet.interfaces import IReactorTime

from mongoosetw.cluster.mesh import Node
from mongoosetw.cluster.sessions.found import is_registered, tell_lost
from mongoosetw.cluster.sessions.recent import Recent
from mongoosetw.cluster.sessions.remote import RemoteSession
from mongoosetw.hooks.c2s import SessionLike
from mongoosetw.ids import node_of
from mongoosetw.xmpp.jid import JID

LAST_WORDS: Final = 60.0
"""Seconds after which whoever has gone was seen to go, or its node is known to be lost."""
_SETTLED: Final = 30.0
"""Seconds after which nothing waits any more for a session that has come, and whoever is lost is
known to be: a gate is made within ten, it is open after five, a dead link is noticed within ten."""
_GOODBYES: Final = 20
"""Clients of one account of which it is remembered that they have gone, besides the last one."""


class Departures:
    """Those that were available until they went, or went unavailable."""

    def __init__(self, clock: IReactorTime) -> None:
        self._gone: Recent[int, RemoteSession] = Recent(clock, LAST_WORDS)
        self._clients: Recent[JID, tuple[JID, ...]] = Recent(clock, LAST_WORDS)
        self._going_on: Recent[int, bool] = Recent(clock, LAST_WORDS)
        self._last: Recent[JID, int] = Recent(clock, LAST_WORDS)
        self._came: Recent[int, tuple[SessionLike, int]] = Recent(clock, _SETTLED)

    def add(self, session: RemoteSession, priority: int) -> RemoteSession:
        """A session is not available any more.

        :param priority: that it has had.
        :returns: the session as it was.
        """
        last = copy(session)
        last.priority = priority
        self._gone.put(session.sid, last)
        self._last.put(session.jid, session.sid)
        before = self._clients.get(session.bare) or ()
        self._clients.put(session.bare, (*before[-_GOODBYES:], session.jid))
        return last

    def goes_on(self, sid: int) -> None:
        """A session has moved, and has another sid now.

        :param sid: that it had; 0 if it has not moved.
        """
        if sid:
            self._going_on.put(sid, True)

    def came(self, session: SessionLike, older: SessionLike | None) -> None:
        """A session of this node was opened, maybe to go on here.

        :param older: that has had its address until now.
        """
        self.goes_on(session.continues)
        before = session.continues or (older.sid if older is not None else 0)
        before = before or self._last.get(session.jid) or 0
        if before and node_of(before) != node_of(session.sid):
            self._came.put(session.sid, (session, node_of(before)))

    def bereft(self, node: Node) -> list[SessionLike]:
        """Sessions of this node for which something may have waited at a node that is lost.

        It waits for what is under way by the old node. If that was the lost one itself, nothing
        waited: its link keeps the order.
        """
        came = [session for session, before in self._came.values() if before != node.number]
        return [session for session in came if session.available and is_registered(session)]

    def clients(self, user: JID) -> tuple[JID, ...]:
        """Clients of an account that have gone."""
        return self._clients.get(user) or ()

    def of_node(self, node: str, there: Iterable[RemoteSession]) -> list[RemoteSession]:
        """Sessions of a node that have gone, as they were before.

        :param there: those that have not, or are back.
        """
        available = {session.sid for session in there if session.available}
        return [s for s in self._gone_from(node) if s.sid not in available]

    def _gone_from(self, node: str) -> list[RemoteSession]:
        return [session for session in self._gone.values() if session.node == node]

    def tell(self, node: str, missed: list[SessionLike]) -> None:
        """Sessions of this node have missed what another node has said of late."""
        if missed:
            tell_lost(self._gone_from(node), node, left=False, over=True, missed=missed)

    def places(self, sessions: Iterable[RemoteSession]) -> dict[RemoteSession, SessionLike]:
        """Where those of some sessions are that have moved, and are available there."""
        found = {}
        for session in sessions:
            place = session.host.sessions.get(session.jid)
            if place is not None and place.available and place.sid != session.sid:
                found[session] = place
        return {session: place for session, place in found.items() if self._has_moved(session.sid)}

    def _has_moved(self, sid: int) -> bool:
        return self._going_on.get(sid) is not None
