"""Stream management of clients: acknowledgements, resumption, and what becomes of the rest."""

from collections import deque
from typing import Final, cast

from modules.mod_stream_management.deadlines import Deadlines
from modules.mod_stream_management.handover import HandOver
from modules.mod_stream_management.ledger import Rules, SessionLedger
from modules.mod_stream_management.options import StreamManagementOptions
from modules.mod_stream_management.package import Refused
from modules.mod_stream_management.rerouting import reroute
from modules.mod_stream_management.table import (
    MemoryTable,
    ResumptionTable,
    StaleCounts,
    new_resume_id,
)
from mongoosetw.c2s.session import Session
from mongoosetw.hooks.bus import STOP, Order, Outcome
from mongoosetw.hooks.c2s import (
    SessionClosed,
    SessionDisconnected,
    SessionLike,
    SessionResumed,
    StreamFeatures,
    StreamLike,
    UnboundNonza,
    UserSendNonza,
)
from mongoosetw.hooks.cluster import NodeLeaves
from mongoosetw.hooks.routing import MessagesAcknowledged
from mongoosetw.host import Host
from mongoosetw.metrics import Counter, Gauge
from mongoosetw.module import Module, Needs, on
from mongoosetw.xmpp import ns, sm
from mongoosetw.xmpp.delay import delayed
from mongoosetw.xmpp.errors import StreamError
from mongoosetw.xmpp.jid import JID
from mongoosetw.xmpp.parser import Nonza
from mongoosetw.xmpp.xep import XEP

FLAG: Final = "sm"
"""Flag of a session whose client acknowledges what it gets."""
_IDLE: Final = 0.5
"""Seconds after which stanzas are asked for that nothing follows."""
_APART: Final = 0.02
"""Seconds between two looks at those that have come to their time."""
_GRACE: Final = 5.0
"""Seconds that a client has to acknowledge more than ``buffer_max`` stanzas, MongooseIM's; or to
come back for them."""


