"""A node that is about to go: it takes no more clients, and sends away those that it has."""

import logging
from typing import TYPE_CHECKING, Final

from twisted.internet.defer import Deferred, TimeoutError
from twisted.internet.task import deferLater

from mongoosetw.hooks.cluster import NodeLeaves
from mongoosetw.xmpp.errors import StreamError

if TYPE_CHECKING:  # types only
    from mongoosetw.server import Server

logger = logging.getLogger(__name__)
STEP: Final = 0.1
"""Seconds between two portions of clients that are sent away."""
RETURN: Final = 3.0
"""Seconds that clients have to come back elsewhere before their sessions are given away."""
PATIENCE: Final = 20.0
"""Seconds that giving them away may take when the node is told to end."""


async def drain(server: "Server") -> None:
    """Closes the ports first, so that whoever is sent away comes back on another node.

    Sessions that can be resumed wait for their clients, which come back elsewhere and have them
    fetched; those that still wait in the end are given to other nodes. Returns when no client is
    connected. The node goes on as a part of the cluster.
    """
    server.draining = True
    logger.info("node_draining streams=%d", _streams(server))
    for listener in server.listeners:
        await listener.stop()
    portion = max(1, round(server.config.cluster.drain_rate * STEP))
    may_return = has_heirs(server)
    while _streams(server):
        for stream in [s for o in server.listeners for s in o.streams][:portion]:
            stream.close(_farewell(server.config.cluster.see_other_host), may_return=may_return)
        await deferLater(server.clock, STEP)
    if may_return:
        await _wait_for_clients(server)
        await bequeath(server, server.config.cluster.drain_timeout)
    logger.info("node_drained")


def has_heirs(server: "Server") -> bool:
    """Whether there are other nodes to which sessions could go."""
    return server.cluster is not None and bool(server.mesh.peers)


async def _wait_for_clients(server: "Server") -> None:
    """Whose session is fetched needs no other one; most come back at once."""
    until = server.clock.seconds() + RETURN
    while server.clock.seconds() < until and _sessions(server):
        await deferLater(server.clock, STEP)


async def bequeath(server: "Server", patience: float = PATIENCE) -> None:
    """Gives the sessions that wait for their clients to other nodes, as far as these take them.

    :param patience: seconds that it may take.
    """
    assert server.cluster is not None
    leaving = Deferred.fromCoroutine(_leave(server))
    try:
        await leaving.addTimeout(patience, server.clock)
    except TimeoutError:
        logger.warning("sessions_not_given number=%d", _sessions(server))
    await server.cluster.moves.finished()


async def _leave(server: "Server") -> None:
    for host in list(server.hosts.values()):
        await host.hooks.run(NodeLeaves())


def _farewell(host: str) -> StreamError:
    """RFC 6120 §4.9.3.19 where another place is known, else §4.9.3.20."""
    return StreamError("see-other-host", content=host) if host else StreamError("system-shutdown")


def _sessions(server: "Server") -> int:
    return sum(host.sessions.local_count for host in server.hosts.values())


def _streams(server: "Server") -> int:
    return sum(len(listener.streams) for listener in server.listeners)
