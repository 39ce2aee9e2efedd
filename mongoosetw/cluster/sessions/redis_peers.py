"""What one other node knows of this one's sessions, and this one of that one's, with Redis."""

from collections.abc import Callable, Iterable
from typing import Final

from mongoosetw.cluster.mesh import Node
from mongoosetw.cluster.sessions.changes import Kind, pack
from mongoosetw.cluster.sessions.remote import RemoteSession
from mongoosetw.hooks.c2s import SessionLike

ACKNOWLEDGE: Final = 64
"""Changes that are taken before their node is told so, if there is nothing else to tell."""


class Peer:
    """A node whose link is up.

    :ivar watches: in which Redis process all users are registered that the node wants to be told
        of; empty: in none, it has to be told of all.
    :ivar greeted: whether it has said so since the link came up.
    :ivar unread: all its sessions have to be read, as soon as it has written them down.
    :ivar complete: they were read since the link came up.
    :ivar late: sessions of this node have become available before that.
    :ivar spoke: others have new presence since then.
    :ivar sessions: those of its sessions that are known here, by sid.
    :ivar seen: how many frames have arrived that tell changes.
    :ivar unseen: sessions that have become available, and the number of the frame that told it,
        which the node has not seen yet.
    :ivar misled: the sids of sessions of this node that it was told of without having asked, and
        the number of the last frame before that was known. It may have asked when they arrive, so
        it is told how they go on, until it has seen them.
    """

    def __init__(self, node: Node, send: Callable[[bytes], bool]) -> None:
        self.node = node
        self._send = send
        self.watches = ""
        self.greeted = False
        self.unread = False
        self.complete = False
        self.late = False
        self.spoke: dict[SessionLike, None] = {}
        self.sessions: dict[int, RemoteSession] = {}
        self.seen = 0
        self._told = 0
        self._number = 0
        self.unseen: dict[SessionLike, int] = {}
        self.misled: dict[int, int] = {}

    def wants(self, watchers: frozenset[str] | None, server: str) -> bool:
        """Whether a change has to be told.

        :param watchers: the nodes that were registered when it was written down; None if it was
            not.
        :param server: the Redis process where it was.
        """
        return watchers is None or self.watches != server or self.node.name in watchers

    def mislead(self, sessions: Iterable[SessionLike]) -> None:
        """It was told of sessions though it had not asked."""
        for session in sessions:
            self.misled[session.sid] = self._number

    def tell(self, kind: Kind, body: bytes, seen: int | None, new: Iterable[SessionLike]) -> bool:
        """Tells changes; False if there is no room for them.

        :param seen: how many frames had arrived when sessions became available.
        :param new: these sessions.
        """
        told = self.seen if seen is None else min(seen, self.seen)
        if not self._send(pack(kind, self._number + 1, told, body)):
            return False
        self._number += 1
        self._told = told
        for session in new:
            self.unseen.pop(session, None)
            self.unseen[session] = self._number
        return True

    def say(self, kind: Kind, body: bytes = b"") -> bool:
        """Tells something else than a change; False if there is no room for it."""
        if not self._send(pack(kind, self._number, self.seen, body)):
            return False
        self._told = self.seen
        return True

    def arrived(self) -> None:
        """A frame has come that tells changes."""
        self.seen += 1

    def acknowledge(self) -> None:
        """Tells how much has arrived, now and then."""
        if self.seen - self._told >= ACKNOWLEDGE:
            self.say(Kind.SEEN)

    def heard(self, number: int) -> None:
        """The node had seen so many frames when it told what has just arrived."""
        if self.misled:
            self.misled = {sid: told for sid, told in self.misled.items() if told > number}
        while self.unseen:
            session, told = next(iter(self.unseen.items()))  # in the order of their numbers
            if told > number:
                return
            del self.unseen[session]

    def forget(self, session: SessionLike) -> None:
        """A session is not available any more."""
        self.unseen.pop(session, None)
        self.spoke.pop(session, None)
