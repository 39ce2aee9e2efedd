"""/metrics over HTTP."""

from twisted.internet.testing import StringTransport
from twisted.trial.unittest import SynchronousTestCase

from mongoosetw.http.metrics import metrics_site
from mongoosetw.metrics import Counter, Registry


class MetricsOverHTTP(SynchronousTestCase):
    """What Prometheus gets from the listener."""

    def setUp(self) -> None:
        """Have one counter exposed."""
        self.registry = Registry()
        declared = Counter("http_sample_count", "Sample", registry=self.registry)
        declared.of_host_type("a.test").inc()

    def request(self, request: bytes, path: str = "/metrics") -> bytes:
        """Return the answer to a request."""
        protocol = metrics_site(self.registry, path).buildProtocol(None)
        transport = StringTransport()
        protocol.makeConnection(transport)
        protocol.dataReceived(request + b" HTTP/1.1\r\nHost: a.test\r\nConnection: close\r\n\r\n")
        return transport.value()

    def test_get(self) -> None:
        """GET /metrics is answered with the values in the text format."""
        answer = self.request(b"GET /metrics")
        self.assertTrue(answer.startswith(b"HTTP/1.1 200 OK"), answer)
        self.assertIn(b"text/plain; version=0.0.4", answer)
        self.assertIn(b'http_sample_count{host_type="a.test"} 1\n', answer)

    def test_configured_path(self) -> None:
        """The listener's path is where the metrics are, and nowhere else."""
        self.assertIn(b"http_sample_count", self.request(b"GET /x/y", "/x/y"))
        self.assertIn(b"404 Not Found", self.request(b"GET /metrics", "/x/y"))

    def test_post(self) -> None:
        """Other methods are not allowed."""
        self.assertIn(b"405 Method Not Allowed", self.request(b"POST /metrics"))
