"""Keeps stanzas for one address in order while its session moves from node to node.

What this node has sent to a session's old node may still be under way, or be passed on from there,
when the session is at another one already. So the first stanza for the new place waits, and
those behind it, until a fence has gone the way of the old ones: to the old node and from there as
a stanza for that address goes, from node to node, until one answers that nothing is left to be
passed on. Each node on that way does the same for what it passes on itself, and each passes only
to a newer session, so no two wait for one another.
"""

from collections.abc import Callable
from typing import Final

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime

from mongoosetw.cluster.sessions.remote import RemoteSession
from mongoosetw.cluster.sessions.wire import Op, pack_words
from mongoosetw.xmpp.jid import JID

MEMORY: Final = 10.0
"""Seconds after which nothing is under way any more to a session that has left its node."""
PATIENCE: Final = 5.0
"""Seconds that stanzas wait for a fence."""
ROOM: Final = 1024 * 1024
"""Bytes that wait for one."""
_REMEMBERED: Final = 100_000

Send = Callable[[str, bytes], bool]
Handle = Callable[[bytes], None]
Useless = Callable[[], bool]


class Gate:
    """What waits for one address.

    :ivar jid: that address.
    :ivar node: where the fence has been sent first.
    :ivar closed: it waits still.
    :ivar home: for a session of this node that will take the address. Presence does not wait for
        it: that one will look around itself.
    :ivar opening: fire before what waits goes on.
    """

    __slots__ = ("_size", "closed", "home", "jid", "late", "node", "opening", "waiting")

    def __init__(self, jid: JID, node: str, late: IDelayedCall) -> None:
        self.jid = jid
        self.node = node
        self.late = late
        self.closed = True
        self.home = False
        self.waiting: list[tuple[bytes, Useless | None]] = []
        self.opening: list[Deferred[None]] = []
        self._size = 0

    def put(self, payload: bytes, useless: Useless | None = None) -> bool:
        """Queues a payload; False if there is no room.

        :param useless: tells in the end whether it need not go on any more.
        """
        if self._size + len(payload) > ROOM:
            return False
        self._size += len(payload)
        self.waiting.append((payload, useless))
        return True


