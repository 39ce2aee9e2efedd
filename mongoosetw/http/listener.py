"""``[[listen.http]]``: a port and what it answers."""

import socket
from typing import Any

from twisted.application.internet import StreamServerEndpointService
from twisted.internet.endpoints import TCP4ServerEndpoint, TCP6ServerEndpoint
from twisted.internet.interfaces import IListeningPort

from mongoosetw.config.schema import ListenHTTP
from mongoosetw.http.metrics import OWN, Source, site


def http_service(
    reactor: Any, options: ListenHTTP, metrics: Source = OWN
) -> StreamServerEndpointService:
    """Return a service that listens on one ``[[listen.http]]`` port while it runs.

    Starting it raises ``CannotListenError`` when the port is taken, so that the server says so.
    """
    endpoint_class = TCP6ServerEndpoint if ":" in options.ip_address else TCP4ServerEndpoint
    endpoint = endpoint_class(
        reactor, options.port, backlog=options.backlog, interface=options.ip_address
    )
    handlers = options.handlers.mongoose_prometheus_handler
    service = StreamServerEndpointService(endpoint, site(handlers, metrics))
    service._raiseSynchronously = True
    return service


class HTTPListener:
    """One ``[[listen.http]]`` of a worker: on sockets that its supervisor has opened."""

    def __init__(self, options: ListenHTTP, metrics: Source) -> None:
        self._family = socket.AF_INET6 if ":" in options.ip_address else socket.AF_INET
        self._site = site(options.handlers.mongoose_prometheus_handler, metrics)
        self._ports: dict[int, IListeningPort] = {}

    def listen_on(self, reactor: Any, descriptor: int) -> None:
        """Accepts connections of a listening socket."""
        if descriptor not in self._ports:
            port = reactor.adoptStreamPort(descriptor, self._family, self._site)
            self._ports[descriptor] = port

    def leave(self, descriptor: int) -> Any:
        """Accepts no more of them."""
        port: Any = self._ports.pop(descriptor, None)
        return None if port is None else port.stopListening()

    async def stopService(self) -> None:
        """Closes the port."""
        while self._ports:
            _, port = self._ports.popitem()
            closed: Any = port.stopListening()
            if closed is not None:
                await closed
