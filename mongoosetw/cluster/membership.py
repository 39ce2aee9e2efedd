"""This node's place in the cluster: its name and number, its links, who may link to it."""

import logging
import os
import secrets
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from twisted.internet.interfaces import IListeningPort
from twisted.internet.protocol import Factory

from mongoosetw.cluster.alone import Alone
from mongoosetw.cluster.config import Cluster
from mongoosetw.cluster.discovery import (
    Discovery,
    RDBMSDiscovery,
    Seat,
    StaticDiscovery,
    SupervisorDiscovery,
    link_socket,
)
from mongoosetw.cluster.hello import Member
from mongoosetw.cluster.links import PBMesh, Secrets
from mongoosetw.cluster.mesh import Mesh, Node
from mongoosetw.cluster.places import Places
from mongoosetw.cluster.tls import LinkTLS
from mongoosetw.config.load import Config
from mongoosetw.control import remove_stale
from mongoosetw.net.flush import TurnFlusher
from mongoosetw.storage.database import Database
from mongoosetw.storage.discovery import SCHEMA, DiscoveryTable

logger = logging.getLogger(__name__)
SECRET_FILE: Final = "cluster.secret"


class Membership:
    """A node of a cluster; of a cluster of one, if nothing else is configured.

    :ivar mesh: the links to the other nodes.
    """

    mesh: Mesh

    def __init__(
        self, reactor: Any, config: Config, seat: Seat, lost: Callable[[str], object]
    ) -> None:
        """
        :param lost: called when the node has lost its number and must end.
        """
        self._reactor = reactor
        self._config = config
        self._options = config.cluster
        self._seat = seat
        self._lost = lost
        self._discovery: Discovery | None = None
        self._links: PBMesh | None = None
        self._ports: list[IListeningPort] = []
        session = LinkTLS(self._options, config.general.data_dir)
        self._places = Places(reactor, session)

    @property
    def links(self) -> PBMesh | None:
        """The mesh, if there can be other nodes."""
        return self._links

    async def join(self, db: Database) -> None:
        """Takes a name and a number, and listens for other nodes.

        Sessions may be opened from now on: the number is part of their ids.

        :raises twisted.internet.error.CannotListenError: a port or socket is taken.
        :raises mongoosetw.storage.discovery.NumberRefused: there is no number.
        :raises mongoosetw.storage.database.DatabaseUnavailable: the table cannot be read.
        """
        seat, options = self._seat, self._options
        if seat.workers == 1 and options.discovery == "supervisor":
            self.mesh = Alone(Node(seat.name(options.name), 0, seat.incarnation))
            return
        discovery = self._discovery = await self._discover(db)
        listening = _Later()
        address = await self._listen_for_machines(discovery, listening)
        node = await discovery.join(address)
        links = self._links = self.mesh = self._new_mesh(node)
        listening.factory = links.factory
        if seat.workers > 1:
            await self._listen_for_siblings(links)
        logger.info("node_joined peer=%s number=%d address=%s", node.name, node.number, address)

    async def _discover(self, db: Database) -> Discovery:
        options, data_dir = self._options, self._config.general.data_dir
        if options.discovery == "static":
            return StaticDiscovery(options, self._seat, data_dir)
        if options.discovery == "supervisor":
            return SupervisorDiscovery(options, self._seat, data_dir)
        await db.ensure(SCHEMA)
        table = DiscoveryTable(db, options.cluster_name, options.expire_after)
        return RDBMSDiscovery(options, self._seat, data_dir, table, self._reactor, self._lost)

    def _new_mesh(self, node: Node) -> PBMesh:
        options = self._options
        return PBMesh(
            self._reactor,
            Member(node, options.cluster_name),
            secrets_of(options, self._config.general.data_dir),
            self._places.to,
            TurnFlusher(self._reactor),
            peer_timeout=options.peer_timeout,
            reconnect_delay_max=options.reconnect_delay_max,
            queue_size=options.queue_size,
        )

    async def _listen_for_siblings(self, links: PBMesh) -> None:
        path = link_socket(self._config.general.data_dir, self._seat.index)
        os.makedirs(os.path.dirname(path), mode=0o700, exist_ok=True)
        remove_stale(Path(path))
        self._ports.append(await self._places.at_path(path).listen(links.factory))

    async def _listen_for_machines(self, discovery: Discovery, later: "_Later") -> str:
        """Opens the port for other machines; returns its address, empty if there is none."""
        options = self._options
        if isinstance(discovery, SupervisorDiscovery):
            return ""
        if isinstance(discovery, StaticDiscovery):
            host, port = discovery.own_place
            host = options.ip_address or host
        else:
            host, port = options.ip_address, options.port and options.port + self._seat.index - 1
        factory = self._places.over_tls(later)
        opened: Any = await self._places.at_port(host, port).listen(factory)
        self._ports.append(opened)
        shown = options.advertised_address or host
        return f"{f'[{shown}]' if ':' in shown else shown}:{opened.getHost().port}"

    def start(self) -> None:
        """Links to the other nodes: everything that takes what they send is in place."""
        if self._links is not None and self._discovery is not None:
            self._links.start()
            self._discovery.start(self._links.expect)

    async def leave(self, reason: str) -> None:
        """Says goodbye; the other nodes know that this one was not lost."""
        if self._links is None or self._discovery is None:
            return
        await self._discovery.leave()
        self._links.stop(reason)
        for port in self._ports:
            closed: Any = port.stopListening()
            if closed is not None:
                await closed


class _Later(Factory):
    """Listens already: its port has to be known before the node's number is."""

    noisy = False
    factory: Factory | None = None

    def buildProtocol(self, addr: Any) -> Any:
        return None if self.factory is None else self.factory.buildProtocol(addr)


def secrets_of(options: Cluster, data_dir: str) -> Secrets:
    """What the nodes of the machine and those of the cluster prove themselves by.

    Without a configured secret the machine has one in a file, made by the first who asks.

    :raises OSError: the file cannot be read or written.
    """
    if options.secret:
        secret = options.secret.encode()
        return Secrets(machine=secret, cluster=secret)
    path = os.path.join(data_dir, SECRET_FILE)
    if not os.path.exists(path):
        draft = f"{path}.{os.getpid()}"
        with open(os.open(draft, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600), "w") as file:
            file.write(secrets.token_hex(32))
        try:
            os.link(draft, path)  # unlike rename: who comes second takes what is there
        except FileExistsError:
            logger.debug("secret_made_by_another_worker")
        os.unlink(draft)
    with open(path, "rb") as file:
        return Secrets(machine=file.read().strip(), cluster=b"")
