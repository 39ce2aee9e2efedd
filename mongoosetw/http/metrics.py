"""Metrics for Prometheus, as a web resource."""

from twisted.web.resource import Resource
from twisted.web.server import Request

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
