"""Sessions of this node that go on at another one.

While a session moves, what is found at its address is a stand-in, which keeps what comes for it.
When the other node has told of the session, as of any new one, that is sent on, before all that
is passed on from then on. If it does not tell, the session stays here as if nothing had
happened: it is whole until then.
"""

import logging
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import IDelayedCall
from twisted.internet.task import deferLater

from mongoosetw.c2s.binding import REPLACED
from mongoosetw.cluster.mesh import Node
from mongoosetw.cluster.sessions.remote import Elsewhere, RemoteSession
from mongoosetw.delivery import hide_presence, show_presence
from mongoosetw.hooks.c2s import SessionLike
from mongoosetw.xmpp.jid import JID
from mongoosetw.xmpp.stanza import Stanza

if TYPE_CHECKING:  # types only
    from mongoosetw.c2s.session import Session
    from mongoosetw.cluster.sessions.relay import Relay
    from mongoosetw.server import Server

logger = logging.getLogger(__name__)
PATIENCE: Final = 5.0
"""Seconds within which the other node has to tell of a session that was sent to it."""
ROOM: Final = 4 * 1024 * 1024
"""Bytes that wait for one session."""
_GLANCE: Final = 0.1

Use = Callable[[SessionLike | None], None]


class MovingSession(Elsewhere):
    """Stands in for a session of this node that moves; see :class:`SessionLike`.

    :ivar session: the session itself, which still counts as one of this node's.
    :ivar target: the node to which it moves; empty for one that has just come to this one.
    :ivar place: the session at its address, once it has moved.
    :ivar taken: another node has told that it goes on there; else that is a newer one.
    """

    __slots__ = (
        "_closing",
        "_ended",
        "_moves",
        "_queue",
        "_size",
        "_when_ended",
        "address",
        "flags",
        "host",
        "inactive",
        "jid",
        "last_activity",
        "late",
        "place",
        "presence",
        "priority",
        "secure",
        "session",
        "sid",
        "taken",
        "target",
    )
    local = True
    connected = False
    passes_on = False
    continues = 0

    def __init__(
        self,
        moves: "Moves",
        session: "Session",
        target: str,
        ended: Callable[[bool], object],
    ) -> None:
        self._moves = moves
        self._ended: Callable[[bool], object] | None = ended
        self._queue: list[Use] = []
        self._size = 0
        self._when_ended: list[Deferred[None]] = []
        self._closing: tuple[str | None, str | None] | None = None
        self.session = session
        self.target = target
        self.place: SessionLike | None = None
        self.taken = False
        self.late: IDelayedCall | None = None
        self.host = session.host
        self.sid = session.sid
        self.jid = session.jid
        self.priority = session.priority
        self.presence: Stanza | None = session.presence
        self.flags = session.flags
        self.secure = session.secure
        self.address = session.address
        self.last_activity = session.last_activity
        self.inactive = session.inactive

    # -- SessionLike

    @property
    def bare(self) -> JID:
        """The address of the account."""
        return self.jid.bare

    @property
    def opened_at(self) -> float:
        """When the session began, in seconds of this node's clock."""
        opened_at: float = self.session.opened_at
        return opened_at

    @property
    def available(self) -> bool:
        """Whether the client has sent initial presence (RFC 6121 §4.2)."""
        return self.presence is not None

    @property
    def state(self) -> dict[str, Any]:
        """What modules keep for the session, by module name."""
        return self.session.state

    def deliver(self, stanza: Stanza, *, shared: bool = False) -> None:
        """Keeps a stanza that was routed to the session."""

        def deliver(session: SessionLike | None) -> None:
            if session is None:
                self.host.deliver(stanza)
            else:
                session.deliver(stanza, shared=shared)

        if not self._keep(stanza, deliver):
            self._moves.relay.refuse(stanza, self.jid)

    def send(self, stanza: Stanza) -> None:
        """Keeps a stanza for the client."""

        def send(session: SessionLike | None) -> None:
            if session is not None:
                session.send(stanza)

        self._keep(stanza, send)

    def write(self, stanza: Stanza, data: bytes) -> None:
        """Keeps a stanza for the client."""

        def write(session: SessionLike | None) -> None:
            if session is not None:
                session.write(stanza, data)

        self._keep(stanza, write)

    def send_bytes(self, data: bytes) -> None:
        """The client is not there, and what is no stanza is not kept for it."""

    def close(self, condition: str | None = None, text: str | None = None) -> None:
        """Another session has its address now; else it is closed at the end of the move."""
        if self.host.sessions.get(self.jid) is self:
            self._closing = condition, text
        else:
            self._moves.end(self)

    def flag(self, name: str, on: bool = True) -> None:
        """Has a flag set or cleared where the session goes on."""

        def flag(session: SessionLike | None) -> None:
            if session is not None:
                session.flag(name, on)

        self.then(flag)

    def show(self, to: JID) -> None:
        """Has its presence shown where it goes on: what is said here now may come too late."""
        self._speak(show_presence, to)

    def hide(self, to: JID) -> None:
        """Has it vanish from somebody, likewise."""
        self._speak(hide_presence, to)

    def _speak(self, speak: Callable[[SessionLike, JID], None], to: JID) -> None:
        def use(session: SessionLike | None) -> None:
            if session is not None:
                speak(session, to)

        if self.target:
            self.then(use)
        else:
            speak(self.session, to)

    # -- the move

    @property
    def for_relay(self) -> SessionLike:
        """Who takes what other nodes pass on: that is older than what waits at the new place."""
        return self if self.target else self.session

    def _keep(self, stanza: Stanza, use: Use) -> bool:
        size = len(stanza.inner)
        if self._size + size > ROOM:
            logger.warning("moving_session_full jid=%s", self.jid)
            return False
        self._size += size
        receipt = stanza.receipt
        if receipt is None:
            self.then(use)
            return True

        def use_and_release(session: SessionLike | None) -> None:
            use(session)
            receipt.release()

        receipt.hold()  # whoever sends it is told that it is handled when that is so
        self.then(use_and_release)
        return True

    def then(self, use: Use) -> None:
        """Keeps what is to be done with the session when it has moved, or stays after all."""
        if self._ended is None:
            use(self.place)
        else:
            self._queue.append(use)

    def in_place(self, use: Callable[[SessionLike | None], object]) -> None:
        """Calls a function with what is found at the address after the move."""

        def found(place: SessionLike | None) -> None:
            if place is None:
                use(None)
            else:
                place.in_place(use)  # which may be about to move again

        self.then(found)

    def when_ended(self) -> "Deferred[None]":
        """Fires when the session has moved, or stays."""
        if self._ended is None:
            return succeed(None)
        waiting: Deferred[None] = Deferred()
        self._when_ended.append(waiting)
        return waiting

    @property
    def over(self) -> bool:
        """Whether the session has moved, or stays."""
        return self._ended is None

    def end(self, place: SessionLike | None, *, moved: bool) -> None:
        """Hands over what was kept to the session at the address."""
        assert self._ended is not None
        if self.late is not None and self.late.active():
            self.late.cancel()
        ended, self._ended = self._ended, None
        self.place = place
        ended(moved)
        for use in self._queue:
            use(place)
        self._queue.clear()
        newer = place is not None and place.local and place is not self.session
        if self._closing is not None and place is not None and not newer:
            place.close(*self._closing)
        for waiting in self._when_ended:
            waiting.callback(None)


