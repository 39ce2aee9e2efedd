"""A port for clients: accepts connections, holds their limits and TLS contexts."""

import logging
from typing import TYPE_CHECKING, Any

from OpenSSL import SSL
from twisted.internet import protocol
from twisted.internet.interfaces import IAddress
from twisted.python.failure import Failure

from mongoosetw.c2s.limits import ConnectionLimit, LoginThrottle
from mongoosetw.c2s.stream import ClientStream
from mongoosetw.config.certificates import certificate_expires, ensure_self_signed
from mongoosetw.config.schema import ListenC2S, ListenTLS
from mongoosetw.config.shaper import Shaper
from mongoosetw.net import tls
from mongoosetw.net.traffic import Traffic
from mongoosetw.net.transport import StreamPort
from mongoosetw.xmpp.errors import StreamError
from mongoosetw.xmpp.parser import Limits
from mongoosetw.xmpp.xep import XEP

if TYPE_CHECKING:  # types only
    from mongoosetw.server import Server

logger = logging.getLogger(__name__)
XEPS = (XEP(368, "1.1.0"),)


class ClientProtocol(protocol.Protocol):
    """Hands what Twisted tells of a connection to its stream."""

    factory: "ClientListener"
    transport: Any
    stream: ClientStream | None = None

    def connectionMade(self) -> None:
        """A client has connected."""
        self.transport.setTcpNoDelay(True)
        address = self.transport.getPeer().host
        self.stream = ClientStream(self.factory, self.transport, address)
        if not self.factory.connections.admit(address):
            stream, self.stream = self.stream, None
            stream.close(StreamError("resource-constraint", "too many connections"))
            return
        self.factory.streams.add(self.stream)
        self.transport.registerProducer(_Congestion(self.stream), True)
        if self.factory.direct_tls:
            self.factory.start_tls(self.transport)
            self.stream.secure = True

    def dataReceived(self, data: bytes) -> None:
        """Bytes have arrived."""
        if self.stream is not None:
            self.stream.data_received(data)

    def connectionLost(self, reason: Failure = protocol.connectionDone) -> None:
        """The connection is gone."""
        if self.stream is not None:
            self.factory.connections.release(self.stream.address)
            self.factory.streams.discard(self.stream)
            self.stream.connection_lost(type(reason.value).__name__)
            self.stream = None


class _Congestion:
    """Tells a stream that its transport's queue is full, or empty again."""

    __slots__ = ("_stream",)

    def __init__(self, stream: ClientStream) -> None:
        self._stream = stream

    def pauseProducing(self) -> None:
        self._stream.congested()

    def resumeProducing(self) -> None:
        self._stream.drained()

    def stopProducing(self) -> None:
        self._stream.drained()


class ClientListener(protocol.Factory):
    """One ``[[listen.c2s]]``.

    :ivar certificates: when each certificate expires (seconds since 1970), by its file.
    """

    noisy = False

    def __init__(self, server: "Server", options: ListenC2S) -> None:
        self.server = server
        self.options = options
        self.connections = ConnectionLimit(options)
        self.throttle = LoginThrottle(
            options.login_attempts, spare_loopback=not options.limits_apply_to_loopback
        )
        stanza = options.max_stanza_size
        size = stanza if isinstance(stanza, int) else 1 << 30
        self.limit_values = (size, options.max_depth, options.max_attributes)
        self.limits = Limits(*self.limit_values)
        self.certificates: dict[str, float] = {}
        self.asks_for_certificates = False
        self._context: SSL.Context | None = None
        self._bindings: dict[bytes, bytes | None] = {}
        self._shapers: dict[int, Shaper] = {}
        self.streams: set[ClientStream] = set()
        self._port: StreamPort | None = None

    @property
    def offers_starttls(self) -> bool:
        """Whether clients can upgrade to TLS here."""
        return self.options.tls is not None and self.options.tls.mode != "tls"

    @property
    def tls_required(self) -> bool:
        """Whether clients have to."""
        return self.options.tls is not None and self.options.tls.mode == "starttls_required"

    @property
    def direct_tls(self) -> bool:
        """Whether TLS comes first (XEP-0368)."""
        return self.options.tls is not None and self.options.tls.mode == "tls"

    def buildProtocol(  # type: ignore[override]  # Twisted's stub asks for more than it uses
        self, addr: IAddress | None
    ) -> ClientProtocol:
        """A connection was accepted."""
        connection = ClientProtocol()
        connection.factory = self
        return connection

    def listen(self, reactor: Any) -> None:
        """Opens the port.

        :raises twisted.internet.error.CannotListenError: it is taken.
        """
        self.load_certificates(self.options.tls)
        options = self.options
        place = (options.port, self, options.backlog, options.ip_address, reactor)
        self._port = StreamPort(Traffic("c2s"), *place)
        self._port.startListening()

    def load_certificates(self, options: ListenTLS | None) -> None:
        """Reads the certificates, also again while the server runs.

        :raises OpenSSL.SSL.Error: a file is unusable; the old ones stay in force.
        """
        if options is None:
            return
        certfile, keyfile = options.certfile, options.keyfile
        if not certfile:
            files = ensure_self_signed(self.server.data_dir, list(self.server.hosts))
            certfile, keyfile = str(files[0]), str(files[1])
        context = tls.server_context(options, certfile, keyfile)
        tls.choose_by_name(
            context,
            {
                c.domain: tls.server_context(options, c.certfile, c.keyfile)
                for c in options.certificates
            },
        )
        used = [certfile, *(own.certfile for own in options.certificates)]
        self.certificates = {file: certificate_expires(file) for file in used}
        self.asks_for_certificates = options.verify_mode != "none"
        self._context = context
        self._bindings = {}

    def start_tls(self, transport: Any) -> None:
        """Has a transport speak TLS from now on."""
        transport.start_tls(self._context)

    def end_point_binding(self, connection: SSL.Connection) -> bytes | None:
        """The ``tls-server-end-point`` data of a connection; made once for each certificate."""
        name = connection.get_servername() or b""
        if name not in self._bindings:
            if len(self._bindings) > 1000:
                self._bindings.clear()
            self._bindings[name] = tls.end_point_binding(connection)
        return self._bindings[name]

    def shape(self, stream: ClientStream, length: int) -> float:
        """Seconds that a client has to pause after sending so much."""
        if self.options.shaper == "none":
            return 0.0
        shaper: Shaper | None = stream.state.get("shaper")
        if shaper is None:
            shaper = self.server.config.new_shaper(self.options.shaper)
            if shaper is None:
                return 0.0
            stream.state["shaper"] = shaper
        return float(shaper.consume(length, self.server.clock.seconds()))

    def stop(self) -> Any:
        """Closes the port; connections stay."""
        return None if self._port is None else self._port.stopListening()

    def close_streams(self) -> None:
        """Tells every client that the server goes down (RFC 6120 §4.9.3.20)."""
        for stream in list(self.streams):
            stream.close(StreamError("system-shutdown"))
