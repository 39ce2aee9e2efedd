"""Sessions that have come a moment ago, and what may still be under way to them by their old nodes.

If a link is lost meanwhile some of that may be lost with it, and nobody knows what. So it matters
when the last of it has come. That is found out by fences, one for each other node: it goes there,
to the session's old node, and there and back once more, for the old node may have asked that one
to show something; and from the old node on as a stanza for the session goes. Whoever has had the
fence knows where the session is now, and sends nothing to its old place any more.

On its way the fence comes from the old node to the other one, behind all that the client has sent
by it. What the client sends from here to that node waits until then (RFC 6120 §10.1).
"""

from collections.abc import Callable

from twisted.internet.interfaces import IReactorTime

from mongoosetw.cluster.mesh import Mesh
from mongoosetw.cluster.sessions.fences import MEMORY, PATIENCE, Fences
from mongoosetw.cluster.sessions.recent import Recent
from mongoosetw.cluster.sessions.remote import RemoteSession
from mongoosetw.cluster.sessions.wire import Op, Words, pack_words
from mongoosetw.hooks.c2s import SessionLike
from mongoosetw.xmpp.jid import JID


class _Newcomer:
    """One of them.

    :ivar old: the node that has had it.
    :ivar awaited: the nodes whose fences are not back; None: not all could be sent.
    :ivar gates: where what it sends to a node waits for that one's.
    """

    __slots__ = ("awaited", "gates", "jid", "old", "since")

    def __init__(self, jid: JID, old: str, since: float) -> None:
        self.jid = jid
        self.old = old
        self.since = since
        self.awaited: set[str] | None = None
        self.gates: dict[str, list[int]] = {}

    @property
    def complete(self) -> bool:
        """Whether all fences are back."""
        return self.awaited is not None and not self.awaited


class Newcomers:
    """Those of one node.

    :param send: sends a payload to a node, behind all that waits; False if it cannot.
    :ivar senders: those whose older stanzas may be under way yet.
    """

    def __init__(
        self, mesh: Mesh, clock: IReactorTime, fences: Fences, send: Callable[[str, bytes], bool]
    ) -> None:
        self._mesh = mesh
        self._clock = clock
        self._fences = fences
        self._send = send
        self._known: Recent[int, _Newcomer] = Recent(clock, MEMORY)
        self._rounds: Recent[int, tuple[_Newcomer, str]] = Recent(clock, MEMORY)
        self.senders: dict[JID, _Newcomer] = {}  # oldest first

    def __contains__(self, sid: int) -> bool:
        """Whether a session has come a moment ago."""
        return self._known.get(sid) is not None

    def add(self, session: SessionLike, node: str | None) -> None:
        """A session goes on here.

        :param node: that has had it; None if something may be under way by others, too.
        """
        comer = _Newcomer(session.jid, node or "", self._clock.seconds())
        self._known.put(session.sid, comer)
        self.senders.pop(session.jid, None)
        if node is not None:
            others = list(self._mesh.peers)
            sent = [self._go_round(comer, other, node) for other in others]
            if all(sent):
                comer.awaited = set(others)
                self._note_sender(comer)

    def _note_sender(self, comer: _Newcomer) -> None:
        self.senders[comer.jid] = comer
        for jid, known in list(self.senders.items()):
            if known.since > comer.since - PATIENCE:
                break
            del self.senders[jid]

    def _go_round(self, comer: _Newcomer, other: str, old: str) -> bool:
        number, own = self._fences.next_number(), self._mesh.local.name
        self._rounds.put(number, (comer, other))
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
        comer, other = self._rounds.get(number) or (None, "")
        if comer is None or comer.awaited is None:
            return
        comer.awaited.discard(other)
        if comer.complete and self.senders.get(comer.jid) is comer:
            del self.senders[comer.jid]
        for gate in comer.gates.pop(other, ()):
            self._fences.open(gate)

    def bar(self, session: RemoteSession, sender: JID) -> None:
        """Has what a client sends wait for what it has sent to the same node by its old one."""
        comer = self.senders.get(sender)
        if comer is None or comer.awaited is None or session.node not in comer.awaited:
            return
        if session.node == comer.old:
            return  # that has it
        seconds = comer.since + PATIENCE - self._clock.seconds()
        gate = self._fences.bar(session, comer.old, seconds) if seconds > 0 else None
        if gate is not None:
            comer.gates.setdefault(session.node, []).append(gate)

    def lost(self, node: str) -> None:
        """A link is lost: what has come by the node is not waited for any more."""
        for comer in [comer for comer in self.senders.values() if comer.old == node]:
            del self.senders[comer.jid]

    def is_complete(self, sid: int) -> bool:
        """Whether a session has come a moment ago, and with it all that was sent before."""
        comer = self._known.get(sid)
        return comer is not None and comer.complete

    def has_all(self, sid: int) -> bool:
        """Whether nothing is under way to a session by nodes that have had it."""
        comer = self._known.get(sid)
        since = self._clock.seconds() - MEMORY
        return comer is None or comer.complete or comer.since <= since

    def unsure(self) -> list[JID]:
        """Those to whom something may be under way still."""
        return [comer.jid for comer in self._known.values() if not comer.complete]
