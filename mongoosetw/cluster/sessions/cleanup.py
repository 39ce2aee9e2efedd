"""Has cleaned up what sessions have left behind that went with their node.

Each node hears of the loss, and tells its own clients; what is to be done once for all is done by
one of them. They agree on which without asking one another: it is the first of the living.
"""

from typing import TYPE_CHECKING

from mongoosetw.cluster.mesh import is_first
from mongoosetw.hooks.bus import Order
from mongoosetw.hooks.cluster import SessionsCleanup, SessionsLost
from mongoosetw.timers import Timers

if TYPE_CHECKING:  # types only
    from mongoosetw.host import Host
    from mongoosetw.server import Server


class Cleanup:
    """Fires ``SessionsCleanup`` when a lost node has not come back with its sessions."""

    def __init__(self, server: "Server") -> None:
        self._server = server
        self._timers = Timers(server.clock)
        # Whoever is lost together with the node, and would have been the first, is missed by then.
        self._grace = server.config.cluster.peer_timeout + 1

    def attach(self, host: "Host") -> None:
        """A host is served from now on."""
        host.hooks.add(SessionsLost, Order.LAST, "cluster", self._lost)
        host.hooks.publish()

    def _lost(self, event: SessionsLost) -> None:
        if event.node not in self._server.mesh.peers:  # else it has cleaned up itself
            self._timers.later(self._grace, self._clean, event)

    def _clean(self, event: SessionsLost) -> None:
        host = event.lost[0].host
        if is_first(self._server.mesh) and self._server.hosts.get(host.domain) is host:
            host.in_background(self._fire(host, event))

    async def _fire(self, host: "Host", event: SessionsLost) -> None:
        pending = host.prepare({session.bare for session in event.lost})
        if pending is not None:
            await pending
        gone = [session for session in event.lost if host.sessions.get(session.jid) is None]
        if gone:
            await host.hooks.run(SessionsCleanup(gone, event.node))

    def stop(self) -> None:
        """The server stops."""
        self._timers.stop()
