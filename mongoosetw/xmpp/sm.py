"""Stream management (XEP-0198) without I/O: what was received, what was sent, and its XML.

Counts grow without end inside; only on the wire they are taken modulo 2³² (§4).
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from time import time
from typing import Any, Final, Protocol

from mongoosetw.xmpp import ns
from mongoosetw.xmpp.errors import StreamError
from mongoosetw.xmpp.stanza import Receipt, Stanza, escape

_MASK: Final = (1 << 32) - 1


class Ledger(Protocol):
    """What a session that counts its stanzas tells of each of them."""

    def receive(self) -> Receipt:
        """The client sent a stanza; it counts as handled when nobody holds its receipt."""

    def append(self, stanza: Stanza, data: bytes) -> None:
        """A stanza was written to the client, or would have been if it were connected."""

    def farewell(self) -> bytes:
        """What is written in front of the closing tag."""


@dataclass(slots=True)
class CountTooHigh(Exception):
    """The peer says that it has handled more than was sent; the stream cannot go on (§6).

    :ivar h: the count that it named.
    :ivar sent: how many were sent, modulo 2³².
    """

    h: int
    sent: int

    @property
    def stream_error(self) -> StreamError:
        """The stream error of §6."""
        counts = f"h='{self.h}' send-count='{self.sent}'"
        condition = f"<handled-count-too-high xmlns='{ns.SM}' {counts}/>"
        return StreamError(
            "undefined-condition",
            f"You acknowledged {self.h} stanzas, but I have sent {self.sent} so far.",
            app=condition.encode(),
        )


Unacknowledged = tuple[bytes, Any, float]
"""A stanza that was sent and not acknowledged: its bytes; its entry in the message log, None if
it is not there; when it was sent, in seconds since 1970. See :func:`stanza_of`."""


@dataclass(frozen=True, slots=True)
class Counts:
    """How far a stream is, to go on elsewhere: all that was received is handled."""

    received: int
    sent: int
    acknowledged: int


class StreamLedger:
    """The counts of one managed stream, and what its client has not acknowledged.

    The client's stanzas are received one after the other. One counts as handled when nobody
    holds its receipt; ``h`` counts up to the first that somebody holds. What is sent to the
    client is queued, in order, until it says that it has handled it. A subclass decides what
    happens when something was settled, and when the queue has grown.

    :ivar received: how many stanzas the client has sent.
    :ivar sent: how many were sent to it, and ``acknowledged``: how many of these it has handled.
    :ivar look_at: at which count of ``sent`` to call :meth:`on_grown`.
    """

    __slots__ = (
        "_due",
        "_due_last",
        "_held",
        "_queue",
        "_told",
        "acknowledged",
        "look_at",
        "received",
        "sent",
    )

    def __init__(self) -> None:
        self.received = 0
        self._told = 0
        self._held: dict[int, None] | None = None  # in ascending order
        self._due: int | None = None
        self._due_last = 0
        self._queue: list[Unacknowledged] = []  # short, and an empty list is small
        self.sent = 0
        self.acknowledged = 0
        self.look_at: float = 0

    @property
    def counts(self) -> Counts:
        """How far the stream is, once it is settled."""
        return Counts(self.received, self.sent, self.acknowledged)

    def restore(self, counts: Counts, queue: Iterable[Unacknowledged]) -> None:
        """Goes on where another ledger was when it had these counts and this queue."""
        self.received = self._told = counts.received
        self.sent = counts.sent
        self.acknowledged = counts.acknowledged
        self._queue = list(queue)

    # -- from the client

    def receive(self) -> Receipt:
        """Counts a stanza."""
        self.received = number = self.received + 1
        return StanzaReceipt(self, number)

    @property
    def handled(self) -> int:
        """How many stanzas have been handled without a gap."""
        return next(iter(self._held)) - 1 if self._held else self.received

    @property
    def settled(self) -> bool:
        """Whether all that was received is handled."""
        return not self._held

    def tell(self) -> int:
        """The present ``h``, for the wire; what was told can no longer be held."""
        self._told = self.handled
        return self._told & _MASK

    def asked(self) -> None:
        """The client asks for an acknowledgement of all that it has sent (§4)."""
        if self._due is None:
            self._due = self.received
        self._due_last = self.received

    @property
    def owes(self) -> bool:
        """Whether an answer is due."""
        return self._due is not None and self._due <= self.handled

    def answer(self) -> bytes | None:
        """The ``<a/>`` that is owed now. One answers all requests that came before it."""
        if not self.owes:
            return None
        h = self.tell()
        # Requests that came meanwhile are owed another one; the goal must not move on with them
        self._due = self._due_last if self._due_last > self._told else None
        return ack(h)

    def resume(self) -> int:
        """The stream goes on over another connection; returns the ``h`` to tell first."""
        self._due = None
        return self.tell()

    def hold(self, number: int) -> None:
        """Somebody holds a stanza that nobody held."""
        if number <= self._told:
            return
        held = self._held
        if not held:  # as most often: each stanza is the newest when it is held
            self._held = {number: None}
        elif number > next(reversed(held)):
            held[number] = None
        else:
            self._held = dict.fromkeys(sorted([*held, number]))

    def settle(self, number: int) -> None:
        """Nobody holds a stanza any more."""
        held = self._held
        if held and number in held:
            del held[number]
            if not held or (self._due is not None and self._due < next(iter(held))):
                self.on_settled()

    def on_settled(self) -> None:
        """No stanza is held any longer, or an answer may be due that was not."""

    # -- to the client

    def append(self, stanza: Stanza, data: bytes) -> None:
        """Queues a stanza and its bytes. It is run for every one: so this is all that it does."""
        self._queue.append((data, stanza.log, time()))
        self.sent = sent = self.sent + 1
        if sent >= self.look_at:
            self.on_grown()

    def on_grown(self) -> None:
        """So many stanzas were sent as :attr:`look_at` says."""

    @property
    def queued(self) -> int:
        """How many stanzas wait for the client's acknowledgement."""
        return len(self._queue)

    def __iter__(self) -> Iterator[Unacknowledged]:
        return iter(self._queue)

    @property
    def complete(self) -> bool:
        """Whether everything that was not acknowledged is still here, to be sent again."""
        return self.sent - len(self._queue) <= self.acknowledged

    def behind(self, h: int) -> bool:
        """Whether ``h`` is less than what was acknowledged before."""
        return (h - self.acknowledged) & _MASK > _MASK >> 1

    def acknowledge(self, h: int) -> list[Unacknowledged]:
        """The client has handled so many stanzas; returns those that are new among them.

        :raises CountTooHigh: so many were not sent.
        """
        if self.behind(h):
            return []
        self.acknowledged = handled = self._handled(h)
        new = max(0, handled - self.sent + len(self._queue))
        gone = self._queue[:new]
        del self._queue[:new]
        return gone

    def _handled(self, h: int) -> int:
        handled = self.acknowledged + ((h - self.acknowledged) & _MASK)
        if handled > self.sent:
            raise CountTooHigh(h, self.sent & _MASK)
        return handled

    def can_resume(self, h: int) -> bool:
        """Whether all that a client lacks that has handled so many stanzas is still here.

        :raises CountTooHigh: so many were not sent.
        """
        return not self.behind(h) and self.sent - len(self._queue) <= self._handled(h)

    def oldest(self) -> Unacknowledged:
        """The stanza that has waited longest.

        :raises IndexError: none waits.
        """
        return self._queue[0]

    def drop(self) -> Unacknowledged:
        """Forgets the oldest stanza although it was not acknowledged.

        :raises IndexError: none waits.
        """
        return self._queue.pop(0)

    def take(self) -> list[Unacknowledged]:
        """Empties the queue."""
        taken, self._queue = self._queue, []
        return taken


