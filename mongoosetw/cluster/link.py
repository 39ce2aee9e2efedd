"""An established link: what is sent in one turn leaves together, and what arrives is handed on."""

import logging
import time
from collections.abc import Callable
from typing import Any, Final, Protocol

from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.python.failure import Failure
from twisted.spread.pb import PBConnectionLost

from mongoosetw.cluster.frames import BadBatch, Inbox, Outbox
from mongoosetw.cluster.hello import Agreed
from mongoosetw.cluster.mesh import Node
from mongoosetw.cluster.pb import LinkConnection

WINDOW: Final = 1024 * 1024
"""Bytes that may be on their way; the rest waits where it is counted."""
SKEW: Final = 2.0
"""Seconds that two nodes' clocks may differ: ids, and whose session is the newer, go by time."""
GATHERED: Final = 0.01
"""Seconds that what is patient waits for company at most."""
_AT_ONCE: Final = 8
"""Batches that may leave before anything waits: only where much happens is there company."""
TOLD: Final = 64 * 1024
"""Bytes that are taken before the other node is told so; with each beat it is told anyway."""

logger = logging.getLogger(__name__)


class Owner(Protocol):
    """The mesh, as a link sees it."""

    clock: IReactorTime

    def dispatch(self, node: Node, channel: str, payload: bytes) -> None:
        """Hands on what has arrived."""

    def give_up(self, link: "Link", reason: str) -> None:
        """The link is of no use any more."""

    def clock_differs(self, link: "Link") -> None:
        """The other node's clock is far from this one's."""


class Link:
    """A link to one node.

    :ivar farewell: why the other node said it would leave; None while it has not.
    :ivar lag: seconds to the other node and back, as last measured; None at first.
    :ivar skew: seconds that its clock is ahead of ours.
    :ivar queued: asked the flusher already, this turn.
    """

    def __init__(
        self,
        owner: Owner,
        connection: LinkConnection,
        agreed: Agreed,
        queue_size: int,
        now: Callable[[], float] = time.time,
    ) -> None:
        self.node = agreed.member.node
        self.agreed = agreed
        self.connection = connection
        self.outbox = Outbox(queue_size)
        self.farewell: str | None = None
        self.lag: float | None = None
        self.skew = 0.0
        self.queued = False
        self._spent_until = 0.0
        self._gathering: IDelayedCall | None = None
        self._differs = False
        self._batches = 0
        self._bytes = 0
        self._inbox = Inbox(queue_size)
        self._owner = owner
        self._now = now

    # -- what the other node calls

    def take(self, batch: bytes) -> None:
        """Takes the payloads of a turn."""
        self._batches += 1
        self._bytes += len(batch)
        if self._bytes >= TOLD:
            self._tell()
        try:
            for channel, payload in self._inbox.unpack(batch):
                self._owner.dispatch(self.node, channel, payload)
        except BadBatch as error:
            self._owner.give_up(self, f"it sent what cannot be read: {error}")

    def _tell(self) -> None:
        """Makes room in the other node's queue; an answer to each batch would cost as much."""
        batches, self._batches, self._bytes = self._batches, 0, 0
        if batches:
            self.connection.send_taken(batches)

    def taken(self, batches: int) -> None:
        """The other node has what was sent first of what is on its way."""
        try:
            self.outbox.settle(batches)
        except IndexError:
            self._owner.give_up(self, "it has taken more than was sent")
            return
        self._pump()

    def beat(self) -> float:
        """Answers with this node's time, in seconds since 1970."""
        return self._now()

    def leave(self, reason: str) -> None:
        """The other node is about to close the link for good."""
        self.farewell = reason

    # -- what this node sends

    def gathers(self) -> bool:
        """Has what was queued wait for more to come, if much has left lately.

        A batch costs the other node a turn, whatever is in it.

        :returns: False if it is to leave with this turn.
        """
        if self._gathering is None:
            clock = self._owner.clock
            seconds = self._spent_until - (_AT_ONCE - 1) * GATHERED - clock.seconds()
            if seconds <= 0:
                return False
            self._gathering = clock.callLater(seconds, self._gathered)
        return True

    def _gathered(self) -> None:
        self._gathering = None
        self._pump()

    def flush(self) -> None:
        """Sends what this turn has queued, and what has waited for that."""
        self.queued = False
        self._pump()

    def _pump(self) -> None:
        outbox = self.outbox
        while outbox.waiting and outbox.on_its_way < WINDOW and not self.connection.gone:
            self.connection.send_batch(outbox.take())
            now = self._owner.clock.seconds()
            spent = max(self._spent_until, now) + GATHERED
            self._spent_until = min(spent, now + _AT_ONCE * GATHERED)

    def stop(self) -> None:
        """The link is of no use any more."""
        if self._gathering is not None:
            self._gathering.cancel()
            self._gathering = None

    def _failed(self, failure: Failure) -> None:
        if not failure.check(PBConnectionLost):
            self._owner.give_up(self, f"it could not answer: {failure.type}")

    def send_beat(self) -> None:
        """Asks for a sign of life."""
        self._tell()
        sent = self._now()
        self.connection.call("beat").addCallbacks(self._heard, self._failed, callbackArgs=(sent,))

    def _heard(self, theirs: Any, sent: float) -> None:
        now = self._now()
        self.lag = max(0.0, now - sent)
        self.skew = float(theirs) - (sent + now) / 2
        differs = abs(self.skew) > SKEW + self.lag
        if differs and not self._differs:
            self._owner.clock_differs(self)
        self._differs = differs

    def say_goodbye(self, reason: str) -> None:
        """Closes the link for good; the other node is told before."""
        self._pump()
        self.connection.tell("leave", reason)
        self.connection.close()
