"""The counts of one session, and when its client is asked for an acknowledgement."""

from dataclasses import dataclass
from math import inf
from typing import Final, Protocol

from twisted.internet.defer import Deferred

from modules.mod_stream_management.options import StreamManagementOptions
from mongoosetw.c2s.session import Session
from mongoosetw.net.flush import TurnFlusher
from mongoosetw.xmpp import sm

_GROWTH: Final = 50
"""So many stanzas without a request are asked for at once."""
_BURST: Final = 20
"""So many times ``buffer_max`` may be on the way for some seconds."""
_BUSY: Final = 2.0
"""Seconds after which a line that does not fall idle is asked, too."""
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
        growth = int(max(1, min(growth, limit // 2))) if limit != inf else growth
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


class SessionLedger(sm.StreamLedger):
    """Counts the stanzas of one session in both directions.

    :ivar resume_id: with which the client can resume the session, empty if it cannot.
    :ivar timeout: seconds that the session waits for its client.
    :ivar expires_at: when that time ends, on the server's clock; None while it does not run.
    :ivar acknowledged_before: how much had been acknowledged when the queue grew too long,
        while the client is given time.
    :ivar dropping: what exceeds the limit is dropped.
    :ivar dropped: the last of the logged messages that were dropped.
    """

    __slots__ = (
        "_asked",
        "_flushing",
        "_listed",
        "_seen",
        "_settled",
        "_wants_ack",
        "acknowledged_before",
        "dropped",
        "dropping",
        "expires_at",
        "keeper",
        "resume_id",
        "session",
        "timeout",
    )

    def __init__(self, session: Session, keeper: Keeper, resume_id: str, timeout: int) -> None:
        super().__init__()
        self.session = session
        self.keeper = keeper
        self.resume_id = resume_id
        self.timeout = timeout
        self.expires_at: float | None = None
        self.dropping = False
        self.dropped: sm.Unacknowledged | None = None
        self.acknowledged_before: int | None = None
        self._asked = 0
        self._listed: float | None = None
        self._seen = 0
        self._flushing = False
        self._wants_ack = False
        self._settled: list[Deferred[None]] | None = None

    def take_over(self, keeper: Keeper) -> None:
        """The module was started anew, with other options."""
        self.keeper = keeper
        self.acknowledged_before = None
        self._listed = None
        self.look_at = 0

    # -- from the client

    def requested(self) -> None:
        """``<r/>``: answered at once, or when all that came before it is handled."""
        self.asked()
        self._answer()

    def _answer(self) -> None:
        answer = self.answer()
        if answer is not None:
            self.session.send_bytes(answer)

    def on_settled(self) -> None:
        """A commit settles many stanzas in a turn; they get one answer at its end."""
        if self.owes:
            self._at_end_of_turn()
        if self.settled:
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
        return sm.ack(self.tell())

    # -- to the client

    def acknowledge(self, h: int) -> list[sm.Unacknowledged]:
        """``<a/>``: the client has so many; returns the stanzas that are new among them.

        :raises CountTooHigh: they were not sent.
        """
        gone = super().acknowledge(h)
        if self.dropping and self.complete:
            self.dropping = False
            self.dropped = None
        return gone

    def look_anew(self) -> None:
        """The connection is another one, or none: requests that were made are void."""
        self._asked = self.acknowledged
        self.look_at = 0

    def on_grown(self) -> None:
        """Decides whether to ask and whether too much is queued, and when to look again."""
        rules = self.keeper.rules
        if not rules.queues:
            self.take()
        excess = self.queued - rules.limit
        if excess > 0:
            self.keeper.overflowed(self)
        if excess <= 0 or not self.session.connected:
            look_at = self.sent + max(1, 1 - excess)
        else:
            look_at = self.sent + (1 if self.dropping else max(1, rules.burst - excess))
        if self.session.connected and rules.growth != inf:
            look_at = min(look_at, self._consider_asking(rules))
        self.look_at = look_at if rules.queues else 0

    def _consider_asking(self, rules: Rules) -> float:
        """Asks, or arranges it; returns the count of sent stanzas at which to look again."""
        if self.sent - self._asked >= rules.growth or self.session.inactive:
            # An inactive client with the data that has woken it anyway, never later (XEP-0352 §1)
            self._wants_ack = True
            self._at_end_of_turn()
            return self.sent + rules.growth
        if self._listed is None:
            self._listed = self._now
            self._seen = self.sent
            self.keeper.watch_idle(self)
        return self._asked + rules.growth

    def idle(self) -> bool:
        """Asks when nothing was sent for a while; returns whether to come again."""
        sent, seen, self._seen = self.sent, self._seen, self.sent
        if self.session.connected and sent > self._asked:
            if self._asked > self.acknowledged:
                return True  # one request is under way
            waited = self._now - (self._listed or 0.0)
            few = sent - self._asked < self.keeper.rules.frequency
            if (sent != seen and waited < _BUSY) or (few and waited < _PATIENCE):
                return True
            self.ask()
        self._listed = None
        self.look_at = 0
        return False

    def ask(self) -> None:
        """Asks for an acknowledgement of all that was sent, unless it was asked for."""
        if self._asked < self.sent:
            self._asked = self.sent
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
                self.look_at = 0
