"""``[[listen.http]]``: what each port answers, built from its ``handlers``."""

from collections.abc import Iterable
from typing import Any

from twisted.application.internet import StreamServerEndpointService
from twisted.internet.endpoints import TCP4ServerEndpoint, TCP6ServerEndpoint
from twisted.web.resource import IResource, NoResource, Resource
from twisted.web.server import Site
from twisted.web.vhost import NameVirtualHost

from mongoosetw.config.schema import ListenHTTP, PrometheusHandler
from mongoosetw.http.metrics import MetricsResource
from mongoosetw.metrics import REGISTRY, Registry

ANY_HOST = "_"


def put_at(root: Resource, path: str, leaf: IResource) -> None:
    """Put a resource at an absolute path below ``root``; folders on the way are made."""
    *folders, last = (part.encode() for part in path.strip("/").split("/"))
    parent = root
    for folder in folders:
        child = parent.children.get(folder)
        if not isinstance(child, Resource):
            child = Resource()
            parent.putChild(folder, child)
        parent = child
    parent.putChild(last, leaf)


def site(handlers: Iterable[PrometheusHandler], registry: Registry = REGISTRY) -> Site:
    """Return the web site of a port; without handlers it has the metrics at ``/metrics``."""
    roots: dict[str, Resource] = {}
    for handler in tuple(handlers) or (PrometheusHandler(),):
        root = roots.setdefault(handler.host, Resource())
        put_at(root, handler.path, MetricsResource(registry))
    hosts = NameVirtualHost()
    hosts.default = roots.pop(ANY_HOST, NoResource())
    for name, root in roots.items():
        hosts.addHost(name.encode(), root)
    found = Site(hosts)
    found.displayTracebacks = False
    # A scrape every few seconds is no news.
    found.log = _no_access_log  # type: ignore[method-assign]
    return found


def _no_access_log(request: object) -> None:
    """Log nothing for a request."""


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
