"""``mongoosectl cluster``: which nodes there are, and what happened to them."""

import logging
from typing import TYPE_CHECKING, Any

from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from mongoosetw.cluster.draining import drain
from mongoosetw.cluster.links import PBMesh
from mongoosetw.control import Args, Control

if TYPE_CHECKING:
    from mongoosetw.server import Server

logger = logging.getLogger(__name__)
_LATELY = 20
_COLUMNS = (
    "linked",
    "address",
    "software",
    "version",
    "lag_ms",
    "clock_skew_ms",
    "queued_bytes",
    "problem",
)


class ClusterCommands:
    """``cluster status|nodes|drain|leave``."""

    def __init__(self, server: "Server") -> None:
        self._server = server
        self._drained: Deferred[None] | None = None

    def register(self, control: Control) -> None:
        """Put the commands into the table."""
        control.command("cluster status")(self.status)
        control.command("cluster nodes")(self.nodes)
        control.command("cluster drain")(self.drain)
        control.command("cluster leave")(self.leave)

    @property
    def _links(self) -> PBMesh | None:
        membership = self._server.membership
        return None if membership is None else membership.links

    def status(self, args: Args) -> dict[str, list[dict[str, Any]]]:
        """Describe this node, its links, and what happened lately."""
        own = self._own()
        links = self._links
        if links is None:
            return {"nodes": [own]}
        name = own["node"]
        cluster = self._server.cluster
        known = [] if cluster is None else cluster.directory.describe()
        return {
            "nodes": [own],
            "sessions": [{"known_by": name, **row} for row in known],
            "links": [{"node": name, **_renamed(link)} for link in links.describe()],
            "lately": [
                {"when": e["when"], "seen_by": name, "peer": e["node"],
                 "event": e["event"], "how": e["how"]}
                for e in links.happenings.describe()[:_LATELY]
            ],
        }  # fmt: skip

    def _own(self) -> dict[str, Any]:
        local, hosts = self._server.mesh.local, self._server.hosts.values()
        return {
            "node": local.name,
            "number": local.number,
            "incarnation": local.incarnation,
            "sessions": sum(host.sessions.local_count for host in hosts),
            "linked": len(self._server.mesh.peers),
            "draining": self._server.draining,
        }

    def drain(self, args: Args) -> dict[str, Any]:
        """Take no more clients, and send away those that there are; return how many are left."""
        done = self._begin().called
        listeners = self._server.listeners
        streams = sum(len(listener.streams) for listener in listeners)
        return {"connections": streams, "done": done}

    def leave(self, args: Args) -> dict[str, Any]:
        """Do so, and end."""
        self._begin().addCallback(lambda _: self._server.stop())
        return self.drain(args)

    def _begin(self) -> "Deferred[None]":
        if self._drained is None:
            self._drained = Deferred.fromCoroutine(drain(self._server))
            self._drained.addErrback(_drain_failed)
        return self._drained

    def nodes(self, args: Args) -> list[dict[str, Any]]:
        """Name all nodes that this one knows of, itself included."""
        local = self._server.mesh.local
        found = [{"node": local.name, "number": local.number, "linked": True}]
        links = self._links
        for link in [] if links is None else links.describe():
            number = link.get("number")
            found.append({"node": link["node"], "number": number, "linked": link["linked"]})
        return sorted(found, key=lambda node: str(node["node"]))


def _drain_failed(failure: Failure) -> None:
    logger.error("drain_failed", exc_info=failure.value)


def _renamed(link: dict[str, Any]) -> dict[str, Any]:
    """One side of a link for a table: all columns, whether it is up or not."""
    return {"peer": link["node"], **{name: link.get(name) for name in _COLUMNS}}
