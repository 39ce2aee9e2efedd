"""``python -m benchmarks.sessions``: what a session of another node costs in memory and in time.

A node without clients is told of many sessions on another one, as it is when it joins a cluster.
"""

import argparse
import gc
import time
import tracemalloc
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

from twisted.internet.task import Clock

from mongoosetw.cluster.mesh import Node
from mongoosetw.cluster.sessions.changes import Kind, opened, pack
from mongoosetw.cluster.sessions.directory import CHANNEL
from mongoosetw.cluster.sessions.feed import PORTION
from mongoosetw.testing.mesh import MemoryMesh
from mongoosetw.testing.nodes import MemoryCluster
from mongoosetw.xmpp.jid import JID

_CONFIGURATION = "[general]\nhosts = ['localhost']\n[[listen.c2s]]\nport = 5222"
_FIRST_SID = 1_700_000_000_000_000 << 8


@dataclass(frozen=True)
class Figures:
    """What one session costs.

    :ivar memory: bytes, of the session and all that leads to it.
    :ivar told: bytes on the link.
    :ivar packing: microseconds to tell of it.
    :ivar taking: microseconds to take it.
    """

    memory: float
    told: float
    packing: float
    taking: float


def _session(n: int) -> Any:
    return SimpleNamespace(
        sid=_FIRST_SID + (n << 8),
        continues=0,
        jid=JID.parse(f"user{n:08}@localhost/mobile-{n:08x}"),
        flags=frozenset({"carbons", "sm"}),
        available=True,
        priority=n % 2,
        secure=True,
    )


def _portions(count: int) -> tuple[list[bytes], float]:
    """The frames that tell of sessions, and the seconds that it took to make them."""
    sessions = [_session(n) for n in range(count)]
    frames = [pack(Kind.BEGIN, 1, 0)]
    started = time.process_time()
    for first in range(0, count, PORTION):
        body = b"".join(map(opened, sessions[first : first + PORTION]))
        frames.append(pack(Kind.PORTION, len(frames) + 1, 0, body))
    return frames, time.process_time() - started


def _take(cluster: MemoryCluster, sender: MemoryMesh, frames: list[bytes]) -> float:
    """Has a node take frames; returns the seconds that it took."""
    started = time.process_time()
    for frame in frames:
        sender.send("a", CHANNEL, frame)
        for _ in range(4):
            cluster.clock.advance(0)
    return time.process_time() - started


def measure(count: int) -> Figures:
    """Has a node know sessions of another one: once for the time and once for the memory."""
    frames, packing = _portions(count)
    seconds, memory = 0.0, 0
    for traced in (False, True):
        cluster = MemoryCluster(Clock(), _CONFIGURATION)
        server = cluster.start("a").server
        sender = cluster.network.mesh(Node("b", 1, 1))
        sender.start()
        cluster.clock.advance(1)
        for _ in range(9):
            cluster.clock.advance(0)
        if traced:
            gc.collect()
            tracemalloc.start()
            _take(cluster, sender, frames)
            gc.collect()
            memory = tracemalloc.get_traced_memory()[0]
            tracemalloc.stop()
        else:
            seconds = _take(cluster, sender, frames)
        assert server.hosts["localhost"].sessions.count() == count
    told = sum(map(len, frames))
    micro = 1e6 / count
    return Figures(memory / count, told / count, packing * micro, seconds * micro)


def main() -> None:
    """Prints the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sessions", type=int, default=100_000)
    figures = measure(parser.parse_args().sessions)
    print(f"a session of another node: {figures.memory:.0f} bytes of memory")
    print(f"{figures.told:.0f} bytes on the link")
    print(f"{figures.packing:.1f} µs to tell of it, {figures.taking:.1f} µs to take it")


if __name__ == "__main__":
    main()
