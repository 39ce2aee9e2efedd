"""A TCP transport that writes at once where it can, and does TLS on the socket itself.

``write_now`` hands bytes to the kernel without arming the reactor for writing; what the
kernel does not take goes Twisted's ordinary way. TLS reads and writes the socket through
OpenSSL, without memory buffers between: fewer copies, and half the memory of a connection.
"""

from typing import Any

from OpenSSL import SSL
from twisted.internet import main, tcp
from twisted.python.failure import Failure

from mongoosetw.net.traffic import Traffic

_RECORD = 16_384


class StreamTransport(tcp.Server):
    """The server's end of an XMPP connection."""

    _tls: SSL.Connection | None = None
    server: "StreamPort"

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._received, self._sent = self.server.traffic.tcp_in, self.server.traffic.tcp_out

    def write_now(self, data: bytes) -> None:
        """Writes ``data`` immediately if nothing is queued before it."""
        if self._tempDataBuffer or self.dataBuffer or self.disconnecting or not self.connected:
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

    @property
    def tls(self) -> SSL.Connection | None:
        """The TLS connection, if there is one."""
        return self._tls

    def doRead(self) -> Any:
        """Reads what has arrived."""
        if self._tls is None:
            return super().doRead()
        try:
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
        return super()._dataReceived(data)

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

    def _postLoseConnection(self) -> Any:
        self._close_tls()
        return super()._postLoseConnection()

    def _close_tls(self) -> None:
        if self._tls is not None:
            try:
                self._tls.shutdown()
            except SSL.Error:
                pass  # the peer is gone: nobody is left to be told

    def connectionLost(self, reason: Failure) -> None:
        """Releases the socket and tells the protocol."""
        self._tls = None
        super().connectionLost(reason)


class StreamPort(tcp.Port):
    """A listening port whose connections are :class:`StreamTransport`.

    :ivar traffic: counts what they carry.
    """

    transport = StreamTransport

    def __init__(self, traffic: Traffic, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.traffic = traffic
