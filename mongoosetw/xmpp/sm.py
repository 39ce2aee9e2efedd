"""Stream management (XEP-0198) without I/O: what was received, what was sent, and its XML.

Counts grow without end inside; only on the wire they are taken modulo 2³² (§4).
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final, NamedTuple, Protocol

from mongoosetw.xmpp import ns
from mongoosetw.xmpp.errors import StreamError
from mongoosetw.xmpp.stanza import Receipt, Stanza, escape

_MASK: Final = (1 << 32) - 1


class Ledger(Protocol):
    """What a session that counts its stanzas tells of each of them."""

    def receive(self) -> Receipt:
        """The client sent a stanza; it counts as handled when nobody holds its receipt."""

    def sent(self, stanza: Stanza, data: bytes) -> None:
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


class Unacknowledged(NamedTuple):
    """A stanza that was sent and not acknowledged.

    :ivar data: the stanza's bytes.
    :ivar stanza: the stanza itself if it is in the message log; else it can be read from the bytes.
    :ivar at: when it was sent, seconds since 1970.
    """

    data: bytes
    stanza: Stanza | None
    at: float


class Inbound:
    """Counts what a client sent. One of the client's stanzas after the other is received.

    A stanza counts as handled when nobody holds its receipt; ``h`` counts up to the first
    that somebody holds. Whether an answer is owed to the client is noted here, too.

    :ivar received: how many stanzas the client has sent.
    :ivar on_settled: called when a stanza that was held is held no longer.
    """

    __slots__ = ("_asked", "_asked_last", "_held", "_told", "on_settled", "received")

    def __init__(self, on_settled: Callable[[], None]) -> None:
        self.received = 0
        self.on_settled = on_settled
        self._told = 0
        self._held: dict[int, None] = {}  # in ascending order
        self._asked: int | None = None
        self._asked_last = 0

    def receive(self) -> Receipt:
        """Counts a stanza."""
        self.received += 1
        return StanzaReceipt(self, self.received)

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
        if self._asked is None:
            self._asked = self.received
        self._asked_last = self.received

    @property
    def owes(self) -> bool:
        """Whether an answer is due."""
        return self._asked is not None and self._asked <= self.handled

    def resume(self) -> int:
        """The stream goes on over another connection; returns the ``h`` to tell first."""
        self._asked = None
        return self.tell()

    def answer(self) -> bytes | None:
        """The ``<a/>`` that is owed now. One answers all requests that came before it."""
        if not self.owes:
            return None
        h = self.tell()
        # Requests that came meanwhile are owed another one; the goal must not move on with them
        self._asked = self._asked_last if self._asked_last > self._told else None
        return ack(h)

    def hold(self, number: int) -> None:
        """Somebody holds a stanza that nobody held."""
        if number <= self._told:
            return
        late = bool(self._held) and number < next(reversed(self._held))
        self._held[number] = None
        if late:
            self._held = dict.fromkeys(sorted(self._held))

    def settle(self, number: int) -> None:
        """Nobody holds a stanza any more."""
        if number in self._held:
            del self._held[number]
            self.on_settled()


class StanzaReceipt:
    """The receipt of one stanza (see :class:`~mongoosetw.xmpp.stanza.Receipt`)."""

    __slots__ = ("_holds", "_inbound", "_number")

    def __init__(self, inbound: Inbound, number: int) -> None:
        self._inbound = inbound
        self._number = number
        self._holds = 0

    def hold(self) -> None:
        """Delays the stanza's acknowledgement."""
        self._holds += 1
        if self._holds == 1:
            self._inbound.hold(self._number)

    def release(self) -> None:
        """Undoes one :meth:`hold`."""
        self._holds -= 1
        if not self._holds:
            self._inbound.settle(self._number)


class Outbound:
    """What was sent to a client since its last acknowledgement, in order.

    :ivar sent: how many stanzas were sent.
    :ivar acknowledged: how many of them the client has acknowledged.
    """

    __slots__ = ("_queue", "acknowledged", "sent")

    def __init__(self) -> None:
        self._queue: list[Unacknowledged] = []  # short, and an empty list is small
        self.sent = 0
        self.acknowledged = 0

    def append(self, data: bytes, stanza: Stanza | None, at: float) -> int:
        """Queues a stanza; returns how many were sent."""
        self._queue.append(Unacknowledged(data, stanza, at))
        self.sent += 1
        return self.sent

    def __len__(self) -> int:
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
