"""What the back end ``redis`` keeps in Redis, and the commands for it.

===================== ====== ==================================================================
``NAME:s:{user}``     hash   the sessions of a user: sid → node, its incarnation, record
``NAME:w:{user}``     set    the nodes that know these sessions, and want changes told
``NAME:n:{node}``     hash   all sessions of a node: sid → the same
``NAME:e:{node}``     hash   those that have ended a moment ago: sid → the same
``NAME:h:{node}``     string the node's incarnation; gone when the node has been silent
===================== ====== ==================================================================

``NAME`` is that of the cluster. All keys expire unless nodes that live refresh them.
"""

import logging
import struct
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import lru_cache
from types import MappingProxyType
from typing import Any, Final, NamedTuple

from twisted.internet.defer import Deferred

from mongoosetw.cluster.mesh import Node
from mongoosetw.cluster.sessions.changes import BadFrame, Opened, opened, records
from mongoosetw.hooks.c2s import SessionLike
from mongoosetw.storage.redis import Command, RedisLike
from mongoosetw.xmpp.jid import JID

logger = logging.getLogger(__name__)
LIFE: Final = 3600
"""Seconds after which a key expires that no node refreshes."""
ALIVE: Final = 60
"""Seconds after which a node counts as dead that shows no sign of life."""
AT_ONCE: Final = 500
"""Entries that are read or written with one call."""
_HEAD: Final = struct.Struct("!QB")


class Entry(NamedTuple):
    """A session as it is in Redis."""

    node: str
    incarnation: int
    session: Opened


class Found(NamedTuple):
    """A user's sessions, and the nodes that want to be told of changes."""

    entries: list[Entry]
    watchers: frozenset[str]


class Store:
    """One node's view of Redis.

    All methods that return a Deferred fail with
    :exc:`mongoosetw.storage.redis.RedisUnavailable`.

    :param cluster: the name of the cluster.
    :ivar node: this one.
    """

    def __init__(self, redis: RedisLike, cluster: str, node: Node) -> None:
        self.redis = redis
        self._prefix = cluster
        self.node = node
        self._name = node.name
        name = node.name.encode()
        self._head = _HEAD.pack(node.incarnation, len(name)) + name

    def _key(self, kind: str, name: object) -> str:
        # A hash tag: in a Redis Cluster all keys of a user are in one slot
        return f"{self._prefix}:{kind}:{{{name}}}"

    # -- this node's sessions

    def write(
        self,
        user: JID,
        there: Sequence[SessionLike],
        gone: Sequence[int] = (),
        ended: Mapping[int, bytes] = MappingProxyType({}),
    ) -> "Deferred[frozenset[str]]":
        """Writes down sessions of this node as they are now.

        :param there: those of the user that are new or have changed.
        :param gone: sids of those that are over.
        :param ended: the records of those of them that were there until now.
        :returns: the names of the nodes that want to be told.
        """
        commands = self._store(user, there)
        index = self._key("n", self._name)
        if gone:
            commands.append(("HDEL", self._key("s", user), *gone))
            commands.append(("HDEL", index, *gone))
        for sid, record in ended.items():
            commands.append(("HSET", self._key("e", self._name), sid, self._head + record))
        commands.append(("SMEMBERS", self._key("w", user)))
        return self.redis.calls(commands).addCallback(_names)

    def _store(self, user: JID, there: Sequence[SessionLike]) -> list[Command]:
        if not there:
            return []
        fields: list[Any] = []
        for session in there:
            fields += (session.sid, self._head + opened(session))
        key, index = self._key("s", user), self._key("n", self._name)
        return [
            ("HSET", key, *fields),
            ("EXPIRE", key, LIFE),
            ("HSET", index, *fields),
        ]

    def beat(self, forget: Sequence[int] = ()) -> "Deferred[list[Any]]":
        """This node lives: what it has written down stays.

        :param forget: sids of sessions whose end everybody has heard of.
        """
        ended = self._key("e", self._name)
        commands: list[Command] = [
            ("SET", self._key("h", self._name), self.node.incarnation, "EX", ALIVE),
            ("EXPIRE", self._key("n", self._name), LIFE),
            ("EXPIRE", ended, LIFE),
        ]
        if forget:
            commands.append(("HDEL", ended, *forget))
        return self.redis.calls(commands)

    # -- the sessions of users

    def watch(self, user: JID, own: Sequence[SessionLike] = ()) -> "Deferred[Found]":
        """Has changes of a user's sessions told from now on, and reads what there is.

        :param own: the user's sessions of this node, to be written down again.
        """
        watchers, sessions = self._key("w", user), self._key("s", user)
        return self.redis.calls(
            [
                ("SADD", watchers, self._name),
                ("EXPIRE", watchers, LIFE),
                *self._store(user, own),
                ("HGETALL", sessions),
                ("SMEMBERS", watchers),
            ]
        ).addCallback(_found)

    def unwatch(self, user: JID) -> "Deferred[Any]":
        """Changes need not be told any more."""
        return self.redis.call("SREM", self._key("w", user), self._name)

    # -- other nodes

    async def ended(self, node: str) -> list[Entry]:
        """The sessions of a node that have ended a moment ago."""
        return await self.of_node(node, "e")

    async def of_node(self, node: str, kind: str = "n") -> list[Entry]:
        """All sessions that a node has written down."""
        found: dict[int, Entry] = {}
        cursor: Any = 0
        while True:
            answer = await self.redis.call(
                "HSCAN", self._key(kind, node), cursor, "COUNT", AT_ONCE
            )
            cursor = int(answer[0])
            found.update((entry.session.sid, entry) for entry in _entries(answer[1]))
            if not cursor:
                return list(found.values())

    async def lives(self, node: str) -> bool:
        """Whether a node has shown a sign of life lately, be it of a later process."""
        return bool(await self.redis.call("EXISTS", self._key("h", node)))

    async def clean(self, node: str) -> int:
        """Removes what a process has left that is none of this one's.

        :returns: how many sessions.
        """
        own = (self._name, self.node.incarnation)
        entries = [e for e in await self.of_node(node) if (e.node, e.incarnation) != own]
        for start in range(0, len(entries), AT_ONCE):
            await self.redis.calls(
                [
                    command
                    for entry in entries[start : start + AT_ONCE]
                    for command in self._removal(node, entry.session)
                ]
            )
        return len(entries)

    def _removal(self, node: str, session: Opened) -> Iterator[Command]:
        user = JID(session.local, session.domain, None)
        yield "HDEL", self._key("s", user), session.sid
        yield "HDEL", self._key("n", node), session.sid

    async def close(self) -> None:
        """Ends the connection."""
        await self.redis.close()


def _names(answers: list[Any]) -> frozenset[str]:
    return _equal(frozenset(answers[-1]))


@lru_cache(10_000)
def _equal(names: frozenset[bytes]) -> frozenset[str]:
    """Equal sets are one: there are few different ones, and many users."""
    return frozenset(name.decode() for name in names)


def _found(answers: list[Any]) -> Found:
    return Found(list(_entries(answers[-2])), _names(answers))


def _entries(fields: Iterable[bytes]) -> Iterator[Entry]:
    """What the values of a hash say; what nobody of ours has written is left out."""
    for value in list(fields)[1::2]:
        try:
            incarnation, length = _HEAD.unpack_from(value)
            start = _HEAD.size + length
            (session,) = records(value[start:])
            if isinstance(session, Opened):
                yield Entry(value[_HEAD.size : start].decode(), incarnation, session)
        except (struct.error, ValueError, BadFrame) as error:
            logger.error("redis_unreadable reason=%s", error)
