"""The router: a list of routes, each of which takes a stanza or leaves it to the next."""

from collections.abc import Callable
from typing import TYPE_CHECKING

from twisted.internet.defer import Deferred

from mongoosetw.hooks.bus import STOP, HookBus, HookFailed
from mongoosetw.hooks.routing import FilterPacket
from mongoosetw.xmpp.errors import StanzaError, stanza_error
from mongoosetw.xmpp.stanza import Stanza

if TYPE_CHECKING:  # types only
    from mongoosetw.host import Host
    from mongoosetw.server_metrics import HostMetrics

Route = Callable[[Stanza], "Deferred[None] | bool"]
"""Takes a stanza and answers True, or a Deferred while that has to wait; False: not mine."""


class Router:
    """Sends each stanza on by its ``to``: local domain, then whatever routes were added.

    The order is MongooseIM's: local domains, external components, federation.
    """

    def __init__(self, global_hooks: HookBus) -> None:
        self._hooks = global_hooks
        self._hosts: dict[str, Host] = {}
        self._routes: tuple[tuple[int, str, Route], ...] = ()

    def add_host(self, host: "Host") -> None:
        """Serves a domain."""
        self._hosts[host.domain] = host

    def remove_host(self, host: "Host") -> None:
        """Serves a domain no longer."""
        del self._hosts[host.domain]

    def add_route(self, priority: int, owner: str, route: Route) -> None:
        """Adds a route behind the local domains; lower priorities are asked first."""
        routes = [*self._routes, (priority, owner, route)]
        self._routes = tuple(sorted(routes, key=lambda entry: entry[0]))

    def remove_routes(self, owner: str) -> None:
        """Removes the routes of a module or listener."""
        self._routes = tuple(entry for entry in self._routes if entry[1] != owner)

    def host_for(self, domain: str) -> "Host | None":
        """The host that serves a domain here."""
        return self._hosts.get(domain)

    def route(self, stanza: Stanza) -> "Deferred[None] | None":
        """Sends a stanza on its way; errors go back to its sender as error stanzas.

        :returns: a Deferred while something on the way has to wait.
        """
        if self._hooks.handled(FilterPacket):
            event = FilterPacket(stanza)
            try:
                if self._hooks.fire(event) is STOP:
                    if (metrics := self._metrics(stanza)) is not None:
                        metrics.dropped.inc()
                    return None
            except (StanzaError, HookFailed) as error:
                self.bounce(stanza, error)
                return None
            stanza = event.stanza
        to = stanza.to
        assert to is not None, "a stanza without an address reached the router"
        host = self._hosts.get(to.domain)
        if host is not None:
            return host.receive(stanza)
        for _, _, route in self._routes:
            taken = route(stanza)
            if isinstance(taken, Deferred):
                return taken
            if taken:
                return None
        if (metrics := self._metrics(stanza)) is not None:
            metrics.no_route.inc()
        # RFC 6120 §10.4.3: no way to the domain
        self.bounce(stanza, StanzaError("remote-server-not-found"))
        return None

    def bounce(self, stanza: Stanza, error: Exception) -> None:
        """Answers with an error stanza, where RFC 6120 §8.3.1 allows one."""
        if stanza.type == "error" or (stanza.kind == "iq" and stanza.type == "result"):
            return
        if stanza.from_ is None or stanza.kind == "presence":
            return  # RFC 6121 §8.5: presence is dropped in silence
        if stanza.kind == "message" and (metrics := self._metrics(stanza)) is not None:
            metrics.bounced.inc()
        self.route(stanza.error(stanza_error(error)))

    def _metrics(self, stanza: Stanza) -> "HostMetrics | None":
        """The counters of the domain that a stanza comes from, else of the one it goes to."""
        for address in (stanza.from_, stanza.to):
            host = None if address is None else self._hosts.get(address.domain)
            if host is not None:
                return host.metrics
        return None
