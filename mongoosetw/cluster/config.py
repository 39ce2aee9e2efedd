"""``[cluster]``: how this node finds the others, and how they prove to belong together."""

import os
import re
import socket
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final, Literal

from mongoosetw.config.options import option, section

DEFAULT_CLUSTER: Final = "mongoosetw"
SECRET_MINIMUM: Final = 16
"""Characters of the shortest secret: whoever listens in on nothing can still guess."""
_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
_ENTRY: Final = re.compile(
    r"(?P<name>[^@]+)@(?P<host>[^@\[\]:]+|\[[0-9A-Fa-f:.]+\]):(?P<first>\d+)(-(?P<last>\d+))?"
)


@dataclass(frozen=True)
class ClusterTLS:
    """Certificates of the links between machines; links are always encrypted."""

    cacertfile: str = option(
        "",
        path=True,
        doc="PEM file of the cluster's own authority. Whoever has a certificate of it, and its "
        "key, is a node: take no authority that others get certificates of, too.",
    )
    certfile: str = option(
        "", path=True, doc="PEM file of this node's certificate, for both server and client use."
    )
    keyfile: str = option(
        "", path=True, doc="PEM file of the private key; in `certfile` if not given."
    )


@dataclass(frozen=True)
class Cluster:
    """How nodes find one another, and how they prove to belong together."""

    discovery: Literal["supervisor", "static", "rdbms"] = option(
        "supervisor",
        doc="Where the other nodes are known from: only the workers of this machine; the list "
        "`nodes`; or the table `discovery_nodes` of the SQL database.",
    )
    cluster_name: str = option(
        DEFAULT_CLUSTER, doc="Nodes of another cluster's name are refused, and not looked for."
    )
    node_name: str = option(
        "",
        doc="This machine's name in the cluster; its host name if empty. Worker 2 of `alpha` is "
        "the node `alpha.2`.",
    )
    nodes: tuple[str, ...] = option(
        (),
        doc="For `static`: every machine of the cluster as `name@address:port`, in the same "
        "order everywhere; a machine with four workers as `name@address:port-port`.",
    )
    ip_address: str = option(
        "",
        doc="For `rdbms`: IPv4 or IPv6 address to listen on for the nodes of other machines. "
        "For `static` the address in `nodes`, if empty.",
    )
    port: int = option(
        0,
        minimum=0,
        maximum=65535,
        doc="For `rdbms`: TCP port of the first worker, the next one has the next port; "
        "0: any free port.",
    )
    advertised_address: str = option(
        "", doc="For `rdbms`: address that other nodes connect to; `ip_address` if empty."
    )
    secret: str = option(
        "",
        secret=True,
        doc=f"What all nodes know and nobody else, at least {SECRET_MINIMUM} characters. If "
        "empty, the workers of one machine share a secret in `data_dir`.",
    )
    tls: ClusterTLS = section(ClusterTLS, "Certificates of the links between machines.")
    peer_timeout: float = option(
        10.0,
        minimum=1,
        maximum=600,
        unit="seconds",
        doc="Longest time until a node that is dead, frozen or cut off counts as lost.",
    )
    reconnect_delay_max: float = option(
        10.0,
        minimum=0.1,
        maximum=600,
        unit="seconds",
        doc="Longest pause between two attempts to connect to a node.",
    )
    worker_timeout: float = option(
        60.0,
        minimum=1,
        maximum=600,
        unit="seconds",
        doc="Time after which a worker that does not react is killed and started again.",
    )
    drain_rate: float = option(
        500.0,
        minimum=1,
        unit="clients a second",
        doc="How fast a node that is drained sends its clients away, which then come to others.",
    )
    drain_timeout: float = option(
        120.0,
        minimum=1,
        unit="seconds",
        doc="Longest time that a worker is drained before it is stopped or replaced.",
    )
    see_other_host: str = option(
        "",
        doc="Host and port that the clients of a drained node are sent to; if empty, they are "
        "told that the server shuts down, and come back to where they came to before.",
    )
    queue_size: int = option(
        16 * 1024 * 1024,
        minimum=1024 * 1024,
        unit="bytes",
        doc="What may wait for one node, sent and not yet taken included.",
    )
    poll_interval: float = option(
        5.0,
        minimum=0.1,
        maximum=600,
        unit="seconds",
        doc="For `rdbms`: time between two looks into the table.",
    )
    expire_after: float = option(
        3600.0,
        minimum=10,
        unit="seconds",
        doc="For `rdbms`: time after which a node that does not show up loses its number.",
    )

    @property
    def name(self) -> str:
        """This machine's name in the cluster."""
        return self.node_name or socket.gethostname()

    @property
    def has_certificates(self) -> bool:
        """Whether nodes prove themselves by certificates."""
        return bool(self.tls.cacertfile)


class BadEntry(ValueError):
    """An entry of ``nodes`` that cannot be understood; the text says what was expected."""


@dataclass(frozen=True, slots=True)
class StaticNode:
    """One node of the list.

    :ivar number: its position, machines with several workers counting as several.
    """

    name: str
    host: str
    port: int
    number: int


def node_names(machine: str, workers: int) -> list[str]:
    """The names of a machine's nodes."""
    return [machine] if workers == 1 else [f"{machine}.{n}" for n in range(1, workers + 1)]


def static_nodes(entries: Iterable[str]) -> list[StaticNode]:
    """The nodes that ``nodes`` lists.

    :raises BadEntry: one is not ``name@address:port`` or ``name@address:first-last``.
    """
    found: list[StaticNode] = []
    for entry in entries:
        match = _ENTRY.fullmatch(entry)
        if match is None or not is_name(match["name"]):
            raise BadEntry(f'expected "name@address:port", got "{entry}"')
        first, last = int(match["first"]), int(match["last"] or match["first"])
        if not 0 < first <= last <= 65535:
            raise BadEntry(f'expected ports from 1 to 65535, ascending, got "{entry}"')
        host = match["host"].strip("[]")
        for n, name in enumerate(node_names(match["name"], last - first + 1)):
            found.append(StaticNode(name, host, first + n, len(found)))
    return found


def is_name(name: str) -> bool:
    """Whether this can be the name of a node."""
    return _NAME.fullmatch(name) is not None


def worker_count(workers: int | Literal["auto"]) -> int:
    """How many nodes ``general.workers`` asks for."""
    return len(os.sched_getaffinity(0)) if workers == "auto" else workers
