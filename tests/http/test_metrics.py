"""[[listen.http]]: /metrics over HTTP."""

from twisted.internet.testing import StringTransport
from twisted.trial.unittest import SynchronousTestCase

from mongoosetw.config.schema import PrometheusHandler
from mongoosetw.http.exposition import exposition
from mongoosetw.http.metrics import site
from mongoosetw.metrics import Counter, Registry


class MetricsOverHTTP(SynchronousTestCase):
    """What Prometheus gets from the listener."""

    def setUp(self) -> None:
        """Have one counter exposed."""
        self.registry = Registry()
        declared = Counter("http_sample_count", "Sample", registry=self.registry)
        declared.of_host_type("a.test").inc()

    def request(self, request: bytes, *handlers: PrometheusHandler) -> bytes:
        """Return the answer to a request."""
        protocol = site(handlers, lambda: exposition(self.registry)).buildProtocol(None)
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
        """The handler's path is where the metrics are, and nowhere else."""
        handler = PrometheusHandler(path="/x/y")
        self.assertIn(b"http_sample_count", self.request(b"GET /x/y", handler))
        self.assertIn(b"404 Not Found", self.request(b"GET /metrics", handler))

    def test_several_paths(self) -> None:
        """Several handlers share the port, also in one folder."""
        handlers = [PrometheusHandler(path=path) for path in ("/x/y", "/x/z")]
        self.assertIn(b"http_sample_count", self.request(b"GET /x/y", *handlers))
        self.assertIn(b"http_sample_count", self.request(b"GET /x/z", *handlers))

    def test_host(self) -> None:
        """A handler for one host name does not answer for another."""
        here, elsewhere = PrometheusHandler(host="a.test"), PrometheusHandler(host="b.test")
        self.assertIn(b"http_sample_count", self.request(b"GET /metrics", here))
        self.assertIn(b"404 Not Found", self.request(b"GET /metrics", elsewhere))

    def test_post(self) -> None:
        """Other methods are not allowed."""
        self.assertIn(b"405 Method Not Allowed", self.request(b"POST /metrics"))
