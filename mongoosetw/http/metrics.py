"""``/metrics`` for Prometheus."""

from typing import Any

from twisted.web.resource import Resource
from twisted.web.server import Request, Site

from mongoosetw.metrics import REGISTRY, Registry, exposition

CONTENT_TYPE = b"text/plain; version=0.0.4; charset=utf-8"


class MetricsResource(Resource):
    """Answers GET with the present values."""

    isLeaf = True

    def __init__(self, registry: Registry = REGISTRY) -> None:
        Resource.__init__(self)
        self._registry = registry

    def render_GET(self, request: Request) -> bytes:
        """Return the exposition; twisted.web answers HEAD from it and other methods with 405."""
        request.setHeader(b"content-type", CONTENT_TYPE)
        return exposition(self._registry)


def metrics_site(registry: Registry = REGISTRY, path: str = "/metrics") -> Site:
    """Return a web site that serves the metrics at ``path`` and nothing else.

    :param path: absolute, such as ``/metrics``; the listener's ``path``.
    """
    resource: Any = MetricsResource(registry)
    for part in reversed(path.strip("/").split("/")):
        parent = Resource()
        parent.putChild(part.encode(), resource)
        resource = parent
    site = Site(resource)
    # Scrapes are no news, and an access log is not asked for.
    site.displayTracebacks = False
    site.log = _no_access_log  # type: ignore[method-assign]
    return site


def _no_access_log(request: object) -> None:
    """Log nothing for a request."""
