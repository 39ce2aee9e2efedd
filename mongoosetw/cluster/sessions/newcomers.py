"""Sessions that have come a moment ago, and what may still be under way to them by their old nodes.

If a link is lost meanwhile some of that may be lost with it, and nobody knows what. So it matters
when the last of it has come. That is found out by fences, one for each other node: it goes there,
to the session's old node, and there and back once more, for the old node may have asked that one
to show something; and from the old node on as a stanza for the session goes. Whoever has had the
fence knows where the session is now, and sends nothing to its old place any more.
"""

from collections.abc import Callable
from typing import Final

from twisted.internet.interfaces import IReactorTime

from mongoosetw.cluster.mesh import Mesh
from mongoosetw.cluster.sessions.fences import MEMORY, Fences
from mongoosetw.cluster.sessions.recent import Recent
from mongoosetw.cluster.sessions.wire import Op, Words, pack_words
from mongoosetw.hooks.c2s import SessionLike
from mongoosetw.xmpp.jid import JID

_UNKNOWN: Final = -1


class _Newcomer:
    """One of them.

    :ivar awaited: fences that are not back.
    """

    __slots__ = ("awaited", "jid", "since")

    def __init__(self, jid: JID, since: float) -> None:
        self.jid = jid
        self.since = since
        self.awaited = _UNKNOWN


class Newcomers:
    """Those of one node.

    :param send: sends a payload to a node, behind all that waits; False if it cannot.
    """

    def __init__(
        self, mesh: Mesh, clock: IReactorTime, fences: Fences, send: Callable[[str, bytes], bool]
    ) -> None:
        self._mesh = mesh
        self._clock = clock
        self._fences = fences
        self._send = send
        self._known: Recent[int, _Newcomer] = Recent(clock, MEMORY)
        self._rounds: Recent[int, _Newcomer] = Recent(clock, MEMORY)

    def __contains__(self, sid: int) -> bool:
        """Whether a session has come a moment ago."""
        return self._known.get(sid) is not None

    def add(self, session: SessionLike, node: str | None) -> None:
        """A session goes on here.

        :param node: that has had it; None if something may be under way by others, too.
        """
        comer = _Newcomer(session.jid, self._clock.seconds())
        self._known.put(session.sid, comer)
        if node is not None:
            rounds = [self._go_round(comer, other, node) for other in self._mesh.peers]
            comer.awaited = len(rounds) if all(rounds) else _UNKNOWN

    def _go_round(self, comer: _Newcomer, other: str, old: str) -> bool:
        number, own = self._fences.next_number(), self._mesh.local.name
        self._rounds.put(number, comer)
        words = str(comer.jid), own
        if other == old:
            return self._send(old, pack_words(Op.FENCE, number, *words))
        return self._send(other, pack_words(Op.ROUND, number, *words, old, other, old))

    def pass_on(self, got: Words) -> Words | None:
        """Takes a fence of another node's that goes round.

        :returns: the fence that goes on from here as a stanza for its address does, if it does.
        """
        jid, origin, *path = got.words
        if not path:
            return Words(Op.FENCE, 0, got.number, (jid, origin))
        self._send(path[0], pack_words(Op.ROUND, got.number, jid, origin, *path[1:]))
        return None

    def back(self, number: int) -> None:
        """A fence has come back."""
        comer = self._rounds.get(number)
        if comer is not None:
            comer.awaited -= 1

    def is_complete(self, sid: int) -> bool:
        """Whether a session has come a moment ago, and with it all that was sent before."""
        comer = self._known.get(sid)
        return comer is not None and not comer.awaited

    def has_all(self, sid: int) -> bool:
        """Whether nothing is under way to a session by nodes that have had it."""
        comer = self._known.get(sid)
        since = self._clock.seconds() - MEMORY
        return comer is None or comer.awaited == 0 or comer.since <= since

    def unsure(self) -> list[JID]:
        """Those to whom something may be under way still."""
        return [comer.jid for comer in self._known.values() if comer.awaited]
