"""One connection between two nodes: a hello first, then Twisted PB.

The broker of PB is made when the other node has proven itself. Until then nothing listens that
could be called, and nothing is unpickled.
"""

import logging
from collections.abc import Callable
from typing import Any, Final, Protocol

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall, IHandshakeListener, IReactorTime
from twisted.internet.protocol import Protocol as TwistedProtocol
from twisted.internet.protocol import connectionDone
from twisted.python.failure import Failure
from twisted.spread import banana, jelly, pb
from zope.interface import implementer

from mongoosetw.cluster.hello import Agreed, Handshake, Refused
from mongoosetw.cluster.tls import is_tls, session_binding
from mongoosetw.net.direct import write_now

HELLO_TIMEOUT: Final = 10.0
"""Seconds that a hello may take."""
_NAME: Final = "link"
_BATCH: Final = b"\x02" + banana.LIST + b"\x05" + banana.STRING + b"batch"
"""What Banana makes of a list of two whose first item is the name of the message."""
_BATCH_HEAD: Final = len(_BATCH) + 4
"""Behind it the length of the batch follows: three digits of seven bits, the least first, and
their kind."""

logger = logging.getLogger(__name__)


class Door(Protocol):
    """The mesh, as a new connection sees it."""

    clock: IReactorTime

    def handshake(self, connection: "LinkConnection", binding: bytes) -> Handshake:
        """The hello for a connection; ``binding`` is empty without TLS."""

    def introduced(self, connection: "LinkConnection", agreed: Agreed) -> "Callee":
        """A node has proven itself; what it may call from now on."""

    def established(self, connection: "LinkConnection") -> None:
        """It can be called, too."""

    def refused(self, connection: "LinkConnection", refused: Refused) -> None:
        """There is no link."""

    def lost(self, connection: "LinkConnection", reason: str) -> None:
        """The connection is gone, whatever it was."""


class Callee(Protocol):
    """What a node that has proven itself may call."""

    def take(self, batch: bytes) -> None:
        """Takes the payloads of a turn."""

    def taken(self, batches: int) -> None:
        """The other node has taken so many batches more."""

    def beat(self) -> float:
        """Answers with this node's time, in seconds since 1970."""

    def leave(self, reason: str) -> None:
        """The other node is about to close the link for good."""


class _Reachable(pb.Referenceable):
    """The one object that can be called."""

    def __init__(self, callee: Callee) -> None:
        self._callee = callee

    def remote_beat(self) -> float:
        return self._callee.beat()

    def remote_leave(self, reason: str) -> None:
        self._callee.leave(reason)


def _plain_values() -> jelly.SecurityOptions:
    """Numbers, texts and containers are taken from other nodes, no classes or functions."""
    allowed = jelly.SecurityOptions()
    allowed.allowTypes("tuple", "list", "dictionary")
    return allowed


class _Broker(pb.Broker):
    """A broker with two messages of its own, beside PB's calls.

    A call costs some ten times what these cost: its arguments are turned into s-expressions and
    back, with the names of their types, a number for the answer and the object that is called.
    A batch is not even taken apart item by item, as long as it arrives whole: its head is always
    the same.
    """

    def __init__(self, callee: Callee, *, calling: bool) -> None:
        super().__init__(isClient=calling, security=_plain_values())
        self._callee = callee
        self.setNameForLocal(_NAME, _Reachable(callee))

    def send_batch(self, batch: bytes) -> None:
        size = len(batch)
        digits = bytes((size & 127, size >> 7 & 127, size >> 14))
        write_now(self.transport, b"".join((_BATCH, digits, banana.STRING, batch)))

    def dataReceived(self, chunk: bytes) -> None:
        """Bytes have arrived."""
        position = 0
        if self.currentDialect and not self.buffer and not self.listStack:
            while (end := _end_of_batch(chunk, position)) is not None:
                begin, position = position + _BATCH_HEAD, end
                self._callee.take(chunk[begin:end])
        if position < len(chunk):
            super().dataReceived(chunk[position:])

    def send_taken(self, batches: int) -> None:
        self.sendEncoded((b"taken", batches))

    def proto_batch(self, batch: object) -> None:
        if not isinstance(batch, bytes):
            raise pb.ProtocolError("a batch is bytes")
        self._callee.take(batch)

    def proto_taken(self, batches: object) -> None:
        if not isinstance(batches, int):
            raise pb.ProtocolError("a number of batches is an integer")
        self._callee.taken(batches)


def _end_of_batch(chunk: bytes, position: int) -> int | None:
    """Where a batch ends that begins there; None if there is none, or not all of it."""
    begin = position + _BATCH_HEAD
    if not chunk.startswith(_BATCH, position) or len(chunk) < begin:
        return None
    first, second, third, kind = chunk[begin - 4 : begin]
    end = begin + (first | second << 7 | third << 14)
    whole = kind == banana.STRING[0] and max(first, second, third) < 128 and end <= len(chunk)
    return end if whole else None


