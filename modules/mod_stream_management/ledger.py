"""The counts of one session, and when its client is asked for an acknowledgement."""

from dataclasses import dataclass
from math import inf
from time import time
from typing import Final, Protocol

from twisted.internet.defer import Deferred

from modules.mod_stream_management.options import StreamManagementOptions
from mongoosetw.c2s.session import Session
from mongoosetw.module import Timer
from mongoosetw.net.flush import TurnFlusher
from mongoosetw.xmpp import sm
from mongoosetw.xmpp.stanza import Stanza

_GROWTH: Final = 25
"""So many stanzas without a request are asked for at once."""
_BURST: Final = 20
"""So many times ``buffer_max`` may be on the way for some seconds."""
_PATIENCE: Final = 5.0
"""Seconds after which fewer stanzas than ``ack_freq`` are worth a request, too."""


@dataclass(frozen=True, slots=True)
class Rules:
    """What the options mean for a ledger.

    :ivar queues: stanzas are kept until they are acknowledged.
    :ivar limit: how many may be kept for long, and ``burst`` for seconds.
    :ivar growth: how many are asked for at once; infinite if nobody is asked.
    :ivar frequency: how many are asked for when the line falls idle.
    """

    queues: bool
    limit: float
    burst: float
    growth: float
    frequency: int

    @classmethod
    def of(cls, options: StreamManagementOptions) -> "Rules":
        """Reads the options."""
        limit = options.buffer_max if options.buffer else inf
        growth = max(options.ack_freq, _GROWTH)
        growth = int(max(1, min(growth, limit // 4))) if limit != inf else growth
        return cls(
            options.buffer,
            limit,
            limit * _BURST,
            growth if options.ack else inf,
            options.ack_freq,
        )


class Keeper(Protocol):
    """What a ledger needs of the module."""

    rules: Rules
    flusher: TurnFlusher

    def watch_idle(self, ledger: "SessionLedger") -> None:
        """Has :meth:`SessionLedger.idle` called in a while."""

    def overflowed(self, ledger: "SessionLedger") -> None:
        """More is queued than the rules allow."""


class SessionLedger:
    """Counts the stanzas of one session in both directions.

    :ivar resume_id: with which the client can resume the session, empty if it cannot.
    :ivar timeout: seconds that the session waits for its client.
    :ivar expiry: the end of that time, while it runs; ``expires_at`` on the server's clock.
    :ivar acknowledged_before: how much had been acknowledged when the queue grew too long,
        while the client is given time.
    :ivar dropping: what exceeds the limit is dropped.
    """

    __slots__ = (
        "_asked",
        "_flushing",
        "_listed",
        "_look_at",
        "_settled",
        "_wants_ack",
        "acknowledged_before",
        "dropping",
        "expires_at",
        "expiry",
        "inbound",
        "keeper",
        "outbound",
        "receive",
        "resume_id",
        "session",
        "timeout",
    )

    def __init__(self, session: Session, keeper: Keeper, resume_id: str, timeout: int) -> None:
        self.session = session
        self.keeper = keeper
        self.resume_id = resume_id
        self.timeout = timeout
        self.expires_at = 0.0
        self.expiry: Timer | None = None
        self.inbound = sm.Inbound(self._on_settled)
        self.receive = self.inbound.receive
        self.outbound = sm.Outbound()
        self.dropping = False
        self.acknowledged_before: int | None = None
        self._asked = 0
        self._look_at: float = 0
        self._listed: float | None = None
        self._flushing = False
        self._wants_ack = False
        self._settled: list[Deferred[None]] | None = None

    def take_over(self, keeper: Keeper) -> None:
        """The module was started anew, with other options."""
        self.keeper = keeper
        self.acknowledged_before = None
        self._listed = None
        self._look_at = 0

    # -- from the client

    def requested(self) -> None:
        """``<r/>``: answered at once, or when all that came before it is handled."""
        self.inbound.asked()
        self._answer()

    def _answer(self) -> None:
        answer = self.inbound.answer()
        if answer is not None:
            self.session.send_bytes(answer)

    def _on_settled(self) -> None:
        """A commit settles many stanzas in a turn; they get one answer at its end."""
        if self.inbound.owes:
            self._at_end_of_turn()
        if self.inbound.settled:
            self.end_waiting()

    def end_waiting(self) -> None:
        """Fires what :meth:`when_settled` has returned."""
        waiting, self._settled = self._settled, None
        for deferred in waiting or ():
            deferred.callback(None)

    def when_settled(self) -> Deferred[None]:
        """Fires when all that was received is handled, or the session is over."""
        waiting: Deferred[None] = Deferred()
        if self._settled is None:
            self._settled = []
        self._settled.append(waiting)
        return waiting

    def farewell(self) -> bytes:
        """The last count, before the stream is closed (XEP-0198 §4)."""
        return sm.ack(self.inbound.tell())

    # -- to the client

    def sent(self, stanza: Stanza, data: bytes) -> None:
        """Queues a stanza. This is run for each one: all else waits until ``_look_at``."""
        kept = stanza if stanza.log is not None else None
        if self.outbound.append(data, kept, time()) >= self._look_at:
            self._look()

    def acknowledge(self, h: int) -> list[sm.Unacknowledged]:
        """``<a/>``: the client has so many; returns the stanzas that are new among them.

        :raises CountTooHigh: they were not sent.
        """
        gone = self.outbound.acknowledge(h)
        if self.dropping and self.outbound.complete:
            self.dropping = False
        if self.outbound.sent > self._asked and self._listed is None:
            self._look()
        return gone

    def look_anew(self) -> None:
        """The connection is another one, or none: requests that were made are void."""
        self._asked = self.outbound.acknowledged
        self._look_at = 0

    def _look(self) -> None:
        """Decides whether to ask and whether too much is queued, and when to look again."""
        rules, outbound = self.keeper.rules, self.outbound
        if not rules.queues:
            outbound.take()
        excess = len(outbound) - rules.limit
        if excess > 0:
            self.keeper.overflowed(self)
        if excess <= 0 or not self.session.connected:
            look_at = outbound.sent + max(1, 1 - excess)
        else:
            look_at = outbound.sent + (1 if self.dropping else max(1, rules.burst - excess))
        if self.session.connected and rules.growth != inf:
            look_at = min(look_at, self._consider_asking(rules))
        self._look_at = look_at if rules.queues else 0

    def _consider_asking(self, rules: Rules) -> float:
        """Asks, or arranges it; returns the count of sent stanzas at which to look again."""
        if self.outbound.sent - self._asked >= rules.growth:
            self.ask()
        elif self.session.inactive:
            # With the data that has woken the client anyway, and never later (XEP-0352 §1)
            self._wants_ack = True
            self._at_end_of_turn()
        elif self._listed is None:
            self._listed = self._now
            self.keeper.watch_idle(self)
        idle = self._listed is None
        return float(self.outbound.sent + 1 if idle else self._asked + rules.growth)

    def idle(self) -> bool:
        """Asks for what was sent some time ago; returns whether to come again."""
        assert self._listed is not None
        unasked = self.outbound.sent - self._asked
        if self.session.connected and unasked:
            if self._asked > self.outbound.acknowledged:
                return True  # one request is under way
            if unasked < self.keeper.rules.frequency and self._now - self._listed < _PATIENCE:
                return True
            self.ask()
        self._listed = None
        self._look_at = 0
        return False

    def ask(self) -> None:
        """Asks for an acknowledgement of all that was sent, unless it was asked for."""
        if self._asked < self.outbound.sent:
            self._asked = self.outbound.sent
            self.session.send_bytes(sm.REQUEST)

    @property
    def _now(self) -> float:
        return float(self.session.host.server.clock.seconds())

    def _at_end_of_turn(self) -> None:
        if not self._flushing:
            self._flushing = True
            self.keeper.flusher.add(self)

    def flush(self) -> None:
        """The turn ends: answers and asks."""
        self._flushing = False
        wants_ack, self._wants_ack = self._wants_ack, False
        if self.session.connected:
            self._answer()
            if wants_ack:
                self.ask()