class Fences:
    """The gates of this node.

    :param send: sends a payload to a node, behind all that waits; False if it cannot.
    :param handle: takes a payload that waited, as if it had just arrived.
    """

    def __init__(self, clock: IReactorTime, own: str, send: Send, handle: Handle) -> None:
        self._clock = clock
        self._own = own
        self._send = send
        self._handle = handle
        self._left: dict[JID, tuple[str, float, Gate | None]] = {}
        self._gates: dict[int, Gate] = {}
        self._number = 0

    def leaves(self, session: RemoteSession) -> None:
        """A session that was written to is no longer where it was."""
        self._note(session.jid, session.node, session.gate)

    def _note(self, jid: JID, node: str, gate: Gate | None) -> None:
        now = self._clock.seconds()
        self._left.pop(jid, None)
        self._left[jid] = (node, now, gate)
        while self._left:
            oldest = next(iter(self._left))
            if self._left[oldest][1] > now - MEMORY and len(self._left) <= _REMEMBERED:
                break
            del self._left[oldest]

    def arrives(self, jid: JID) -> None:
        """A session of this node has the address now: what was before does not matter.

        Otherwise this node might wait for another one that waits for this one.
        """
        if self._left:
            self._left.pop(jid, None)

    def follow(self, jid: JID, fence: bytes) -> bool:
        """Nobody has an address: a fence goes the way of what was passed on before that.

        :returns: False if there was nothing.
        """
        node, since, gate = self._left.get(jid, ("", 0.0, None))
        if gate is not None and gate.closed:
            return gate.put(fence)
        return since > self._clock.seconds() - MEMORY and self._send(node, fence)

    def begin(self, session: RemoteSession) -> None:
        """A session is written to for the first time: it gets a gate if one is needed."""
        session.begun = True
        node, _, gate = self._left.get(session.jid, ("", 0.0, None))
        if node == session.node and (gate is None or not gate.closed):
            del self._left[session.jid]  # it is the same link, which keeps the order
        session.gate = self._before(session.jid)

    def comes_home(self, jid: JID, older: RemoteSession | None) -> Deferred[None] | None:
        """A session of this node is about to take an address.

        :param older: the one of another node that has it.
        :returns: fires when nothing is under way to other nodes any more, and what is for the
            address waits: the session has to be registered at once. None: nothing is under way.
        """
        gate = self._before(jid) if older is None else self._around(older)
        if gate is None:
            return None
        if older is None:  # one of another node may be quicker: it is for that one, too
            self._note(jid, gate.node, gate)
        opening = Deferred[None]()
        gate.opening.append(opening)
        return opening

    def behind(self, jid: JID, node: str) -> Deferred[None] | None:
        """Sends a fence to a node, to come back behind all that it passes on for an address.

        :returns: fires when it has come back; None: the node is gone.
        """
        gate = self._erect(jid, node)
        if gate is None:
            return None
        opening = Deferred[None]()
        gate.opening.append(opening)
        return opening

    def bar(self, session: RemoteSession, node: str, seconds: float) -> int | None:
        """Has what is for a session wait for what has come by another node, whose fence is sent.

        :param seconds: for so long at most.
        :returns: what to call :meth:`open` with; None if it waits already.
        """
        if not session.begun:
            self.begin(session)
        if session.gate is not None and session.gate.closed:
            return None
        session.gate = self._make(self.next_number(), session.jid, node, seconds)
        return self._number

    def _before(self, jid: JID) -> Gate | None:
        """The gate for an address, if something is under way to who had it a moment ago."""
        node, since, gate = self._left.pop(jid, ("", 0.0, None))
        if gate is not None and gate.closed:
            return gate
        fresh = node and since > self._clock.seconds() - MEMORY
        return self._erect(jid, node) if fresh else None

    def _around(self, session: RemoteSession) -> Gate | None:
        """The gate for a session that will be replaced."""
        written_to = session.begun or self._left.get(session.jid, ("",))[0] == session.node
        if not session.begun:
            self.begin(session)
        if written_to and (session.gate is None or not session.gate.closed):
            session.gate = self._erect(session.jid, session.node)
            if session.gate is not None:
                session.gate.home = True
        return session.gate

    def next_number(self) -> int:
        """A number for a fence that goes out from here."""
        self._number += 1
        return self._number

    def _erect(self, jid: JID, node: str) -> Gate | None:
        number = self.next_number()
        if not self._send(node, pack_words(Op.FENCE, number, str(jid), self._own)):
            return None  # what was under way there is lost, or is handed over by others
        return self._make(number, jid, node, PATIENCE)

    def _make(self, number: int, jid: JID, node: str, seconds: float) -> Gate:
        late = self._clock.callLater(seconds, self.open, number)
        gate = self._gates[number] = Gate(jid, node, late)
        return gate

    def open(self, number: int) -> None:
        """A fence has come through, or it takes too long: what waited goes on, in its order."""
        gate = self._gates.pop(number, None)
        if gate is None:
            return
        if gate.late.active():
            gate.late.cancel()
        gate.closed = False
        for opening in gate.opening:
            opening.callback(None)
        for payload, useless in gate.waiting:
            if useless is None or not useless():
                self._handle(payload)
        gate.waiting.clear()

    def under_way(self, node: str) -> list[JID]:
        """The addresses of sessions that went on elsewhere, for which a node may have something."""
        since = self._clock.seconds() - MEMORY
        left = [jid for jid, entry in self._left.items() if entry[0] == node and entry[1] > since]
        gates = [gate.jid for gate in self._gates.values() if gate.node == node]
        return list(dict.fromkeys((*left, *gates)))

    def lost(self, node: str) -> None:
        """A node is gone, and what was under way to it: what waited for that goes on."""
        for jid in [jid for jid, entry in self._left.items() if entry[0] == node]:
            gate = self._left[jid][2]
            if gate is None or not gate.closed:
                del self._left[jid]
        for number in [n for n, gate in self._gates.items() if gate.node == node]:
            self.open(number)

    def stop(self) -> None:
        """Nobody waits any more."""
        for number in list(self._gates):
            self.open(number)