class _Ready:
    """What a broker wants of its factory: to be told that it can be used."""

    unsafeTracebacks = False

    def __init__(self, ready: Callable[[], None]) -> None:
        self._ready = ready

    def clientConnectionMade(self, broker: pb.Broker) -> None:
        self._ready()


@implementer(IHandshakeListener)
class LinkConnection(TwistedProtocol):
    """A connection to another node, or to somebody who has to prove that first.

    :ivar address: of the other end, for the log.
    :ivar expected: name of the node that this one has connected to; None if it was called.
    :ivar calling: this node has connected.
    :ivar heard: when something last arrived, by the clock.
    :ivar gone: nothing can be sent any more.
    """

    transport: Any
    send_batch: Callable[[bytes], None]
    send_taken: Callable[[int], None]

    def __init__(self, door: Door, address: str, expected: str | None = None) -> None:
        self.expected = expected
        self.calling = expected is not None
        self.gone = False
        self.address = address
        self.heard = door.clock.seconds()
        self.agreed: Agreed | None = None
        self._door = door
        self._hello: Handshake | None = None
        self._timer: IDelayedCall | None = None
        self._broker: _Broker | None = None
        self._remote: Any = None
        self._over = False

    def connectionMade(self) -> None:
        """Waits for TLS, if there is any, and begins the hello."""
        self._timer = self._door.clock.callLater(HELLO_TIMEOUT, self._too_slow)
        if not is_tls(self.transport):
            self._begin(b"")

    def handshakeCompleted(self) -> None:
        """TLS is up (twisted.internet.interfaces.IHandshakeListener)."""
        self._begin(session_binding(self.transport))

    def _begin(self, binding: bytes) -> None:
        self._hello = self._door.handshake(self, binding)
        self.transport.write(self._hello.start())

    def dataReceived(self, data: bytes) -> None:
        """Bytes have arrived."""
        self.heard = self._door.clock.seconds()
        if self._broker is not None:
            self._broker.dataReceived(data)
        elif self._hello is not None and not self._over:
            self._continue(self._hello, data)

    def _continue(self, hello: Handshake, data: bytes) -> None:
        try:
            answer, agreed = hello.receive(data)
        except Refused as refused:
            self.refuse(refused)
            return
        self.transport.write(answer)
        if agreed is not None:
            self._agree(agreed)

    def refuse(self, refused: Refused) -> None:
        """Says why there will be no link, and closes."""
        self._over = True
        self.transport.write(refused.tell)
        self.transport.loseConnection()
        self._door.refused(self, refused)

    def _too_slow(self) -> None:
        self._timer = None
        self._over = True
        self._door.refused(self, Refused(f"no hello within {HELLO_TIMEOUT:g} seconds"))
        self.transport.abortConnection()

    def _agree(self, agreed: Agreed) -> None:
        self.agreed = agreed
        callee = self._door.introduced(self, agreed)
        broker: Any = _Broker(callee, calling=self.calling)
        broker.factory = _Ready(self._ready)
        self._broker = broker
        self.send_batch, self.send_taken = broker.send_batch, broker.send_taken
        broker.makeConnection(self.transport)
        if agreed.rest:
            broker.dataReceived(agreed.rest)

    def _ready(self) -> None:
        self._stop_timer()
        assert self._broker is not None
        self._remote = self._broker.remoteForName(_NAME)
        if not self._over:
            self._door.established(self)

    def _stop_timer(self) -> None:
        timer, self._timer = self._timer, None
        if timer is not None:
            timer.cancel()

    def call(self, method: str, *args: object) -> "Deferred[Any]":
        """Calls a method of the other node's :class:`Callee`."""
        called: Deferred[Any] = self._remote.callRemote(method, *args)
        return called

    def tell(self, method: str, *args: object) -> None:
        """Calls a method whose answer does not matter."""
        self._remote.callRemote(method, *args, pbanswer=0)

    def drop(self) -> None:
        """Ends the connection at once, whatever waits to be sent."""
        self._over = self.gone = True
        self.transport.abortConnection()

    def close(self) -> None:
        """Ends the connection when everything has been sent."""
        self._over = self.gone = True
        self.transport.loseConnection()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """The connection is gone."""
        self._stop_timer()
        broker, self._broker = self._broker, None
        if broker is not None:
            broker.connectionLost(reason)
        self._over = self.gone = True
        self._door.lost(self, _text(reason))


def _text(reason: Failure) -> str:
    """Why a connection was lost, in words; of OpenSSL's errors the last part says it."""
    error: Any = reason.value
    arguments = getattr(error, "args", ())
    if arguments and isinstance(arguments[0], list) and arguments[0]:
        return "TLS: " + "; ".join(str(part[-1]) for part in arguments[0])
    return str(error).strip(". ") or type(error).__name__
