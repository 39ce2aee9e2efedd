"""Sessions that were sent to another node, which had not told of them in time, and were put back.

It may have taken them nevertheless, and its link be slow. Then they have moved after all.
"""

from collections.abc import Callable
from typing import Final

from twisted.internet.interfaces import IReactorTime

from mongoosetw.cluster.sessions.moving import MovingSession
from mongoosetw.cluster.sessions.recent import Recent
from mongoosetw.cluster.sessions.remote import Elsewhere, RemoteSession
from mongoosetw.hooks.c2s import SessionLike

MEMORY: Final = 60.0
"""Seconds for which is remembered that a session was put back."""
GoOn = Callable[[RemoteSession], bool]


class Stayed:
    """Those of one node."""

    def __init__(self, clock: IReactorTime) -> None:
        self._known: Recent[int, GoOn] = Recent(clock, MEMORY)

    def note(self, sid: int, go_on: GoOn) -> None:
        """A session was put back.

        :param go_on: has it go on at another node, as if it had never been put back; False if it
            cannot, because its client was here meanwhile.
        """
        self._known.put(sid, go_on)

    def goes_on(self, session: SessionLike, place: RemoteSession) -> bool:
        """Another node has told of a session that continues one of this node.

        :returns: whether that is all; else the one of this node has to be closed.
        """
        if isinstance(session, MovingSession):
            session.taken = True
        if isinstance(session, Elsewhere):
            return False  # it is about to move once more, and its stand-in knows what to do
        go_on = self._known.get(session.sid)
        return go_on is not None and go_on(place)
