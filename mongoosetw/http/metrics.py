"""Metrics for Prometheus, as a web resource and as a whole site."""

from collections.abc import Callable, Iterable
from typing import Any, Final, TypeAlias

from twisted.internet.defer import CancelledError, Deferred
from twisted.python.failure import Failure
from twisted.web.pages import notFound
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET, Request, Site
from twisted.web.vhost import NameVirtualHost

from mongoosetw.config.schema import PrometheusHandler
from mongoosetw.http.exposition import exposition
from mongoosetw.metrics import REGISTRY, Registry

CONTENT_TYPE = b"text/plain; version=0.0.4; charset=utf-8"
ANY_HOST = "_"
"""As ``host`` of a handler: it answers for every name."""
Source: TypeAlias = "Callable[[], bytes | Deferred[bytes]]"
"""Gives the metrics as text. A Deferred does not fail, unless it is cancelled."""
OWN: Final[Source] = exposition
"""The metrics of this process."""


class MetricsResource(Resource):
    """Answers GET with the present values."""

    isLeaf = True

    def __init__(self, source: Source) -> None:
        Resource.__init__(self)
        self._source = source

    def render_GET(self, request: Request) -> "bytes | int":
        """Return the exposition; twisted.web answers HEAD from it and other methods with 405."""
        request.setHeader(b"content-type", CONTENT_TYPE)
        found = self._source()
        if isinstance(found, bytes):
            return found
        gone = request.notifyFinish()
        found.addCallback(_finish, request)
        gone.addErrback(lambda _: found.cancel())
        found.addErrback(_unfinished)
        return NOT_DONE_YET


def _finish(text: bytes, request: Request) -> None:
    request.write(text)
    request.finish()


def _unfinished(failure: Failure) -> None:
    """Who asked has gone."""
    failure.trap(CancelledError)


def put_at(root: Resource, path: str, leaf: Resource) -> None:
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


def site(handlers: Iterable[PrometheusHandler], metrics: Source = OWN) -> Site:
    """Return the web site of a port; without handlers it has the metrics at ``/metrics``."""
    roots: dict[str, Any] = {}
    for handler in tuple(handlers) or (PrometheusHandler(),):
        root = roots.setdefault(handler.host, Resource())
        put_at(root, handler.path, MetricsResource(metrics))
    hosts: Any = NameVirtualHost()
    hosts.default = roots.pop(ANY_HOST, notFound())
    for name, root in roots.items():
        hosts.addHost(name.encode(), root)
    found = Site(hosts)
    found.displayTracebacks = False
    # A scrape every few seconds is no news.
    found.log = _no_access_log  # type: ignore[method-assign]
    return found


def metrics_site(registry: Registry = REGISTRY, path: str = "/metrics") -> Site:
    """Return a web site that has the metrics at ``path``, for every host name, and nothing else."""
    return site([PrometheusHandler(path=path)], lambda: exposition(registry))


def _no_access_log(request: object) -> None:
    """Log nothing for a request."""
