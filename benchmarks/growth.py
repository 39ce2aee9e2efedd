"""``python -m benchmarks.growth``: what a login costs a cluster as it grows.

Whole clusters run in this process, on links in memory that count what is sent. Each client binds a
resource, sends presence and logs out again; it has no contacts, so that what is counted is what all
nodes have to know of a session.
"""

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from twisted.internet.task import Clock

from benchmarks import sessions
from mongoosetw.testing.client import Client
from mongoosetw.testing.nodes import MemoryCluster
from mongoosetw.xmpp.jid import JID

BACKENDS: Final = {"replicated": "", "redis": "sm_backend = 'redis'"}
"""What the configuration says in ``[general]``, by the name of the back end."""
NODES: Final = (2, 5, 10, 20, 50)
_CONFIGURATION: Final = (
    "[general]\nhosts = ['localhost']\n{}\n[[listen.c2s]]\nport = 5222\n"
    "[auth]\nmethods = ['dummy']\n[modules.mod_presence]"
)


@dataclass(frozen=True)
class Growth:
    """Figures of one size.

    :ivar payloads: what was sent over all links for a login with its presence and its logout.
    :ivar bytes: how long it was.
    :ivar commands: what Redis was asked to do for it.
    """

    nodes: int
    payloads: float
    bytes: float
    commands: float


def _pass_time(clock: Clock, steps: int, seconds: float) -> None:
    for _ in range(steps):
        clock.advance(seconds)


def measure(nodes: int, logins: int, backend: str) -> Growth:
    """Has clients log in and out at the nodes of a cluster by turns."""
    clock = Clock()
    cluster = MemoryCluster(clock, _CONFIGURATION.format(BACKENDS[backend]))
    for n in range(nodes):
        cluster.start(f"n{n}")
    _pass_time(clock, 50, 0.1)
    places = list(cluster.nodes.values())
    network = cluster.network
    payloads, size = network.payloads.total(), network.bytes.total()
    commands = cluster.redis.commands
    for n in range(logins):
        jid = JID.parse(f"user{n:08}@localhost/mobile-{n:08x}")
        client = Client(places[n % nodes].listener, lambda: _pass_time(clock, 4, 0.0), jid)
        client.send("<presence/>")
        client.send("</stream:stream>")
    _pass_time(clock, 20, 0.1)
    payloads, size = network.payloads.total() - payloads, network.bytes.total() - size
    commands = cluster.redis.commands - commands
    cluster.close()
    return Growth(nodes, payloads / logins, size / logins, commands / logins)


def table(figures: Sequence[Growth], memory: float) -> str:
    """The figures in Markdown.

    :param memory: bytes that a session takes on each node that does not have it.
    """
    rows = [
        "| nodes | payloads a login | bytes a login | memory a session, all other nodes |",
        "| ---: | ---: | ---: | ---: |",
    ]
    for one in figures:
        kept = memory * (one.nodes - 1) / 1024
        rows.append(f"| {one.nodes} | {one.payloads:.1f} | {one.bytes:.0f} | {kept:.1f} KiB |")
    return "\n".join(rows)


def redis_table(figures: Sequence[Growth]) -> str:
    """The figures with Redis, which keeps what all nodes would keep else."""
    rows = [
        "| nodes | payloads a login | bytes a login | commands of Redis a login |",
        "| ---: | ---: | ---: | ---: |",
    ]
    for one in figures:
        rows.append(
            f"| {one.nodes} | {one.payloads:.1f} | {one.bytes:.0f} | {one.commands:.1f} |"
        )
    return "\n".join(rows)


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--backend", choices=sorted(BACKENDS), default="replicated")
    parser.add_argument("--nodes", type=int, nargs="+", default=NODES)
    parser.add_argument("--logins", type=int, default=200)
    parser.add_argument("--sessions", type=int, default=20_000)
    options = parser.parse_args()
    figures = [measure(nodes, options.logins, options.backend) for nodes in options.nodes]
    if options.backend == "redis":
        print(redis_table(figures))
    else:
        print(table(figures, sessions.measure(options.sessions).memory))


if __name__ == "__main__":
    main()
