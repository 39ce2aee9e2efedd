"""Metrics: declared on classes, exposed as Prometheus reads them."""

from types import SimpleNamespace
from typing import Any

from prometheus_client.parser import text_string_to_metric_families
from twisted.trial.unittest import SynchronousTestCase

from mongoosetw.hooks.bus import HookBus
from mongoosetw.hooks.c2s import SessionClosed, SessionOpened
from mongoosetw.hooks.users import RegisterUser
from mongoosetw.metrics import Counter, Gauge, Histogram, Registry, exposition
from mongoosetw.server_metrics import count_events, host_metrics, server_families
from mongoosetw.xmpp.jid import JID

REGISTRY = Registry()


class Sample:
    """A class with metrics, as a module is."""

    pings = Counter("sample_ping_count", 'Pings "sent"\nand more', registry=REGISTRY)
    queue = Gauge("sample_queue_size", "Waiting", registry=REGISTRY)
    times = Histogram("sample_time", "Seconds", buckets=(0.1, 1.0), registry=REGISTRY)
    by_kind = Counter("sample_kind_count", "By kind", ("kind",), registry=REGISTRY)

    def __init__(self, domain: str) -> None:
        self.host = SimpleNamespace(domain=domain)


def exposed() -> str:
    """Return what a scrape of the test's own registry reads."""
    return exposition(REGISTRY, process=False).decode()


class DeclaredMetrics(SynchronousTestCase):
    """What a module counts is exposed under its host."""

    def test_host_type_label(self) -> None:
        """Each host counts on its own, under the label host_type."""
        Sample("one.test").pings.inc()
        Sample("two.test").pings.inc(3)
        self.assertIn('sample_ping_count{host_type="one.test"} 1\n', exposed())
        self.assertIn('sample_ping_count{host_type="two.test"} 3\n', exposed())

    def test_survives_reload(self) -> None:
        """A module that is started again goes on counting where it was."""
        Sample("again.test").pings.inc()
        Sample("again.test").pings.inc()
        self.assertIn('sample_ping_count{host_type="again.test"} 2\n', exposed())

    def test_name_as_declared(self) -> None:
        """A counter has MongooseIM's name in the type line, without "_total"."""
        Sample("name.test").pings.inc()
        self.assertIn("# TYPE sample_ping_count counter\n", exposed())
        self.assertNotIn("_total", exposed())

    def test_escaping(self) -> None:
        """Quotes, backslashes and line ends in labels and texts reach the reader unharmed."""
        Sample("esc.test").pings.inc()
        Sample("esc.test").by_kind.labels('a"b\\c\nd').inc()
        families = {f.name: f for f in text_string_to_metric_families(exposed())}
        kinds = [s.labels["kind"] for s in families["sample_kind_count"].samples]
        self.assertIn('a"b\\c\nd', kinds)
        self.assertEqual(families["sample_ping_count"].documentation, 'Pings "sent"\nand more')

    def test_gauge(self) -> None:
        """A gauge goes up and down, or asks a function at the scrape."""
        queue = Sample("gauge.test").queue
        queue.inc(5)
        queue.dec(2)
        self.assertIn('sample_queue_size{host_type="gauge.test"} 3\n', exposed())
        queue.set(lambda: 7.5)
        self.assertIn('sample_queue_size{host_type="gauge.test"} 7.5\n', exposed())

    def test_histogram(self) -> None:
        """Buckets are cumulative, their bounds inclusive, with sum and count."""
        times = Sample("time.test").times
        for seconds in (0.1, 0.5, 30):
            times.observe(seconds)
        text = exposed()
        labels = 'host_type="time.test"'
        self.assertIn(f'sample_time_bucket{{{labels},le="0.1"}} 1\n', text)
        self.assertIn(f'sample_time_bucket{{{labels},le="1"}} 2\n', text)
        self.assertIn(f'sample_time_bucket{{{labels},le="+Inf"}} 3\n', text)
        self.assertIn(f"sample_time_count{{{labels}}} 3\n", text)
        self.assertIn(f"sample_time_sum{{{labels}}} 30.6\n", text)

    def test_same_name_other_kind(self) -> None:
        """Two different metrics under one name are refused when the second is first used."""

        class Other:
            pings = Gauge("sample_ping_count", "Not a counter", registry=REGISTRY)
            host = SimpleNamespace(domain="x.test")

        Sample("x.test").pings.inc()
        with self.assertRaisesRegex(ValueError, "already a counter"):
            _ = Other().pings

    def test_wrong_number_of_labels(self) -> None:
        """A label too many is a mistake of the programmer and says so."""
        with self.assertRaisesRegex(ValueError, "sample_kind_count"):
            Sample("x.test").by_kind.labels("a", "b")

    def test_read_on_class(self) -> None:
        """Read on the class, a metric is its declaration, for the documentation."""
        self.assertEqual(Sample.pings.name, "sample_ping_count")


class ServerMetrics(SynchronousTestCase):
    """The core's own metrics."""

    def test_process(self) -> None:
        """The exposition tells the memory of the process too, and a reader understands all."""
        names = {f.name for f in text_string_to_metric_families(exposition().decode())}
        self.assertIn("process_resident_memory_bytes", names)

    def test_host_metrics(self) -> None:
        """A failed login appears under the host type where it happened."""
        host_metrics("failed.test").auth_failed.inc()
        text = exposition(process=False).decode()
        self.assertIn('c2s_auth_failed_count{host_type="failed.test"} 1\n', text)

    def test_events(self) -> None:
        """Logins, logouts and new accounts are counted as they happen."""
        hooks = HookBus()
        count_events(hooks, "events.test")
        hooks.publish()
        session: Any = SimpleNamespace()
        hooks.fire(SessionOpened(session))
        hooks.fire(SessionOpened(session))
        hooks.fire(SessionClosed(session, "closed"))
        hooks.fire(RegisterUser(JID.parse("romeo@events.test")))
        text = exposition(process=False).decode()
        self.assertIn('sm_session_logins{host_type="events.test"} 2\n', text)
        self.assertIn('sm_session_logouts{host_type="events.test"} 1\n', text)
        self.assertIn('auth_register_user_count{host_type="events.test"} 1\n', text)

    def test_sessions(self) -> None:
        """Sessions are counted per host and in all, accounts once however many sessions."""

        class Sessions(list[SimpleNamespace]):
            def count(self) -> int:  # type: ignore[override]
                return len(self)

        romeo = SimpleNamespace(bare="romeo@a.test")
        hosts = {
            "a.test": SimpleNamespace(sessions=Sessions([romeo, romeo])),
            "b.test": SimpleNamespace(sessions=Sessions()),
        }
        server = SimpleNamespace(hosts=hosts, started_at=1000.0)
        registry = Registry()
        remove = registry.add_source(lambda: server_families(server, 1060.0))
        text = exposition(registry, process=False).decode()
        for line in (
            'sm_session_count{host_type="a.test"} 2',
            'sm_session_count{host_type="b.test"} 0',
            "sm_total_sessions_count 2",
            "sm_unique_sessions_count 1",
            "system_up_time_seconds 60",
        ):
            self.assertIn(f"{line}\n", text)
        remove()
        self.assertEqual(exposition(registry, process=False), b"")
