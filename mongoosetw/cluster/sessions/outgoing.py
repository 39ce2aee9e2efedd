"""The way out to other nodes: in order, past gates, and with patience where a link is full."""

from collections.abc import Callable
from typing import TYPE_CHECKING

from mongoosetw.cluster.sessions.fences import Fences, Gate, Useless
from mongoosetw.cluster.sessions.pressure import Pressure
from mongoosetw.cluster.sessions.remote import RemoteSession
from mongoosetw.cluster.sessions.repeats import Repeats
from mongoosetw.cluster.sessions.wire import Op, pack_words
from mongoosetw.xmpp.jid import JID
from mongoosetw.xmpp.stanza import Stanza

if TYPE_CHECKING:  # types only
    from mongoosetw.server import Server

CHANNEL = "stanza"


class Outgoing:
    """What this node sends to the sessions of others.

    :param handle: takes what waited at a gate, as if it had just arrived.
    :param useless: what tells whether presence that waits there need not go on any more, if that
        may be.
    :ivar fences: the gates.
    :ivar send_behind: sends a payload to a node, behind all that waits; False if it cannot.
    :ivar hops: over how many links that has come which is sent now.
    """

    def __init__(
        self,
        server: "Server",
        handle: Callable[[bytes], None],
        useless: Callable[[Stanza], Useless | None],
    ) -> None:
        self._server = server
        self._useless = useless
        self._mesh = server.mesh
        self._shows: dict[tuple[str, Op, JID], list[str]] = {}
        self._flushed = True
        self._pressure = Pressure(server)
        self._repeats = Repeats(server.mesh, server.clock, self.send_to, self._incomplete)
        self.send_behind = self._repeats.send
        self.fences = Fences(server.clock, server.mesh.local.name, self.send_behind, handle)
        self.hops = 0

    def put(self, session: RemoteSession, payload: bytes) -> bool:
        """Sends a payload to a session's node, in its place; False if there is no room."""
        gate = self._gate(session)
        return self.send_to(session.node, payload) if gate is None else gate.put(payload)

    def insist(self, session: RemoteSession, payload: bytes) -> None:
        """Sends what nobody would send again: it waits for room, in its order."""
        self._insist(session, payload, self._gate(session), None)

    def insist_on_presence(self, session: RemoteSession, stanza: Stanza, payload: bytes) -> None:
        """Likewise presence, which may be of no use in the end."""
        gate = self._gate(session, presence=True)
        self._insist(session, payload, gate, None if gate is None else self._useless(stanza))

    def _insist(
        self, session: RemoteSession, payload: bytes, gate: Gate | None, useless: Useless | None
    ) -> None:
        if gate is None:
            self._repeats.send(session.node, payload, session)
        elif not gate.put(payload, useless):
            self._repeats.lose(session.node, session)

    def put_fence(self, session: RemoteSession, fence: bytes) -> bool:
        """Sends a fence behind what has been sent to a session, and what waits."""
        gate = self._gate(session)
        return self.send_behind(session.node, fence) if gate is None else gate.put(fence)

    def _gate(self, session: RemoteSession, *, presence: bool = False) -> Gate | None:
        """Where what is for a session has to wait."""
        if not session.begun:
            self.fences.begin(session)
        gate = session.gate
        if gate is not None and not gate.closed:
            gate = session.gate = None
        return None if gate is None or (presence and gate.home) else gate

    def send_to(self, node: str, payload: bytes) -> bool:
        """Sends a payload to a node; False if there is no room, or no link."""
        if self._shows:
            self.flush_shows()
        sent = self._mesh.send(node, CHANNEL, payload)
        self._pressure.grow(node)
        return sent

    def order(self, session: RemoteSession, op: Op, *words: str) -> None:
        """Has something done with a session by its node."""
        packed = pack_words(op, session.sid, str(session.jid), *words, hops=self.hops)
        self._repeats.send(session.node, packed)

    def _incomplete(self, session: RemoteSession) -> None:
        """A client has not got all that was for it: it has to come back, and look anew."""
        self.order(session, Op.CLOSE, "resource-constraint", "too much waits for this node")

    # -- presence, one order for each node and recipient

    def show(self, session: RemoteSession, op: Op, to: JID) -> None:
        """Has the presence of a session shown to somebody, or hidden, when the turn ends."""
        self._shows.setdefault((session.node, op, to), []).append(str(session.jid))
        if self._flushed:
            self._flushed = False
            self._server.flusher.add(self)

    def flush(self) -> None:
        """The turn ends."""
        self._flushed = True
        self.flush_shows()

    def flush_shows(self) -> None:
        """Sends the orders to show and to hide presence; before anything else is sent."""
        shows, self._shows = self._shows, {}
        for (node, op, to), jids in shows.items():
            self._repeats.send(node, pack_words(op, 0, str(to), *jids, hops=self.hops))

    def passing_on(self, hops: int, act: Callable[[], object]) -> None:
        """Sends what comes of something that has come over so many links."""
        self.flush_shows()
        before, self.hops = self.hops, hops
        try:
            act()
            self.flush_shows()
        finally:
            self.hops = before

    # -- the end

    def lost(self, node: str) -> None:
        """A node is gone; as :meth:`Fences.lost`."""
        self._pressure.release(node)
        self._repeats.lost(node)
        self.fences.lost(node)

    def stop(self) -> None:
        """The server stops: nobody waits any more."""
        self.fences.stop()
        self._pressure.stop()
        self._repeats.stop()
