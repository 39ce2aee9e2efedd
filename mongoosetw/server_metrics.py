"""The metrics of the core, under MongooseIM's names where they mean the same."""

import time
from collections.abc import Callable
from functools import cache
from typing import TYPE_CHECKING

from mongoosetw.cluster import metrics as cluster
from mongoosetw.hooks.bus import HookBus, Order
from mongoosetw.hooks.c2s import SessionClosed, SessionOpened
from mongoosetw.hooks.users import RegisterUser, RemoveUser
from mongoosetw.metrics import REGISTRY, Count, Counter, Gauge, Histogram, expose

if TYPE_CHECKING:  # types only
    from mongoosetw.server import Server

KINDS = ("message", "presence", "iq")


class HostMetrics:
    """What one host type counts; get it with :func:`host_metrics` and keep it."""

    auth_failed = Counter("c2s_auth_failed_count", "Failed authentications of clients")
    sessions = Gauge("sm_session_count", "Open sessions, on all nodes")
    logins = Counter("sm_session_logins", "Sessions opened")
    logouts = Counter("sm_session_logouts", "Sessions closed")
    bounced = Counter("sm_message_bounced_count", "Messages returned to their sender")
    dropped = Counter("router_stanza_dropped_count", "Stanzas that a filter dropped")
    no_route = Counter("router_no_route_found_count", "Stanzas to where no route leads")
    stanzas_in = Counter("xmpp_element_in_stanza_count", "Stanzas from clients")
    messages_in = Counter("xmpp_element_in_message_count", "Messages from clients")
    presences_in = Counter("xmpp_element_in_presence_count", "Presence stanzas from clients")
    iqs_in = Counter("xmpp_element_in_iq_count", "IQ stanzas from clients")
    errors_in = Counter("xmpp_element_in_error_count", "Error stanzas from clients")
    message_errors_in = Counter(
        "xmpp_element_in_message_error_count", "Messages from clients that are errors"
    )
    presence_errors_in = Counter(
        "xmpp_element_in_presence_error_count", "Presence stanzas from clients that are errors"
    )
    iq_errors_in = Counter(
        "xmpp_element_in_iq_error_count", "IQ stanzas from clients that are errors"
    )
    stanzas_out = Counter("xmpp_element_out_stanza_count", "Stanzas to clients")
    messages_out = Counter("xmpp_element_out_message_count", "Messages to clients")
    presences_out = Counter("xmpp_element_out_presence_count", "Presence stanzas to clients")
    iqs_out = Counter("xmpp_element_out_iq_count", "IQ stanzas to clients")
    errors_out = Counter("xmpp_element_out_error_count", "Error stanzas to clients")
    message_errors_out = Counter(
        "xmpp_element_out_message_error_count", "Messages to clients that are errors"
    )
    presence_errors_out = Counter(
        "xmpp_element_out_presence_error_count", "Presence stanzas to clients that are errors"
    )
    iq_errors_out = Counter(
        "xmpp_element_out_iq_error_count", "IQ stanzas to clients that are errors"
    )
    registered = Counter("auth_register_user_count", "Accounts created")
    unregistered = Counter("auth_unregister_user_count", "Accounts removed")
    authorizations = Counter("auth_authorize_count", "Logins that clients have tried")
    existence_checks = Counter(
        "auth_does_user_exist_count", "Times that an account's existence was looked up"
    )
    password_checks = Counter("auth_check_password_count", "Passwords checked")
    password_check_time = Histogram("auth_check_password_time", "Time that a check took")
    registrations = Counter("auth_try_register_count", "Accounts that were to be created")
    registration_time = Histogram("auth_try_register_time", "Time that a creation took")

    def __init__(self, host_type: str) -> None:
        self.domain = host_type
        expose(self)
        self.received = self._by_kind("{}s_in")
        self.received_errors = self._by_kind("{}_errors_in")
        self.sent = self._by_kind("{}s_out")
        self.sent_errors = self._by_kind("{}_errors_out")

    @property
    def host(self) -> "HostMetrics":
        """Gives the declarations a host type without a host."""
        return self

    def _by_kind(self, pattern: str) -> dict[str, Count]:
        return {kind: getattr(self, pattern.format(kind)) for kind in KINDS}

    def add_up(self) -> None:
        """Set what is the sum of other counters; they alone are counted for each stanza."""
        self.stanzas_in.value = _sum(self.received)
        self.errors_in.value = _sum(self.received_errors)
        self.stanzas_out.value = _sum(self.sent)
        self.errors_out.value = _sum(self.sent_errors)


