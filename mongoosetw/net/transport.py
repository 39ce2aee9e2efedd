"""A TCP transport that writes at once where it can, and does TLS on the socket itself.

``write_now`` hands bytes to the kernel without arming the reactor for writing; what the
kernel does not take goes Twisted's ordinary way. TLS reads and writes the socket through
OpenSSL, without memory buffers between: fewer copies, and half the memory of a connection.

A connection is closed in two steps: what we have to say is sent and ended; then we read and
drop what the peer still sends until it closes, too. Closed at once, with bytes of the peer
unread, the kernel would answer with a reset, and our last words would be lost.
"""

import os
import socket
from typing import Any, Final, cast

from OpenSSL import SSL
from twisted.internet import main, tcp
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.internet.protocol import Factory
from twisted.python.failure import Failure

from mongoosetw.net.traffic import Traffic

_RECORD = 16_384
CLOSING_TIME: Final = 5.0
"""Seconds that a peer has to read our last words and to close its side."""


class StreamTransport(tcp.Server):
    """The server's end of an XMPP connection.

    :ivar moved: the kernel has taken something of the queue; whoever watches that clears it.
    """

    moved = False

    _tls: SSL.Connection | None = None
    _handshaking = False
    _closing: IDelayedCall | None = None
    server: "StreamPort"

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._received, self._sent = self.server.traffic.tcp_in, self.server.traffic.tcp_out

    def write_now(self, data: bytes) -> None:
        """Writes ``data`` immediately if nothing is queued before it."""
        if self._tempDataBuffer or self.dataBuffer or self._handshaking or not self.connected:
            self.write(data)
            return
        written = self.writeSomeData(data)
        if isinstance(written, BaseException):
            self.write(data)  # the reactor finds the same error and reports the loss
        elif written < len(data):
            self.write(data[written:])

    @property
    def queued(self) -> int:
        """Bytes that wait for the peer to read."""
        return len(self.dataBuffer) - self.offset + self._tempDataLen

    def start_tls(self, context: SSL.Context) -> None:
        """Speaks TLS from now on; what was written before has left in the clear."""
        self._tls = SSL.Connection(context, self.socket)
        self._tls.set_accept_state()
        self._received, self._sent = self.server.traffic.tls_in, self.server.traffic.tls_out
        self._handshaking = True

    @property
    def tls(self) -> SSL.Connection | None:
        """The TLS connection, if there is one whose handshake is done."""
        return None if self._handshaking else self._tls

    def doRead(self) -> Any:
        """Reads what has arrived."""
        if self._tls is None:
            return super().doRead()
        try:
            if self._handshaking:
                self._handshake()
            data = self._tls.recv(_RECORD)
        except (SSL.WantReadError, SSL.WantWriteError):
            return None
        except SSL.ZeroReturnError:
            return main.CONNECTION_DONE
        except SSL.Error:
            return main.CONNECTION_LOST
        return self._dataReceived(data)

    def _dataReceived(self, data: bytes | None) -> Any:
        self._received.value += len(data or b"")
        if self._closing is not None and data:
            return None
        return super()._dataReceived(data)

    def _handshake(self) -> None:
        """Goes on with the handshake; raises SSL.Error, or what it waits for."""
        assert self._tls is not None
        try:
            self._tls.do_handshake()
        except SSL.WantReadError:
            self.stopWriting()  # else the reactor would ask for it again and again
            raise
        except SSL.WantWriteError:
            self.startWriting()
            raise
        self._handshaking = False
        if self.queued:
            self.startWriting()

    def doWrite(self) -> Any:
        """Writes what is queued."""
        self.moved = True
        if self._handshaking:
            try:
                self._handshake()
            except (SSL.WantReadError, SSL.WantWriteError):
                return None
            except SSL.Error:
                return main.CONNECTION_LOST
        return super().doWrite()

    def writeSomeData(self, data: bytes | memoryview) -> Any:
        """Writes as much as the kernel takes; returns its length, or the error."""
        written = self._write(data)
        if not isinstance(written, BaseException):
            self._sent.value += written
        return written

    def _write(self, data: bytes | memoryview) -> Any:
        if self._tls is None:
            return super().writeSomeData(data)  # type: ignore[arg-type]  # buffers, too
        try:
            return self._tls.send(bytes(data[:131_072]))
        except (SSL.WantReadError, SSL.WantWriteError):
            return 0
        except SSL.Error:
            return main.CONNECTION_LOST

    # -- the end

    def loseConnection(self, reason: object = main.CONNECTION_DONE) -> None:
        """Closes the connection when all is written and the peer has closed its side."""
        if not self.connected or self._closing is not None:
            return
        if self._handshaking:
            self._forget_tls()
        self.unregisterProducer()  # told of an empty queue, Twisted would forget to close
        clock = cast(IReactorTime, self.reactor)
        self._closing = clock.callLater(CLOSING_TIME, self.abortConnection)
        self.startReading()
        if self.queued:
            self.loseWriteConnection()
        else:
            self._writeDisconnected = True
            self._closeWriteConnection()

    def _forget_tls(self) -> None:
        """The handshake will not be finished, so nothing that is queued can be said."""
        self._tls = None
        self._handshaking = False
        self._tempDataBuffer.clear()
        self._tempDataLen = 0
        self.stopWriting()

    def pauseProducing(self) -> None:
        """Reads no more, unless it reads only to find the end."""
        if self._closing is None:
            super().pauseProducing()

    def _closeWriteConnection(self) -> None:
        if self._tls is not None:
            try:
                self._tls.shutdown()
            except SSL.Error:
                pass  # the peer is gone: nobody is left to be told
        super()._closeWriteConnection()

    def connectionLost(self, reason: Failure) -> None:
        """Releases the socket and tells the protocol."""
        self._tls = None
        closing, self._closing = self._closing, None
        if closing is not None and closing.active():
            closing.cancel()
        super().connectionLost(reason)


class StreamPort(tcp.Port):
    """A listening port whose connections are :class:`StreamTransport`.

    :ivar traffic: counts what they carry.
    """

    transport = StreamTransport

    def __init__(self, traffic: Traffic, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.traffic = traffic

    @classmethod
    def on_socket(
        cls, traffic: Traffic, descriptor: int, factory: Factory, reactor: Any
    ) -> "StreamPort":
        """A port on a listening socket that belongs to another process, too.

        :param descriptor: of the socket; it stays open when the port is closed.
        """
        listening = socket.socket(fileno=os.dup(descriptor))
        host, port = listening.getsockname()[:2]
        made = cls(traffic, port, factory, 0, host, reactor)
        made._preexistingSocket = listening
        return made
