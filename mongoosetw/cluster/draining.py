"""A node that is about to go: it takes no more clients, and sends away those that it has."""

import logging
from typing import TYPE_CHECKING, Final

from twisted.internet.task import deferLater

from mongoosetw.xmpp.errors import StreamError

if TYPE_CHECKING:  # types only
    from mongoosetw.server import Server

logger = logging.getLogger(__name__)
STEP: Final = 0.1
"""Seconds between two portions of clients that are sent away."""


async def drain(server: "Server") -> None:
    """Closes the ports first, so that whoever is sent away comes back on another node.

    Returns when no client is connected. The node goes on as a part of the cluster.
    """
    server.draining = True
    logger.info("node_draining streams=%d", _streams(server))
    for listener in server.listeners:
        await listener.stop()
    portion = max(1, round(server.config.cluster.drain_rate * STEP))
    while _streams(server):
        for stream in [s for o in server.listeners for s in o.streams][:portion]:
            stream.close(_farewell(server.config.cluster.see_other_host))
        await deferLater(server.clock, STEP)
    logger.info("node_drained")


def _farewell(host: str) -> StreamError:
    """RFC 6120 §4.9.3.19 where another place is known, else §4.9.3.20."""
    return StreamError("see-other-host", content=host) if host else StreamError("system-shutdown")


def _streams(server: "Server") -> int:
    return sum(len(listener.streams) for listener in server.listeners)
