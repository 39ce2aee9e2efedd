"""A port for clients: accepts connections, holds their limits and TLS contexts."""

import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from OpenSSL import SSL
from twisted.internet import protocol
from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import IAddress
from twisted.python.failure import Failure

from mongoosetw.auth.accounts import Accounts
from mongoosetw.c2s.deadlines import Deadlines
from mongoosetw.c2s.limits import ConnectionLimit, LoginThrottle
from mongoosetw.c2s.stream import ClientStream
from mongoosetw.config.certificates import certificate_expires, ensure_self_signed
from mongoosetw.config.schema import ListenC2S, ListenTLS
from mongoosetw.net import tls
from mongoosetw.net.traffic import Traffic
from mongoosetw.net.transport import StreamPort
from mongoosetw.xmpp.errors import StreamError
from mongoosetw.xmpp.parser import Limits
from mongoosetw.xmpp.xep import XEP

if TYPE_CHECKING:  # types only
    from mongoosetw.host import Host
    from mongoosetw.server import Server

logger = logging.getLogger(__name__)
XEPS = (XEP(368, "1.1.0"),)


class CertificateUnusable(Exception):
    """A certificate, key or list of revoked certificates cannot be used; says why."""


@dataclass(frozen=True, slots=True)
class Certificates:
    """The certificates of a listener, read and usable.

    :ivar expire: when each of them does (seconds since 1970), by its file.
    """

    context: SSL.Context
    expire: dict[str, float]


def _limits(options: ListenC2S) -> Limits:
    size = options.max_stanza_size
    return Limits(
        size if isinstance(size, int) else 1 << 30, options.max_depth, options.max_attributes
    )


