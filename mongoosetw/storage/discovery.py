"""The table by which nodes find one another: MongooseIM's, with one column more.

All times are the database's, so that the nodes' clocks may differ.
"""

import logging
import random
from dataclasses import dataclass

from sqlalchemy import (
    BigInteger,
    Column,
    Connection,
    Integer,
    String,
    Table,
    UniqueConstraint,
    bindparam,
    cast,
    delete,
    extract,
    func,
    insert,
    select,
    update,
)
from sqlalchemy.exc import IntegrityError

from mongoosetw.ids import NODES
from mongoosetw.storage.database import Database
from mongoosetw.storage.schema import Schema, metadata

discovery_nodes = Table(
    "discovery_nodes",
    metadata,
    Column("node_name", String(250), primary_key=True),
    Column("cluster_name", String(250), nullable=False),
    Column("node_num", Integer, nullable=False),
    Column("address", String(250), nullable=False, server_default=""),
    Column("updated_timestamp", BigInteger, nullable=False),
    Column("incarnation", BigInteger, nullable=False),
    UniqueConstraint("cluster_name", "node_num", name="i_discovery_nodes_node_num"),
)
SCHEMA = Schema("discovery", 1, (discovery_nodes,))

_C = discovery_nodes.c
_NOW = cast(extract("epoch", func.current_timestamp()), BigInteger)
_CLUSTER = _C.cluster_name == bindparam("k_cluster")
_OWN = (_C.node_name == bindparam("k_name")) & (_C.incarnation == bindparam("k_incarnation"))
_EXPIRE = delete(discovery_nodes).where(
    _CLUSTER,
    _C.node_name != bindparam("k_name"),
    _C.updated_timestamp < _NOW - bindparam("expire_after", type_=BigInteger),
)
_FIND = select(_C.cluster_name, _C.node_num, _C.incarnation).where(
    _C.node_name == bindparam("k_name")
)
_NUMBERS = select(_C.node_num).where(_CLUSTER)
_TAKE_OVER = (
    update(discovery_nodes)
    .where(_C.node_name == bindparam("k_name"))
    .values(
        address=bindparam("new_address"),
        incarnation=bindparam("new_incarnation"),
        updated_timestamp=_NOW,
    )
)
_ADD = insert(discovery_nodes).values(
    node_name=bindparam("name"),
    cluster_name=bindparam("cluster"),
    node_num=bindparam("number"),
    address=bindparam("new_address"),
    incarnation=bindparam("new_incarnation"),
    updated_timestamp=_NOW,
)
_REFRESH = (
    update(discovery_nodes)
    .where(_OWN)
    .values(address=bindparam("new_address"), updated_timestamp=_NOW)
)
_OTHERS = select(_C.node_name, _C.address).where(
    _CLUSTER, _C.node_name != bindparam("k_name"), _C.address != ""
)
_ATTEMPTS = 20
_LOWEST = 3
"""After how many attempts a node tries others than the lowest number, too."""

logger = logging.getLogger(__name__)


class NumberRefused(Exception):
    """There is no number for the node; the text says why."""


class NumberLost(Exception):
    """Another process has the node's name or number now."""


@dataclass(frozen=True, slots=True)
class Allotted:
    """A node's number, and the incarnation under which it holds it."""

    number: int
    incarnation: int


class DiscoveryTable:
    """The rows of one cluster.

    :param expire_after: seconds after which a node that did not refresh its row loses it.
    """

    def __init__(self, db: Database, cluster: str, expire_after: float) -> None:
        self._db = db
        self._cluster = cluster
        self._expire_after = int(expire_after)

    async def join(self, name: str, incarnation: int, address: str) -> Allotted:
        """Takes a number: the one that the name had before, or a free one.

        :param incarnation: grows with each start; the result's is greater than any before.
        :raises NumberRefused: none is free, or the name belongs to another cluster.
        """
        for attempt in range(_ATTEMPTS):
            # The numbers of a few that start together stay dense; many spread more and more.
            spread = 2 ** max(0, attempt - _LOWEST)
            try:
                return await self._join(name, incarnation, address, spread)
            except IntegrityError:
                logger.info("number_taken node=%s attempt=%d", name, attempt + 1)
        raise NumberRefused("too many nodes join at the same time")

    async def _join(
        self, name: str, incarnation: int, address: str, spread: int
    ) -> Allotted:
        def work(connection: Connection) -> Allotted:
            connection.execute(_EXPIRE, self._keys(name))
            found = connection.execute(_FIND, {"k_name": name}).one_or_none()
            row: dict[str, object] = {"new_address": address, "new_incarnation": incarnation}
            if found is None:
                number = random.choice(self._free(connection)[:spread])
                key = {"name": name, "cluster": self._cluster, "number": number}
                connection.execute(_ADD, {**key, **row})
                return Allotted(number, incarnation)
            if found.cluster_name != self._cluster:
                raise NumberRefused(f"{name} is a node of the cluster {found.cluster_name}")
            newer = max(incarnation, found.incarnation + 1)
            connection.execute(_TAKE_OVER, {"k_name": name, **row, "new_incarnation": newer})
            return Allotted(found.node_num, newer)

        return await self._db.run("discovery_join", work)

    def _keys(self, name: str) -> dict[str, object]:
        return {"k_cluster": self._cluster, "k_name": name, "expire_after": self._expire_after}

    def _free(self, connection: Connection) -> list[int]:
        taken = set(connection.execute(_NUMBERS, {"k_cluster": self._cluster}).scalars())
        free = [number for number in range(NODES) if number not in taken]
        if not free:
            raise NumberRefused(f"all {NODES} numbers are taken")
        return free

    async def refresh(self, name: str, incarnation: int, address: str) -> dict[str, str]:
        """Says that the node is alive.

        :returns: the addresses of the other nodes by name.
        :raises NumberLost: the row is another's.
        """
        row = {"k_name": name, "k_incarnation": incarnation, "new_address": address}

        def work(connection: Connection) -> dict[str, str]:
            if connection.execute(_REFRESH, row).rowcount == 0:
                raise NumberLost(f"another process has the name {name}, or its number has expired")
            connection.execute(_EXPIRE, self._keys(name))
            keys = {"k_cluster": self._cluster, "k_name": name}
            return {found.node_name: found.address for found in connection.execute(_OTHERS, keys)}

        return await self._db.run("discovery_refresh", work)

    async def leave(self, name: str, incarnation: int) -> None:
        """Nobody connects to the node any more; its number stays taken until it expires."""
        row = {"k_name": name, "k_incarnation": incarnation, "new_address": ""}

        def work(connection: Connection) -> None:
            connection.execute(_REFRESH, row)

        await self._db.run("discovery_leave", work)
