"""``[[listen.http]]``: a port and what it answers."""

from typing import Any

from twisted.application.internet import StreamServerEndpointService
from twisted.internet.endpoints import TCP4ServerEndpoint, TCP6ServerEndpoint

from mongoosetw.config.schema import ListenHTTP
from mongoosetw.http.metrics import site
from mongoosetw.metrics import REGISTRY, Registry


def http_service(
    reactor: Any, options: ListenHTTP, registry: Registry = REGISTRY
) -> StreamServerEndpointService:
    """Return a service that listens on one ``[[listen.http]]`` port while it runs.

    Starting it raises ``CannotListenError`` when the port is taken, so that the server says so.
    """
    endpoint_class = TCP6ServerEndpoint if ":" in options.ip_address else TCP4ServerEndpoint
    endpoint = endpoint_class(
        reactor, options.port, backlog=options.backlog, interface=options.ip_address
    )
    handlers = options.handlers.mongoose_prometheus_handler
    service = StreamServerEndpointService(endpoint, site(handlers, registry))
    service._raiseSynchronously = True
    return service
