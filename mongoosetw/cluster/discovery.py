"""How a node gets its name and number, and learns where the others are.

Workers of one machine always find one another by their sockets in ``data_dir``; what is
configured as ``discovery`` adds the nodes of other machines.
"""

import logging
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, Protocol

from twisted.internet.defer import Deferred
from twisted.internet.task import LoopingCall
from twisted.python.failure import Failure

from mongoosetw.cluster import places
from mongoosetw.cluster.config import Cluster, node_names, static_nodes
from mongoosetw.cluster.mesh import Node
from mongoosetw.storage.database import DatabaseUnavailable
from mongoosetw.storage.discovery import DiscoveryTable, NumberLost

logger = logging.getLogger(__name__)
FOLDER: Final = "nodes"
"""Folder in ``data_dir`` with the sockets of the machine's nodes."""

Addresses = Mapping[str, tuple[str, ...]]
"""Where nodes listen, by name; the best place first."""
Expect = Callable[[Addresses], object]


@dataclass(frozen=True, slots=True)
class Seat:
    """Which of a machine's nodes a process is.

    :ivar index: from 1 on.
    :ivar incarnation: grows with each start.
    """

    index: int
    workers: int
    incarnation: int

    def name(self, machine: str) -> str:
        """The node's name in the cluster."""
        return node_names(machine, self.workers)[self.index - 1]


class Discovery(Protocol):
    """One way to find the other nodes."""

    async def join(self, address: str) -> Node:
        """Takes a name and a number.

        :param address: where nodes of other machines can connect; empty for nowhere.
        """

    def start(self, expect: Expect) -> None:
        """From now on tells where the other nodes are, whenever that changes."""

    async def leave(self) -> None:
        """Is found no longer."""


def link_socket(data_dir: str, index: int) -> str:
    """The socket on which a node takes links of its machine's other nodes."""
    return os.path.join(data_dir, FOLDER, f"{index}.sock")


def control_socket(data_dir: str, index: int) -> str:
    """The socket on which a worker takes commands from its supervisor."""
    return os.path.join(data_dir, FOLDER, f"{index}.ctl")


def siblings(machine: str, seat: Seat, data_dir: str) -> dict[str, tuple[str, ...]]:
    """Where the other nodes of this machine are."""
    names = enumerate(node_names(machine, seat.workers), 1)
    return {n: (places.unix(link_socket(data_dir, i)),) for i, n in names if i != seat.index}


class SupervisorDiscovery:
    """The nodes of one machine, numbered by their supervisor."""

    def __init__(self, options: Cluster, seat: Seat, data_dir: str) -> None:
        self._name = seat.name(options.name)
        self._seat = seat
        self._siblings = siblings(options.name, seat, data_dir)

    async def join(self, address: str) -> Node:
        """Takes the number that belongs to the seat."""
        return Node(self._name, self._seat.index - 1, self._seat.incarnation)

    def start(self, expect: Expect) -> None:
        """Tells where the siblings are."""
        expect(self._siblings)

    async def leave(self) -> None:
        """There is nobody to tell."""


class StaticDiscovery:
    """The nodes of a list, numbered by their position."""

    def __init__(self, options: Cluster, seat: Seat, data_dir: str) -> None:
        self._seat = seat
        self._nodes = {node.name: node for node in static_nodes(options.nodes)}
        self._own = self._nodes[seat.name(options.name)]
        self._siblings = siblings(options.name, seat, data_dir)

    @property
    def own_place(self) -> tuple[str, int]:
        """Address and port of this node."""
        return self._own.host, self._own.port

    async def join(self, address: str) -> Node:
        """Takes the number of the list."""
        return Node(self._own.name, self._own.number, self._seat.incarnation)

    def start(self, expect: Expect) -> None:
        """Tells where the nodes of the list are."""
        listed = {name: (places.tls(n.host, n.port),) for name, n in self._nodes.items()}
        expect({**listed, **self._siblings})

    async def leave(self) -> None:
        """The list stays as it is."""


class RDBMSDiscovery:
    """The nodes of the table ``discovery_nodes``.

    :param lost: called when another process has this node's name or number.
    """

    def __init__(
        self,
        options: Cluster,
        seat: Seat,
        data_dir: str,
        table: DiscoveryTable,
        clock: Any,
        lost: Callable[[str], object],
    ) -> None:
        self._seat = seat
        self._name = seat.name(options.name)
        self._siblings = siblings(options.name, seat, data_dir)
        self._table = table
        self._lost = lost
        self._address = ""
        self._incarnation = 0
        self._interval = options.poll_interval
        self._expect: Expect = lambda addresses: None
        self._polling = LoopingCall(self._poll)
        self._polling.clock = clock
        self._failing = False

    async def join(self, address: str) -> Node:
        """Takes a number that no living node has."""
        self._address = address
        allotted = await self._table.join(self._name, self._seat.incarnation, address)
        self._incarnation = allotted.incarnation
        return Node(self._name, allotted.number, allotted.incarnation)

    def start(self, expect: Expect) -> None:
        """Looks into the table, again and again."""
        self._expect = expect
        self._polling.start(self._interval).addErrback(_poll_failed)

    def _poll(self) -> "Deferred[None]":
        polled = Deferred.fromCoroutine(self._refresh())
        polled.addErrback(self._failed)
        return polled

    async def _refresh(self) -> None:
        others = await self._table.refresh(self._name, self._incarnation, self._address)
        self._failing = False
        found: dict[str, tuple[str, ...]] = {n: (f"tls:{at}",) for n, at in others.items()}
        for name, near in self._siblings.items():
            found[name] = near + found.get(name, ())
        self._expect(found)

    def _failed(self, failure: Failure) -> None:
        if failure.check(NumberLost):
            if self._polling.running:
                self._polling.stop()
            self._lost(str(failure.value))
            return
        failure.trap(DatabaseUnavailable)
        if not self._failing:  # links stay as they are; once is enough for the log
            self._failing = True
            logger.warning("discovery_failed reason=%s", failure.value)

    async def leave(self) -> None:
        """Is looked for no longer; the number stays taken until it expires."""
        if self._polling.running:
            self._polling.stop()
        try:
            await self._table.leave(self._name, self._incarnation)
        except DatabaseUnavailable as error:
            logger.warning("discovery_failed reason=%s", error)


def _poll_failed(failure: Failure) -> None:
    logger.error("discovery_ended", exc_info=failure.value)
