"""Metrics: declared on classes, exposed as Prometheus reads them."""

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

from prometheus_client.parser import text_string_to_metric_families
from twisted.trial.unittest import SynchronousTestCase

from mongoosetw.auth.backend import AccountExists
from mongoosetw.hooks.bus import STOP, HookBus
from mongoosetw.hooks.c2s import SessionClosed, SessionOpened
from mongoosetw.hooks.routing import FilterPacket
from mongoosetw.hooks.users import RegisterUser
from mongoosetw.http.exposition import exposition
from mongoosetw.metrics import Counter, Gauge, Histogram, Registry, expose, release
from mongoosetw.server_metrics import count_events, host_metrics, show
from mongoosetw.testing.server import ServerTestCase
from mongoosetw.xmpp import ns
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


class Level:
    """A class with a gauge of its own, and one with a label."""

    rooms = Gauge("sample_rooms", "Rooms", registry=REGISTRY)
    seats = Gauge("sample_seats", "Seats", ("kind",), registry=REGISTRY)

    def __init__(self, host_type: str) -> None:
        self.host = SimpleNamespace(host_type=host_type)
        expose(self)


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

    def test_gauges_add_up(self) -> None:
        """Two domains of one host type are shown together; what is no longer in use is not."""
        one, two = Level("sum.test"), Level("sum.test")
        one.rooms.set(2)
        two.rooms.set(3)
        two.seats.labels("soft").set(7)
        self.assertIn('sample_rooms{host_type="sum.test"} 5\n', exposed())
        release(two)
        self.assertIn('sample_rooms{host_type="sum.test"} 2\n', exposed())
        self.assertNotIn('kind="soft"', exposed())
        release(one)
        self.assertNotIn("sum.test", exposed())

    def test_zero(self) -> None:
        """A metric is shown at zero before anything happens, so that a reader sees it rise."""

        class Shown(Sample):
            pass

        expose(Shown("zero.test"))
        self.assertIn('sample_ping_count{host_type="zero.test"} 0\n', exposed())

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


class ShownServer(ServerTestCase):
    """What is measured of the server at a scrape, and what is counted on a stanza's way."""

    hosts = ("a.test", "b.test")
    modules = {"mod_roster": {}, "mod_presence": {}}

    def setUp(self) -> None:
        """Shows the server in the metrics."""
        super().setUp()
        self.hide = show(self.server)
        self.addCleanup(lambda: self.hide())

    def moved(self, name: str, action: Callable[[], object], **labels: str) -> float:
        """By how much an action moves a series."""
        before = self.metric(name, **labels)
        action()
        return self.metric(name, **labels) - before

    def test_sessions(self) -> None:
        """Sessions are counted by host type and in all, accounts once however many sessions."""
        self.connect("romeo@a.test/x")
        self.connect("romeo@a.test/y")
        self.assertEqual(self.metric("sm_session_count", host_type="a.test"), 2)
        self.assertEqual(self.metric("sm_session_count", host_type="b.test"), 0)
        self.assertEqual(self.metric("sm_total_sessions_count"), 2)
        self.assertEqual(self.metric("sm_node_sessions_count"), 2)
        self.assertEqual(self.metric("sm_unique_sessions_count"), 1)
        self.assertEqual(self.metric("system_tcp_ports_count"), 2)

    def test_accounts(self) -> None:
        """Creating, removing and looking up accounts and passwords is counted and timed."""
        accounts, user = self.host.accounts, JID.parse("romeo@a.test")
        for name, call in (
            ("auth_try_register_count", lambda: accounts.register(user, "x")),
            ("auth_does_user_exist_count", lambda: accounts.exists(user)),
            ("auth_check_password_count", lambda: accounts.check_password(user, "x")),
            ("auth_check_password_time_count", lambda: accounts.check_password(user, "y")),
            ("auth_unregister_user_count", lambda: accounts.remove(user)),
            ("auth_register_user_count", lambda: accounts.register(user, "x")),
            ("auth_try_register_time_count", lambda: self.refused(user)),
        ):
            count = self.moved(name, lambda call=call: self.await_(call()), **A)
            self.assertEqual(count, 1, name)

    async def refused(self, user: JID) -> None:
        """Tries to make an account that is there."""
        with self.assertRaises(AccountExists):
            await self.host.accounts.register(user, "x")

    def test_logins(self) -> None:
        """Attempts to log in are counted, and those that fail."""
        client = self.connect_raw()
        client.open("a.test")
        bad = f"<auth xmlns='{ns.SASL}' mechanism='NONE'/>"
        self.assertEqual(self.moved("auth_authorize_count", lambda: client.send(bad), **A), 1)
        self.assertEqual(self.moved("c2s_auth_failed_count", lambda: client.send(bad), **A), 1)

    def test_up_time(self) -> None:
        """The server's age is told in seconds."""
        self.server.started_at -= 60
        self.assertGreaterEqual(self.metric("system_up_time_seconds"), 60)

    def test_stanzas_by_kind(self) -> None:
        """Stanzas of each kind are counted in and out, errors apart, and added up."""
        romeo = self.connect("romeo@a.test/x")
        for kind, rest in (("message", ""), ("presence", "type='unavailable'"), ("iq", "id='1'")):
            refused = f"<{kind} to='romeo@a.test/x' type='error' id='1'/>"
            stanza = f"<{kind} to='romeo@a.test/x' {rest}/>"
            for direction in ("in", "out"):
                name = f"xmpp_element_{direction}_{kind}"
                if kind != "iq":  # an iq without a type is refused
                    sent = self.moved(f"{name}_count", lambda x=stanza: romeo.send(x), **A)
                    self.assertEqual(sent, 1, name)
                sent = self.moved(f"{name}_error_count", lambda x=refused: romeo.send(x), **A)
                self.assertEqual(sent, 1, name)
                sent = self.moved(
                    f"xmpp_element_{direction}_stanza_count", lambda x=refused: romeo.send(x), **A
                )
                self.assertEqual(sent, 1, name)

    def test_bounced(self) -> None:
        """A message that comes back to its sender is counted."""
        romeo = self.connect("romeo@a.test/x")
        lost = "<message to='nobody@a.test' type='chat'><body>x</body></message>"
        self.assertEqual(self.moved("sm_message_bounced_count", lambda: romeo.send(lost), **A), 1)

    def test_no_route(self) -> None:
        """A stanza to a domain that cannot be reached is counted at its sender's domain."""
        romeo = self.connect("romeo@a.test/x")
        lost = "<message to='x@elsewhere.test'><body>x</body></message>"
        count = self.moved("router_no_route_found_count", lambda: romeo.send(lost), **A)
        self.assertEqual(count, 1)

    def test_dropped(self) -> None:
        """A stanza that a global filter drops is counted."""
        self.server.hooks.add(FilterPacket, 50, "test", lambda event: STOP)
        self.server.hooks.publish()
        romeo = self.connect("romeo@a.test/x")
        send = "<message to='romeo@a.test/x'/>"
        self.assertEqual(
            self.moved("router_stanza_dropped_count", lambda: romeo.send(send), **A), 1
        )

    def test_hidden(self) -> None:
        """A server that has stopped is shown no longer."""
        self.assertIn("\nsm_total_sessions_count 0\n", exposition(process=False).decode())
        self.hide()
        self.hide = lambda: None
        self.assertNotIn("\nsm_total_sessions_count 0\n", exposition(process=False).decode())


A = {"host_type": "a.test"}
