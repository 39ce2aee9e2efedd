"""The back end ``redis`` with a real Redis."""

from typing import Any

from twisted.internet import reactor
from twisted.internet.defer import Deferred

from mongoosetw.cluster.mesh import Node
from mongoosetw.storage.redis import Redis
from mongoosetw.testing.mesh import MemoryNetwork
from mongoosetw.xmpp.jid import JID
from tests.cluster.directories import JULIET, ROMEO
from tests.cluster.redis_directories import RedisNode
from tests.integration.test_redis_client import RedisCase

LOOP: Any = reactor


class RedisSessionsTests(RedisCase):
    """Two nodes in this process, and a Redis that wants a password."""

    def setUp(self) -> None:
        """Starts them."""
        super().setUp()
        self.redis = self.server("requirepass word")
        self.network = MemoryNetwork(LOOP)
        self.a, self.b = self.node("a", 0), self.node("b", 1)
        self.addCleanup(lambda: self.network.kill("b"))
        self.addCleanup(lambda: self.network.kill("a"))

    def node(self, name: str, number: int) -> RedisNode:
        """A node."""
        options = self.options(self.redis, password="word")
        client = Redis(reactor, options)
        clients: Any = type("Clients", (), {"client": lambda self, clock: client})()
        kind = type("Node", (RedisNode,), {"redis": clients})
        node: RedisNode = kind(self.network, LOOP, Node(name, number, 1), 0.0, ("localhost",))
        self.addCleanup(lambda: Deferred.fromCoroutine(client.close()))
        self.addCleanup(node.directory.stop)
        return node

    async def ask(self, node: RedisNode, jid: str) -> None:
        """A node is asked for a user."""
        asked = node.directory.prepare([JID.parse(jid).bare])
        if asked is not None:
            await asked

    def priorities(self, node: RedisNode) -> dict[str, int | None]:
        """What a node knows."""
        return {str(s.jid): s.priority for s in node.host.sessions}

    async def registered(self) -> None:
        """Both nodes have registered all with one Redis."""
        upkeeps = [node.directory._upkeep for node in (self.a, self.b)]
        await self.until(lambda: len({u.registered for u in upkeeps} - {""}) == 1)
        server = upkeeps[0].registered
        await self.until(
            lambda: all(
                peer.watches == server
                for node in (self.a, self.b)
                for peer in node.directory._peers.values()
            )
        )

    async def test_killed_and_started_empty(self) -> None:
        """Sessions are found and followed before, while and after Redis is away."""
        await self.a.directory.ready()
        await self.registered()
        romeo = self.a.open(ROMEO, 1)
        await self.a.directory.told()
        await self.ask(self.b, ROMEO)
        self.assertEqual(self.priorities(self.b), {ROMEO: 1})
        self.redis.kill()
        romeo.become(2)
        juliet = self.a.open(JULIET, 3)
        await self.ask(self.b, JULIET)
        await self.until(lambda: self.priorities(self.b) == {ROMEO: 2, JULIET: 3})
        juliet.close()
        await self.until(lambda: self.priorities(self.b) == {ROMEO: 2})
        before = self.a.directory._upkeep.registered
        self.redis.start()
        await self.until(lambda: self.a.directory._upkeep.registered not in ("", before))
        await self.registered()
        left: Any = self.redis.command("HLEN", "test:s:{romeo@localhost}", login=("word",))
        self.assertEqual(left, 1)
        romeo.become(4)
        await self.until(lambda: self.priorities(self.b) == {ROMEO: 4})
        watching: Any = self.redis.command("SMEMBERS", "test:w:{romeo@localhost}", login=("word",))
        self.assertEqual(sorted(watching), [b"a", b"b"])
