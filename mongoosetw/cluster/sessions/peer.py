"""Another node, as the directory sees it: what it is told, and what it has told."""

from collections.abc import Callable
from typing import Final

from twisted.internet.interfaces import IReactorTime

from mongoosetw.cluster.mesh import Node
from mongoosetw.cluster.sessions.copy import Copy
from mongoosetw.cluster.sessions.feed import Feed
from mongoosetw.cluster.sessions.recent import Recent
from mongoosetw.hooks.c2s import SessionLike

PATIENCE: Final = 1.0
"""Seconds until a node whose queue was full is told anew, or is asked anew."""
MEMORY: Final = 30.0
"""Seconds after which a node knows of all that it was told."""


class Peer:
    """A node whose link is up.

    :ivar again_at: when it is to be told all anew, if there was no room for a change.
    :ivar lost_track: what it tells does not follow on what it has told: it is asked to begin anew.
    :ivar asked_at: when it was last asked.
    :ivar found: sessions that became available before it had seen all of this node's.
    :ivar asked: domains that it serves only since a moment ago.
    :ivar spoke: sessions of this node with new presence, while not all of its sessions were known.
    :ivar over: sids of this node's sessions that are over, and of which it was told, by address (as
        text); with the number of the frame that told of the end.
    """

    def __init__(
        self,
        node: Node,
        send: Callable[[bytes], bool],
        extend: Callable[[bytes], bool],
        clock: IReactorTime,
    ) -> None:
        self.node = node
        self.copy = Copy()
        self.feed = Feed(send, extend, self.copy)
        self.again_at = 0.0
        self.lost_track = False
        self.asked_at = -PATIENCE
        self.found: list[SessionLike] = []
        self.asked: set[str] = set()
        self.spoke: dict[SessionLike, None] = {}
        self.over: Recent[str, tuple[int, int]] = Recent(clock, MEMORY)

    def available(self) -> list[SessionLike]:
        """Its sessions that are available."""
        return [s for s in self.copy.sessions.values() if s.available]