class StanzaReceipt:
    """The receipt of one stanza (see :class:`~mongoosetw.xmpp.stanza.Receipt`)."""

    __slots__ = ("_holds", "_ledger", "_number")

    def __init__(self, ledger: StreamLedger, number: int) -> None:
        self._ledger = ledger
        self._number = number
        self._holds = 0

    def hold(self) -> None:
        """Delays the stanza's acknowledgement."""
        self._holds += 1
        if self._holds == 1:
            self._ledger.hold(self._number)

    def release(self) -> None:
        """Undoes one :meth:`hold`."""
        self._holds -= 1
        if not self._holds:
            self._ledger.settle(self._number)


def stanza_of(data: bytes, entry: Any) -> Stanza:
    """A stanza that was sent and not acknowledged, out of what was kept of it."""
    stanza = Stanza.parse(data)
    stanza.log = entry
    return stanza


def count_in(attributes: Mapping[str, str]) -> int | None:
    """The ``h`` of an element, ``None`` unless it is an unsigned 32-bit integer."""
    text = attributes.get("h", "").strip()
    if not (text.isascii() and text.isdigit() and len(text) <= 10):
        return None
    h = int(text)
    return h if h <= _MASK else None


def boolean(text: str) -> bool | None:
    """An ``xs:boolean``, ``None`` if it is none."""
    return {"true": True, "1": True, "false": False, "0": False}.get(text.strip())


def ack(h: int) -> bytes:
    """An answer: so many stanzas were handled (§4)."""
    return b"<a xmlns='urn:xmpp:sm:3' h='%d'/>" % h


def enabled(resume_id: str = "", timeout: int = 0, location: str = "") -> bytes:
    """Stream management is on (§3); with ``resume_id`` the stream can be resumed."""
    attributes = ""
    if resume_id:
        attributes = f" resume='true' id='{escape(resume_id)}' max='{timeout}'"
        if location:
            attributes += f" location='{escape(location)}'"
    return f"<enabled xmlns='{ns.SM}'{attributes}/>".encode()


def resumed(previous_id: str, h: int) -> bytes:
    """The stream is resumed (§5)."""
    return f"<resumed xmlns='{ns.SM}' previd='{escape(previous_id)}' h='{h}'/>".encode()


def failed(condition: str, h: int | None = None) -> bytes:
    """Stream management could not be switched on, or the stream not resumed (§5, §6).

    :param condition: a stanza error condition (RFC 6120 §8.3.3).
    :param h: how much of a session that is over was handled.
    """
    count = "" if h is None else f" h='{h}'"
    return f"<failed xmlns='{ns.SM}'{count}><{condition} xmlns='{ns.STANZAS}'/></failed>".encode()


FEATURE: Final = f"<sm xmlns='{ns.SM}'/>".encode()
REQUEST: Final = f"<r xmlns='{ns.SM}'/>".encode()