def place_of(session: SessionLike) -> SessionLike:
    """What takes what a session is told: if it is about to leave, that waits in its order."""
    place = session.host.sessions.get(session.jid)
    if isinstance(place, MovingSession) and place.sid == session.sid:
        return place.for_relay
    return session


class Moves:
    """The sessions of this node that move to others."""

    def __init__(self, server: "Server", relay: "Relay") -> None:
        self._clock = server.clock
        self._moving: dict[MovingSession, None] = {}  # in order, for the simulation
        self.relay = relay
        server.mesh.watch(lambda node: None, self._down)

    def begin(
        self, session: "Session", target: str, ended: Callable[[bool], object]
    ) -> MovingSession:
        """Has what comes for a session of this node kept.

        :param target: the node to which it moves.
        :param ended: called with True when it has moved, and with False if it stays.
        """
        moving = MovingSession(self, session, target, ended)
        self._moving[moving] = None
        session.host.sessions.stand_in(session, moving)
        return moving

    def hold(self, session: "Session", arrived: "Deferred[None]") -> MovingSession:
        """Has what this node has for a session that has come wait for what its old one had.

        :param arrived: fires when that has arrived.
        """

        def ended(replaced: bool) -> None:
            if replaced:
                session.close(*REPLACED)

        holding = self.begin(session, "", ended)
        arrived.addCallback(lambda _: self.stay(holding))
        return holding

    def sent(self, moving: MovingSession) -> None:
        """The session was sent to the other node, which will tell of it soon."""
        if not moving.over:
            moving.late = self._clock.callLater(PATIENCE, self.stay, moving)

    def stay(self, moving: MovingSession) -> None:
        """The other node has not taken the session."""
        if moving.over:
            return
        registry = moving.host.sessions
        if registry.get(moving.jid) is not moving:
            self.end(moving)
            return
        if moving.target:
            logger.warning("session_stays jid=%s node=%s", moving.jid, moving.target)
        self._moving.pop(moving, None)
        registry.stand_in(moving, moving.session)
        moving.end(moving.session, moved=False)

    def end(self, moving: MovingSession) -> None:
        """Another session has the address: this one at the other node, or a newer one."""
        if moving.over:
            return
        self._moving.pop(moving, None)
        place = moving.host.sessions.get(moving.jid)
        if isinstance(place, RemoteSession):
            self.relay.follow(moving.sid, place)
        self.relay.passing_on(lambda: moving.end(place, moved=True))
        if moving.target:
            moving.host.sessions.remove(moving.session)

    def _down(self, node: Node) -> None:
        for moving in [m for m in self._moving if m.target == node.name]:
            self.stay(moving)

    async def finished(self) -> None:
        """Waits until no session moves, but not for ever."""
        until = self._clock.seconds() + PATIENCE
        while self._moving and self._clock.seconds() < until:
            await deferLater(self._clock, _GLANCE)

    def stop(self) -> None:
        """The server stops."""
        for moving in list(self._moving):
            if moving.late is not None and moving.late.active():
                moving.late.cancel()
