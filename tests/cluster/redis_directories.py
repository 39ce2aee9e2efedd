"""Nodes that are nothing but their registries, with the back end ``redis`` and Redis in memory."""

from typing import Any

from twisted.internet.task import Clock

from mongoosetw.cluster.sessions.calls import Calls
from mongoosetw.cluster.sessions.redis import RedisDirectory
from mongoosetw.cluster.sessions.redis_store import Store
from mongoosetw.testing.redis_memory import MemoryRedis
from mongoosetw.xmpp.jid import JID
from tests.cluster.directories import Directories, DirectoryCase, DirectoryNode


class RedisNode(DirectoryNode):
    """One node; the users that it is asked for are prepared first, as the server does."""

    redis: MemoryRedis

    def make_directory(self, clock: Clock) -> Any:
        """The back end."""
        client = self.redis.client(clock)
        store = Store(client, "test", self.mesh.local)
        calls = Calls(self.mesh, clock)
        directory = RedisDirectory(self.mesh, clock, self.relay, calls, store, self.note)
        client.start()
        return directory


class RedisDirectories(Directories):
    """Nodes on one clock, with one Redis."""

    def __init__(self, latency: float = 0.0, **network: Any) -> None:
        super().__init__(**network)
        self.redis = MemoryRedis(self.clock, latency)
        self.kind = type("Node", (RedisNode,), {"redis": self.redis})

    def start(
        self, name: str, skew: float = 0.0, domains: Any = ("localhost",), **kind: Any
    ) -> Any:
        """Starts a node, or one again."""
        return super().start(name, skew, domains, kind=self.kind)


class RedisCase(DirectoryCase):
    """Linked nodes, and Redis."""

    def make(self) -> Directories:
        """Where the nodes will be."""
        directories = RedisDirectories()
        self.redis = directories.redis
        return directories

    def ask(self, node: RedisNode, *jids: str) -> None:
        """A node is asked for users, and knows their sessions."""
        asked = node.directory.prepare([JID.parse(jid).bare for jid in jids])
        self.settle()
        if asked is not None:
            self.successResultOf(asked)

    def assert_known(self, node: RedisNode, *jids: str) -> None:
        """A node knows these sessions, as their nodes have them."""
        self.assertEqual(sorted(node.known()), sorted(jids))
        for jid in jids:
            (real,) = [
                s
                for other in self.all.nodes.values()
                for s in other.host.sessions.local()
                if str(s.jid) == jid
            ]
            there: Any = node.host.sessions.get(JID.parse(jid))
            self.assertEqual(
                (there.sid, there.priority, there.flags), (real.sid, real.priority, real.flags)
            )
