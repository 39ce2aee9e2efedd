"""Has cleaned up what sessions have left behind that went with their node.

Each node hears of the loss, and tells its own clients; what is to be done once for all is done by
one of them. They agree on which without asking one another: it is the first of the living.
"""

import time
from functools import partial
from typing import TYPE_CHECKING, Final

from mongoosetw.cluster.mesh import is_first
from mongoosetw.hooks.bus import Order
from mongoosetw.hooks.c2s import SessionLike
from mongoosetw.hooks.cluster import SessionsCleanup, SessionsLost
from mongoosetw.timers import Timers

if TYPE_CHECKING:  # types only
    from mongoosetw.host import Host
    from mongoosetw.server import Server

PORTION: Final = 500
"""Sessions that are cleaned up at once."""


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
        # Else it has cleaned up itself
        if not event.over and event.node not in self._server.mesh.peers:
            self._timers.later(self._grace, self._clean, event, time.time())

    def _clean(self, event: SessionsLost, lost_at: float) -> None:
        host = event.lost[0].host
        if is_first(self._server.mesh) and self._server.hosts.get(host.domain) is host:
            host.insist(partial(_fire, host, list(event.lost), event.node, lost_at))

    def stop(self) -> None:
        """The server stops."""
        self._timers.stop()


async def _fire(host: "Host", lost: list[SessionLike], node: str, lost_at: float) -> None:
    """One portion after the other: where they are asked for, many users are dear.

    :param lost: what is left of them if one of the portions has to be tried again.
    """
    while lost:
        some = lost[:PORTION]
        pending = host.prepare({session.bare for session in some})
        if pending is not None:
            await pending
        gone = [session for session in some if host.sessions.get(session.jid) is None]
        if gone:
            await host.hooks.run(SessionsCleanup(gone, node, lost_at))
        del lost[:PORTION]