class ClientProtocol(protocol.Protocol):
    """Hands what Twisted tells of a connection to its stream."""

    factory: "ClientListener"
    transport: Any
    stream: ClientStream | None = None

    def connectionMade(self) -> None:
        """A client has connected."""
        self.transport.setTcpNoDelay(True)
        address = self.transport.getPeer().host
        stream = ClientStream(self.factory, self.transport, address)
        if self.factory.direct_tls:
            self.factory.start_tls(self.transport)
            stream.secure = True
        if not self.factory.connections.admit(address):
            stream.close(StreamError("resource-constraint", "too many connections"))
            return
        self.stream = stream
        self.factory.streams[stream] = None
        self.transport.registerProducer(_Congestion(stream), True)

    def dataReceived(self, data: bytes) -> None:
        """Bytes have arrived."""
        if self.stream is not None:
            self.stream.data_received(data)

    def connectionLost(self, reason: Failure = protocol.connectionDone) -> None:
        """The connection is gone."""
        if self.stream is not None:
            stream, self.stream = self.stream, None
            stream.connection_lost(type(reason.value).__name__)
            self.factory.forget(stream)


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
        self.throttle = LoginThrottle(options)
        self.limits = _limits(options)
        self.deadlines = Deadlines(server.clock, options.state_timeout, ClientStream.too_slow)
        self.certificates: dict[str, float] = {}
        self._context: SSL.Context | None = None
        self._bindings: dict[SSL.Context, bytes | None] = {}
        self.streams: dict[ClientStream, None] = {}  # in the order in which they came
        self._emptied: list[Deferred[None]] = []
        self._ports: dict[int | None, StreamPort] = {}

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

    def forget(self, stream: ClientStream) -> None:
        """A connection is gone."""
        self.connections.release(stream.address)
        self.streams.pop(stream, None)
        if not self.streams:
            emptied, self._emptied = self._emptied, []
            for waiting in emptied:
                waiting.callback(None)

    def listen(self, reactor: Any) -> None:
        """Opens the port.

        :raises twisted.internet.error.CannotListenError: it is taken.
        :raises CertificateUnusable: a certificate is.
        """
        options = self.options
        self.prepare()
        place = (options.port, self, options.backlog, options.ip_address, reactor)
        self._open(None, StreamPort(Traffic("c2s"), *place))

    def prepare(self) -> None:
        """Reads what clients will need.

        :raises CertificateUnusable: a certificate is.
        """
        self._use(self.read_certificates(self.options.tls))

    def listen_on(self, reactor: Any, descriptor: int) -> None:
        """Accepts connections of a socket that a supervisor has opened; when prepared."""
        if descriptor not in self._ports:
            port = StreamPort.on_socket(Traffic("c2s"), descriptor, self, reactor)
            self._open(descriptor, port)

    def _open(self, key: int | None, port: StreamPort) -> None:
        port.startListening()
        self._ports[key] = port

    def leave(self, descriptor: int) -> Any:
        """Accepts no more of the connections of such a socket."""
        port = self._ports.pop(descriptor, None)
        return None if port is None else port.stopListening()

    def read_certificates(self, options: ListenTLS | None) -> Certificates | None:
        """Reads the certificates; changes nothing yet.

        :raises CertificateUnusable: a file is unusable.
        """
        if options is None:
            return None
        certfile, keyfile = options.certfile, options.keyfile
        if not certfile:
            certfile, keyfile = ensure_self_signed(self.server.data_dir, list(self.server.hosts))
        try:
            context = tls.server_context(options, certfile, keyfile)
            own = {
                c.domain: tls.server_context(options, c.certfile, c.keyfile)
                for c in options.certificates
            }
            files = [certfile, *(c.certfile for c in options.certificates)]
            expire = {file: certificate_expires(file) for file in files}
        except SSL.Error as error:
            raise CertificateUnusable(tls.reason(error)) from error
        except (OSError, ValueError) as error:
            raise CertificateUnusable(str(error)) from error
        tls.choose_by_name(context, own)
        return Certificates(context, expire)

    def reconfigure(self, options: ListenC2S, certificates: Certificates | None) -> None:
        """Takes over new options while it runs, all but the address and the port.

        Open streams keep their connection and their TLS; they get the new limits of speed.
        """
        self.options = options
        self.connections.options = options
        self.throttle.options = options
        self.limits = _limits(options)
        self.deadlines.seconds = options.state_timeout
        self._use(certificates)
        for stream in self.streams:
            stream.shaper = None
        for host in self.server.hosts.values():
            host.offers.clear()

    def _use(self, certificates: Certificates | None) -> None:
        self._context = None if certificates is None else certificates.context
        self.certificates = {} if certificates is None else certificates.expire
        self._bindings = {}

    @property
    def asks_for_certificates(self) -> bool:
        """Whether clients are asked for a certificate."""
        return self.options.tls is not None and self.options.tls.verification != "none"

    def accounts(self, host: "Host") -> Accounts:
        """The accounts of a host, with the methods that let clients in here."""
        allowed = self.options.allowed_auth_methods
        return host.accounts if allowed is None else host.accounts.limited_to(allowed)

    def start_tls(self, transport: Any) -> None:
        """Has a transport speak TLS from now on."""
        transport.start_tls(self._context)

    def end_point_binding(self, connection: SSL.Connection) -> bytes | None:
        """The ``tls-server-end-point`` data of a connection; made once for each certificate."""
        context = connection.get_context()
        if context not in self._bindings:
            self._bindings[context] = tls.end_point_binding(connection)
        return self._bindings[context]

    def shape(self, stream: ClientStream, length: int) -> float:
        """Seconds that a client has to pause after sending so much."""
        if self.options.shaper == "none":
            return 0.0
        if stream.shaper is None:
            stream.shaper = self.server.config.new_shaper(self.options.shaper)
            if stream.shaper is None:
                return 0.0
        return stream.shaper.consume(length, self.server.clock.seconds())

    @property
    def is_open(self) -> bool:
        """Whether clients can connect."""
        return bool(self._ports)

    async def stop(self) -> None:
        """Closes the port; connections stay."""
        while self._ports:
            _, port = self._ports.popitem()
            closed = port.stopListening()
            if closed is not None:
                await closed

    async def close_streams(self, *, may_return: bool) -> None:
        """Tells every client that the server goes down (RFC 6120 §4.9.3.20), waits till they go.

        :param may_return: sessions that can be resumed wait for their clients.
        """
        for stream in list(self.streams):
            stream.close(StreamError("system-shutdown"), may_return=may_return)
        await self.emptied()

    def emptied(self) -> "Deferred[None]":
        """Fires when no connection is left."""
        if not self.streams:
            return succeed(None)
        found: Deferred[None] = Deferred()
        self._emptied.append(found)
        return found
