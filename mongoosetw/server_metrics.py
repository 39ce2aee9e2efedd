"""The metrics of the core, under MongooseIM's names where they mean the same."""

import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import cache
from typing import Any, Protocol

from prometheus_client.core import Metric

from mongoosetw.hooks.bus import HookBus, Order
from mongoosetw.hooks.c2s import SessionClosed, SessionOpened
from mongoosetw.hooks.users import RegisterUser, RemoveUser
from mongoosetw.metrics import REGISTRY, Counter, Gauge, Histogram, Registry


class _Named:
    """Gives the declarations a host type without a host."""

    def __init__(self, host_type: str) -> None:
        self.domain = host_type

    @property
    def host(self) -> "_Named":
        return self


class HostMetrics(_Named):
    """Counters of one host type; get them with :func:`host_metrics` and keep them."""

    auth_failed = Counter("c2s_auth_failed_count", "Failed authentications of clients")
    logins = Counter("sm_session_logins", "Sessions opened")
    logouts = Counter("sm_session_logouts", "Sessions closed")
    message_processed = Histogram(
        "c2s_message_processed_time", "Seconds from a client's message to the end of its routing"
    )
    bounced = Counter("sm_message_bounced_count", "Messages returned to their sender")
    dropped = Counter("router_stanza_dropped_count", "Stanzas that a filter dropped")
    no_route = Counter("router_no_route_found_count", "Stanzas to nowhere")
    messages_in = Counter("xmpp_element_in_message_count", "Messages from clients")
    presences_in = Counter("xmpp_element_in_presence_count", "Presence stanzas from clients")
    iqs_in = Counter("xmpp_element_in_iq_count", "IQ stanzas from clients")
    messages_out = Counter("xmpp_element_out_message_count", "Messages to clients")
    presences_out = Counter("xmpp_element_out_presence_count", "Presence stanzas to clients")
    iqs_out = Counter("xmpp_element_out_iq_count", "IQ stanzas to clients")
    errors_in = Counter("xmpp_element_in_error_count", "Error stanzas from clients")
    errors_out = Counter("xmpp_element_out_error_count", "Error stanzas to clients")
    subscriptions = Counter("sm_presence_subscription_subscription_count", "New subscriptions")
    unsubscriptions = Counter(
        "sm_presence_subscription_unsubscription_count", "Cancelled subscriptions"
    )
    registered = Counter("auth_register_user_count", "Accounts created")
    unregistered = Counter("auth_unregister_user_count", "Accounts removed")


@cache
def host_metrics(host_type: str) -> HostMetrics:
    """Return the counters of a host type; equal names give the same object."""
    return HostMetrics(host_type)


BYTES_IN = Counter("tcp_data_in_byte_size", "Bytes received from clients")
BYTES_OUT = Counter("tcp_data_out_byte_size", "Bytes sent to clients")
CERTIFICATE_DAYS = Gauge(
    "tls_cert_remaining_days", "Days until the certificate expires", ("file",)
)


class MeasuredSessions(Protocol):
    """What is read of a host's session registry."""

    def count(self) -> int:
        """Return the number of open sessions."""
        ...

    def __iter__(self) -> Iterator[Any]: ...


class MeasuredHost(Protocol):
    """What is read of a host."""

    @property
    def sessions(self) -> MeasuredSessions:
        """The open sessions."""
        ...


class MeasuredServer(Protocol):
    """What is read of the server: ``started_at`` is in seconds of the given clock."""

    @property
    def hosts(self) -> Mapping[str, MeasuredHost]:
        """Hosts by domain."""
        ...

    @property
    def started_at(self) -> float:
        """When the server started."""
        ...


def server_families(server: MeasuredServer, now: float) -> Iterable[Metric]:
    """Yield what is known only at the time of a scrape: sessions and the server's age."""
    per_host = Metric("sm_session_count", "Open sessions", "gauge")
    users: set[str] = set()
    total = 0
    for domain, host in server.hosts.items():
        count = host.sessions.count()
        total += count
        users.update(str(session.bare) for session in host.sessions)
        per_host.add_sample("sm_session_count", {"host_type": domain}, count)
    yield per_host
    yield _gauge("sm_total_sessions_count", "Open sessions of the cluster", total)
    yield _gauge("sm_node_sessions_count", "Open sessions of this node", total)
    yield _gauge("sm_unique_sessions_count", "Accounts with an open session", len(users))
    yield _gauge("system_up_time_seconds", "Age of this server", now - server.started_at)


def _gauge(name: str, doc: str, value: float) -> Metric:
    metric = Metric(name, doc, "gauge")
    metric.add_sample(name, {}, value)
    return metric


OWNER = "metrics"
"""Owner of the handlers that :func:`count_events` registers."""


def count_events(hooks: HookBus, host_type: str) -> None:
    """Count sessions and accounts of a host; the caller publishes the bus's changes.

    What happens for every stanza is not counted by hooks but where it happens, with
    :func:`host_metrics`.
    """
    metrics = host_metrics(host_type)

    def opened(event: SessionOpened) -> None:
        metrics.logins.inc()

    def closed(event: SessionClosed) -> None:
        metrics.logouts.inc()

    def registered(event: RegisterUser) -> None:
        metrics.registered.inc()

    def removed(event: RemoveUser) -> None:
        metrics.unregistered.inc()

    hooks.add(SessionOpened, Order.LAST, OWNER, opened)
    hooks.add(SessionClosed, Order.LAST, OWNER, closed)
    hooks.add(RegisterUser, Order.LAST, OWNER, registered)
    hooks.add(RemoveUser, Order.LAST, OWNER, removed)


def expose(server: MeasuredServer, registry: Registry = REGISTRY) -> Callable[[], None]:
    """Show a server's sessions and age in the metrics.

    :returns: a function that ends it.
    """
    return registry.add_source(lambda: server_families(server, time.time()))