class StreamManagement(Module[StreamManagementOptions]):
    """XEP-0198: Stream Management.

    A session of which the client wants it has a ledger. When its connection is lost, the
    session stays, takes stanzas, and waits for its client.
    """

    name = "mod_stream_management"
    options_class = StreamManagementOptions
    xeps = (XEP(198, "1.6.1"), XEP(203, "2.0"))
    # What is not acknowledged goes to these; so they have to stop later
    requires = (
        Needs("mod_offline", hard=False),
        Needs("mod_presence", hard=False),
        Needs("mod_carboncopy", hard=False),
        Needs("mod_csi", hard=False),
    )
    resumed_count = Counter("mod_stream_management_resumed_count", "Sessions resumed")
    expired_count = Counter(
        "mod_stream_management_expired_count", "Sessions whose client did not come back in time"
    )
    rerouted_count = Counter(
        "mod_stream_management_rerouted_count", "Stanzas that a client had not acknowledged"
    )
    overflow_count = Counter(
        "mod_stream_management_overflow_count",
        "Stanzas that were forgotten because a client did not acknowledge",
    )
    waiting_count = Gauge(
        "mod_stream_management_waiting_count", "Sessions that wait for their client"
    )

    def __init__(self, host: Host, options: StreamManagementOptions) -> None:
        super().__init__(host, options)
        self.rules = Rules.of(options)
        self.flusher = host.server.flusher
        self.table: ResumptionTable = MemoryTable()
        self.stale = StaleCounts()
        cluster = host.server.cluster
        self.handover = None if cluster is None else HandOver(self, cluster)
        self._idle: deque[tuple[float, SessionLedger]] = deque()
        self._deadlines: Deadlines[SessionLedger] = Deadlines(
            self.clock, self.later, self._expire
        )

    def start(self) -> None:
        """Takes over the sessions that are there already, after a reload."""
        self.waiting_count.set(self._deadlines.__len__)
        if self.handover is not None:
            self.handover.start()
        for session in self.host.sessions.local():
            ledger = _ledger(session)
            if ledger is not None:
                self._adopt(ledger)
        if self.options.stale_h.enabled:
            self.later(self.options.stale_h.repeat_after, self._sweep)

    def _adopt(self, ledger: SessionLedger) -> None:
        ledger.take_over(self)
        if ledger.resume_id and not self.options.buffer:
            ledger.session.close("reset")
            self._bury(ledger, "reset")
            return
        if ledger.resume_id:
            self.table.add(ledger)
        if ledger.expires_at is not None:
            self._deadlines.add(ledger, ledger.expires_at)

    def stop(self) -> None:
        """Without the module nothing can be resumed: clients start anew."""
        if self.handover is not None:
            self.handover.stop()
        for session in self.host.sessions.local():
            ledger = _ledger(session)
            if ledger is not None and not self.restarting:
                session.close("reset")
                self._bury(ledger, "reset")

    def _sweep(self) -> None:
        self.stale.forget_before(self.clock.seconds() - self.options.stale_h.geriatric)
        self.later(self.options.stale_h.repeat_after, self._sweep)

    @on(StreamFeatures, Order.DEFAULT)
    def announce(self, event: StreamFeatures) -> None:
        """§2: announces the feature to clients that have logged in."""
        if event.authenticated:
            event.features.append(sm.FEATURE)

    # -- what clients say

    @on(UserSendNonza, Order.CHANGE)
    def nonza(self, event: UserSendNonza) -> Outcome:
        """Elements of a client that has a session."""
        namespace, tag = event.nonza.name
        if namespace != ns.SM:
            return None
        session = cast(Session, event.session)
        ledger = _ledger(session)
        if tag == "enable":
            session.send_bytes(self._enable(session, ledger, event.nonza))
        elif tag == "resume":
            session.send_bytes(sm.failed("unexpected-request"))
        elif ledger is None:
            self.log.debug("unexpected_nonza jid=%s tag=%s", session.jid, tag)
        elif tag == "r":
            ledger.requested()
        elif tag == "a":
            self._acknowledged(ledger, event.nonza)
        return STOP

    def _enable(self, session: Session, ledger: SessionLedger | None, nonza: Nonza) -> bytes:
        """§3.

        :raises StreamError: it is enabled already.
        """
        if ledger is not None:
            session.send_bytes(sm.failed("unexpected-request"))
            raise StreamError("policy-violation", "stream management is enabled already")
        resume = sm.boolean(nonza.attributes.get("resume", "false"))
        if resume is None:
            return sm.failed("bad-request")
        return self.enable(session, resume=resume, timeout=_seconds(nonza.attributes.get("max")))

    def enable(self, session: Session, *, resume: bool, timeout: int | None = None) -> bytes:
        """Begins to count the stanzas of a session; returns ``<enabled/>``, to be written next.

        :param resume: the client wants to resume.
        :param timeout: how long it would like to be waited for at most, in seconds.
        """
        resume = resume and self.options.buffer
        longest = self.options.resume_timeout
        timeout = min(timeout or longest, longest)
        resume_id = new_resume_id(session.sid) if resume else ""
        session.ledger = ledger = SessionLedger(session, self, resume_id, timeout)
        if self.options.buffer:
            session.flag(FLAG)
        if resume:
            self.table.add(ledger)
        return sm.enabled(resume_id, timeout, self.options.location)

    def _acknowledged(self, ledger: SessionLedger, nonza: Nonza) -> None:
        h = sm.count_in(nonza.attributes)
        if h is None:
            raise StreamError("policy-violation", "invalid h")
        try:
            self._settle(ledger, h)
        except sm.CountTooHigh as error:
            raise error.stream_error from error

    def _settle(self, ledger: SessionLedger, h: int) -> None:
        gone = ledger.acknowledge(h)
        entries = [entry for _, entry, _ in gone if entry is not None]
        if entries:
            self.host.hooks.fire(MessagesAcknowledged(ledger.session, entries))

    # -- resumption

    @on(UnboundNonza)
    async def unbound_nonza(self, event: UnboundNonza) -> Outcome:
        """Elements of a client that has logged in and not bound a resource."""
        namespace, tag = event.nonza.name
        if namespace != ns.SM:
            return None
        stream = event.stream
        if tag != "resume":
            stream.send_bytes(sm.failed("unexpected-request"))  # §3
            return STOP
        assert stream.user is not None
        try:
            claim = self.claim if self.handover is None else self.handover.claim
            ledger, h = await claim(stream.user, event.nonza.attributes)
        except Refused as refusal:
            reason = refusal.condition
            self.log.info("session_not_resumed user=%s reason=%s", stream.user.bare, reason)
            stream.send_bytes(sm.failed(refusal.condition, refusal.h))
            return STOP
        if not stream.closed:
            stream.send_bytes(self.attach(ledger, stream, h))
            self.resend(ledger)
        return STOP

    async def claim(self, user: JID, attributes: dict[str, str]) -> tuple[SessionLedger, int]:
        """Finds the session of this node that ``<resume/>`` asks for, parts it from its connection.

        :returns: its ledger, and how much the client has handled; to be attached at once.
        :raises Refused: it cannot be resumed.
        :raises StreamError: the client claims to have handled more than it was sent.
        """
        previous, h = attributes.get("previd"), sm.count_in(attributes)
        if previous is None or h is None:
            raise Refused("bad-request")
        if not self.options.buffer:
            raise Refused("feature-not-implemented")  # §5
        while True:
            if self.handover is not None and previous in self.handover.moving:
                await self.handover.moving[previous].when_ended()
                continue
            ledger = self.table.find(previous)
            if ledger is None or ledger.session.bare != user or not _can_resume(ledger, h):
                raise Refused("item-not-found", self.stale.recall(previous, user))
            if ledger.session.connected:
                ledger.session.detach("conflict", "Resumed by new connection")
                self._hibernate(ledger)
            if ledger.settled:
                return ledger, h
            # What is under way is handled soon; told too early, the client would send it twice
            await ledger.when_settled()

    def attach(self, ledger: SessionLedger, stream: StreamLike, h: int) -> bytes:
        """Gives a claimed session its new stream; returns ``<resumed/>``, to be written next."""
        self._settle(ledger, h)
        self._wake(ledger)
        session = ledger.session
        ledger.look_anew()
        stream.bound(session)
        session.last_activity = self.clock.seconds()
        self.resumed_count.inc()
        self.log.info("session_resumed jid=%s resent=%d", session.jid, ledger.queued)
        return sm.resumed(ledger.resume_id, ledger.resume())

    def resend(self, ledger: SessionLedger) -> None:
        """§5: writes what the client has not handled."""
        session = ledger.session
        for data, entry, at in ledger:
            stanza = delayed(sm.stanza_of(data, entry), self.host.domain, at)
            session.send_bytes(stanza.to_bytes())
        if self.options.ack:
            ledger.ask()
        self.host.hooks.fire(SessionResumed(session))

    # -- lost connections

    @on(SessionDisconnected, Order.LAST)
    def disconnected(self, event: SessionDisconnected) -> Outcome:
        """Keeps a session that can be resumed."""
        ledger = _ledger(event.session)
        if ledger is None or not ledger.resume_id:
            return None
        if not ledger.complete or self._is_too_much(ledger):
            return None
        self._hibernate(ledger)
        if ledger.queued > self.rules.limit:
            self.overflowed(ledger)
        return STOP

    def _hibernate(self, ledger: SessionLedger, seconds: float | None = None) -> None:
        ledger.look_anew()
        ledger.session.hibernate()
        ledger.expires_at = self.clock.seconds() + (ledger.timeout if seconds is None else seconds)
        self._deadlines.add(ledger, ledger.expires_at)
        jid, seconds, queued = ledger.session.jid, ledger.timeout, ledger.queued
        self.log.info("session_waits jid=%s seconds=%d unacknowledged=%d", jid, seconds, queued)

    def _wake(self, ledger: SessionLedger) -> None:
        if ledger.expires_at is not None:
            self._deadlines.discard(ledger, ledger.expires_at)
            ledger.expires_at = None

    def _expire(self, ledger: SessionLedger) -> None:
        self.expired_count.inc()
        ledger.session.close("connection-timeout")

    @on(SessionClosed, Order.LATE)
    def closed(self, event: SessionClosed) -> None:
        """§4: what the client has not acknowledged goes elsewhere."""
        ledger = _ledger(event.session)
        if ledger is not None:
            self._bury(ledger, event.reason)

    def _bury(self, ledger: SessionLedger, reason: str) -> None:
        session = ledger.session
        session.ledger = None
        self._wake(ledger)
        if ledger.resume_id:
            self.table.remove(ledger)
            if self.options.stale_h.enabled and reason != "normal":
                h = ledger.tell()
                self.stale.remember(ledger.resume_id, session.bare, h, self.clock.seconds())
        ledger.end_waiting()
        left = ledger.take()
        if ledger.dropped is not None:  # tells those who keep the log that there is something
            left.insert(0, ledger.dropped)
        self.rerouted_count.inc(len(left))
        reroute(session, left)

    # -- other nodes

    @on(NodeLeaves)
    async def leave(self, event: NodeLeaves) -> None:
        """Gives the sessions that wait for their clients to other nodes."""
        if self.handover is not None:
            await self.handover.leave()

    def waiting(self) -> list[SessionLedger]:
        """The sessions that wait for their clients."""
        ledgers = map(_ledger, self.host.sessions.local())
        return [ledger for ledger in ledgers if ledger is not None and ledger.expires_at]

    def wait_no_longer(self, ledger: SessionLedger) -> float:
        """A waiting session is not to be found any more; returns how long it would have waited."""
        expires_at = ledger.expires_at or 0.0
        self._wake(ledger)
        self.table.remove(ledger)
        return max(0.0, expires_at - self.clock.seconds())

    def keep(self, ledger: SessionLedger, seconds: float) -> None:
        """Has a session that has come, or stays after all, wait for its client."""
        self.table.add(ledger)
        self._hibernate(ledger, seconds)

    def let_go(self, ledger: SessionLedger) -> None:
        """A session goes on elsewhere: there is nothing to be rerouted."""
        ledger.session.ledger = None
        ledger.end_waiting()

    # -- what ledgers ask for

    def watch_idle(self, ledger: SessionLedger) -> None:
        """Looks at a ledger whose line may be falling idle, half a second from now.

        Each in its own time, with one timer: if all were asked at once, they would answer at once,
        and the messages of that instant would wait for the answers of all.
        """
        if not self._idle:
            self.later(_IDLE, self._look_at_idle)
        self._idle.append((self.clock.seconds() + _IDLE, ledger))

    def _look_at_idle(self) -> None:
        now = self.clock.seconds()
        while self._idle and self._idle[0][0] <= now:
            _, ledger = self._idle.popleft()
            if ledger.idle():
                self._idle.append((now + _IDLE, ledger))
        if self._idle:
            self.later(max(_APART, self._idle[0][0] - now), self._look_at_idle)

    def overflowed(self, ledger: SessionLedger) -> None:
        """A client does not acknowledge. If it is there, or was just now, it is given some time."""
        seconds = self._patience(ledger)
        if ledger.session.connected and (ledger.dropping or self._is_too_much(ledger)):
            self._drop(ledger)
        elif seconds <= 0 or self._is_too_much(ledger):
            self.later(0, self._give_up, ledger)
        elif ledger.acknowledged_before is None:
            ledger.acknowledged_before = ledger.acknowledged
            self.later(seconds, self._judge, ledger)

    def _is_too_much(self, ledger: SessionLedger) -> bool:
        """Whether more waits for an acknowledgement than a client may be given time for."""
        return ledger.queued > self.rules.limit + self.rules.burst

    def _patience(self, ledger: SessionLedger) -> float:
        """Seconds that a client has; what it has acknowledged may be lost with its connection."""
        if ledger.expires_at is None:
            return _GRACE
        return ledger.expires_at - ledger.timeout + _GRACE - self.clock.seconds()

    def _give_up(self, ledger: SessionLedger) -> None:
        if ledger.session.ledger is ledger and ledger.queued > self.rules.limit:
            ledger.session.close("resource-constraint", "too many unacked stanzas")

    def _judge(self, ledger: SessionLedger) -> None:
        before, ledger.acknowledged_before = ledger.acknowledged_before, None
        if ledger.session.ledger is not ledger or ledger.queued <= self.rules.limit:
            return
        if ledger.acknowledged == before and ledger.session.connected:
            self._drop(ledger)
        else:
            self.overflowed(ledger)

    def _drop(self, ledger: SessionLedger) -> None:
        """What is in the message log stays there alone; a message that is not is too precious."""
        ledger.dropping = True
        while ledger.queued > self.rules.limit:
            data, entry, _ = ledger.oldest()
            if entry is None and data.startswith(b"<message"):
                self.later(0, self._give_up, ledger)
                return
            item = ledger.drop()
            if entry is not None:
                ledger.dropped = item
            self.overflow_count.inc()


def _ledger(session: SessionLike) -> SessionLedger | None:
    ledger = session.ledger if isinstance(session, Session) else None
    return ledger if isinstance(ledger, SessionLedger) else None


def _can_resume(ledger: SessionLedger, h: int) -> bool:
    """Whether all that the client lacks is still here.

    :raises StreamError: it claims to have handled more than it was sent.
    """
    try:
        return ledger.can_resume(h)
    except sm.CountTooHigh as error:
        raise error.stream_error from error


def _seconds(text: str | None) -> int | None:
    """The client's ``max``; what is no positive integer is no wish."""
    if text is None or not (text.isascii() and text.isdigit() and len(text) <= 9):
        return None
    return int(text) or None