def _sum(counts: dict[str, Count]) -> float:
    return sum(count.value for count in counts.values())


@cache
def host_metrics(host_type: str) -> HostMetrics:
    """Return the counters of a host type; equal names give the same object."""
    return HostMetrics(host_type)


CERTIFICATE_DAYS = Gauge("tls_cert_remaining_days", "Days until a certificate expires", ("file",))
TOTAL_SESSIONS = Gauge("sm_total_sessions_count", "Open sessions, on all nodes")
NODE_SESSIONS = Gauge("sm_node_sessions_count", "Open sessions of this node")
UNIQUE_SESSIONS = Gauge("sm_unique_sessions_count", "Accounts that have an open session")
CONNECTIONS = Gauge("system_tcp_ports_count", "Connections of clients, also before they log in")
UP_TIME = Gauge("system_up_time_seconds", "Time since the server started")
DATABASE_TIME = Histogram(
    "rdbms_call_time", "Time from a call of the database to its result, waiting included", ("call",)
)
DATABASE_QUEUE = Gauge("wpool_global_queue_lengths_total", "Calls of the database under way")

_NODE = (
    CERTIFICATE_DAYS,
    TOTAL_SESSIONS,
    NODE_SESSIONS,
    UNIQUE_SESSIONS,
    CONNECTIONS,
    UP_TIME,
    DATABASE_QUEUE,
    *cluster.GAUGES,
)

OWNER = "metrics"
"""Owner of the handlers that :func:`count_events` registers."""


class EventCounts:
    """Counts what hooks tell: sessions and accounts of one host."""

    def __init__(self, metrics: HostMetrics) -> None:
        self._metrics = metrics

    def opened(self, event: SessionOpened) -> None:
        """Counts a session that begins."""
        self._metrics.logins.inc()

    def closed(self, event: SessionClosed) -> None:
        """Counts a session that ends."""
        self._metrics.logouts.inc()

    def registered(self, event: RegisterUser) -> None:
        """Counts a new account."""
        self._metrics.registered.inc()

    def removed(self, event: RemoveUser) -> None:
        """Counts an account that goes."""
        self._metrics.unregistered.inc()


def count_events(hooks: HookBus, host_type: str) -> None:
    """Count sessions and accounts of a host; the caller publishes the bus's changes.

    What happens for every stanza is not counted by hooks but where it happens, with
    :func:`host_metrics`.
    """
    counts = EventCounts(host_metrics(host_type))
    hooks.add(SessionOpened, Order.LAST, OWNER, counts.opened)
    hooks.add(SessionClosed, Order.LAST, OWNER, counts.closed)
    hooks.add(RegisterUser, Order.LAST, OWNER, counts.registered)
    hooks.add(RemoveUser, Order.LAST, OWNER, counts.removed)


def show(server: "Server") -> Callable[[], None]:
    """Have a server's sessions, connections, certificates, database and age in the metrics.

    :returns: a function that ends it.
    """
    calls = DATABASE_TIME.of_node()
    server.db.watch(lambda name, seconds: calls.labels(name).observe(seconds))
    end = REGISTRY.on_scrape(lambda: _measure(server, time.time()))

    def hide() -> None:
        end()
        for gauge in _NODE:
            gauge.clear()

    return hide


def _measure(server: "Server", now: float) -> None:
    """Set what is known only at the time of a scrape."""
    cluster.measure(server)
    counts = dict.fromkeys(server.config.hosts, 0)
    for host in server.hosts.values():
        counts[host.host_type] = counts.get(host.host_type, 0) + host.sessions.count()
    for host_type, count in counts.items():
        metrics = host_metrics(host_type)
        metrics.sessions.set(count)
        metrics.add_up()
    registries = [host.sessions for host in server.hosts.values()]
    TOTAL_SESSIONS.of_node().set(sum(sessions.count() for sessions in registries))
    NODE_SESSIONS.of_node().set(sum(sessions.local_count for sessions in registries))
    UNIQUE_SESSIONS.of_node().set(sum(sessions.accounts() for sessions in registries))
    CONNECTIONS.of_node().set(sum(len(listener.streams) for listener in server.listeners))
    DATABASE_QUEUE.of_node().set(server.db.waiting)
    UP_TIME.of_node().set(now - server.started_at)
    _measure_certificates(server, now)


def _measure_certificates(server: "Server", now: float) -> None:
    CERTIFICATE_DAYS.clear()
    days = CERTIFICATE_DAYS.of_node()
    for listener in server.listeners:
        for file, expires in listener.certificates.items():
            days.labels(file).set((expires - now) / 86400)
