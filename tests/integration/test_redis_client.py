"""The client of Redis against real servers and sentinels."""

import unittest
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from twisted.internet import reactor
from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.task import deferLater
from twisted.trial.unittest import TestCase

from mongoosetw.config.redis import RedisPool, RedisTLS
from mongoosetw.storage.redis import Redis, RedisUnavailable
from mongoosetw.testing.redis import RedisSentinel, RedisServer, free_port
from tests.integration.certificates import Authority

LOOP: Any = reactor


class RedisCase(TestCase):
    """Starts private servers, and clients of them."""

    timeout = 60

    def setUp(self) -> None:
        """Nothing is there without the program."""
        if not RedisServer.installed():
            raise unittest.SkipTest("redis-server is not installed")

    def server(self, settings: str = "") -> RedisServer:
        """A running server."""
        server = RedisServer(settings)
        self.addCleanup(server.close)
        server.start()
        return server

    def client(self, options: RedisPool) -> Redis:
        """A client, which connects."""
        client = Redis(reactor, options)
        self.seen: list[str] = []
        client.watch(lambda: self.seen.append("+"), lambda: self.seen.append("-"))
        client.start()
        self.addCleanup(lambda: Deferred.fromCoroutine(client.close()))
        return client

    def options(self, server: RedisServer, **options: Any) -> RedisPool:
        """What leads to a server."""
        return RedisPool(port=server.port, call_timeout=1.0, **options)

    async def until(self, condition: Callable[[], object]) -> None:
        """Waits for something to become true; the test's timeout is the limit."""
        while not condition():
            await deferLater(LOOP, 0.01, lambda: None)

    async def connected(self, client: Redis) -> None:
        """Waits for the connection."""
        await self.until(lambda: client.server)

    async def assert_works(self, client: Redis) -> None:
        """A client connects and gets answers."""
        await self.connected(client)
        await client.call("SET", "key", b"\x00value")
        self.assertEqual(await client.call("GET", "key"), b"\x00value")


class RedisClientTests(RedisCase):
    """One server."""

    async def test_commands_of_a_turn(self) -> None:
        """Commands are answered in order, also many and long ones at once."""
        client = self.client(self.options(self.server()))
        await self.connected(client)
        long = b"x" * 300_000
        wanted = [b"%d" % n + long for n in range(20)]
        for value in wanted:
            await client.call("RPUSH", "list", value)
        calls = [client.call("LINDEX", "list", n) for n in range(20)]
        self.assertEqual(await gatherResults(calls), wanted)

    async def test_unix_socket(self) -> None:
        """A path is a Unix socket."""
        await self.assert_works(self.client(RedisPool(host=self.server().socket)))

    async def test_database(self) -> None:
        """Another database than the first can be used."""
        server = self.server()
        client = self.client(self.options(server, database=3))
        await self.assert_works(client)
        self.assertEqual(server.command("EXISTS", "key"), 0)

    async def test_password(self) -> None:
        """The default user's password, and a user with a password of its own."""
        server = self.server("requirepass secret\nuser ours on >word ~* +@all")
        await self.assert_works(self.client(self.options(server, password="secret")))
        named = self.options(server, username="ours", password="word")
        await self.assert_works(self.client(named))

    async def test_wrong_password(self) -> None:
        """With a wrong password there is no connection, until it is the right one."""
        server = self.server("requirepass secret")
        client = self.client(self.options(server, password="wrong"))
        await deferLater(LOOP, 0.3, lambda: None)
        self.assertEqual(client.server, "")
        await self.assertFailure(client.call("PING"), RedisUnavailable)
        server.command("CONFIG", "SET", "requirepass", "wrong", login=("secret",))
        await self.assert_works(client)

    async def test_refused(self) -> None:
        """A command that the server refuses fails alone."""
        client = self.client(self.options(self.server()))
        await self.assert_works(client)
        with self.assertLogs("mongoosetw.storage.redis", "ERROR"):
            await self.assertFailure(client.call("HGETALL", "key"), RedisUnavailable)
        await self.assert_works(client)

    async def test_restart(self) -> None:
        """A server that was killed and started again is another one, which the client finds."""
        server = self.server()
        client = self.client(self.options(server))
        await self.assert_works(client)
        first, waiting = client.server, client.call("BLPOP", "none", 0)
        await deferLater(LOOP, 0.05, lambda: None)
        server.kill()
        await self.assertFailure(waiting, RedisUnavailable)
        await self.assertFailure(client.call("PING"), RedisUnavailable)
        server.start()
        await self.assert_works(client)
        self.assertNotEqual(client.server, first)
        self.assertEqual(self.seen, ["+", "-", "+"])

    async def test_frozen(self) -> None:
        """A server that does not answer counts as away, also when nobody asks it anything."""
        server = self.server()
        client = self.client(self.options(server))
        await self.assert_works(client)
        server.freeze()
        await self.until(lambda: self.seen == ["+", "-"])
        await self.assertFailure(client.call("PING"), RedisUnavailable)
        server.thaw()
        await self.assert_works(client)

    async def test_started_later(self) -> None:
        """A server that is not there yet is waited for."""
        server = self.server()
        server.stop()
        client = self.client(self.options(server))
        await deferLater(LOOP, 0.3, lambda: None)
        server.start()
        await self.assert_works(client)


class RedisTLSTests(RedisCase):
    """TLS."""

    def setUp(self) -> None:
        """A server with a certificate for localhost, which wants one of its clients."""
        super().setUp()
        folder = Path(self.mktemp()).absolute()
        folder.mkdir()
        authority = Authority(folder, "redis")
        own, client = authority.issue(domain="localhost"), authority.issue(common_name="us")
        port = free_port()
        self.server(
            f"tls-port {port}\ntls-cert-file {own}\ntls-key-file {own}\n"
            f"tls-ca-cert-file {authority.file}"
        )
        tls = RedisTLS(cacertfile=str(authority.file), certfile=str(client))
        self.right = RedisPool(host="localhost", port=port, tls=tls, call_timeout=1.0)

    async def refused(self, options: RedisPool) -> None:
        """There is no connection."""
        client = self.client(options)
        await deferLater(LOOP, 0.5, lambda: None)
        self.assertEqual(client.server, "")

    async def test_certificates(self) -> None:
        """Both ends show one; without ours, or under another name, there is no connection."""
        await self.assert_works(self.client(self.right))
        assert self.right.tls is not None
        await self.refused(replace(self.right, tls=replace(self.right.tls, certfile="")))
        await self.refused(replace(self.right, tls=replace(self.right.tls, cacertfile="")))
        await self.refused(replace(self.right, host="127.0.0.1"))
        unverified = replace(self.right.tls, verify_mode="none", cacertfile="")
        await self.assert_works(self.client(replace(self.right, host="127.0.0.1", tls=unverified)))


class RedisSentinelTests(RedisCase):
    """A server and its replica, watched by three sentinels."""

    def setUp(self) -> None:
        """Starts them."""
        super().setUp()
        login = "masterauth word\nrequirepass word"
        self.master = self.server(login)
        self.replica = self.server(f"{login}\nreplicaof 127.0.0.1 {self.master.port}")
        settings = "requirepass sesame\nsentinel sentinel-pass sesame\n"
        settings += "sentinel auth-pass mymaster word"
        self.sentinels = [RedisSentinel(self.master, 2, settings) for _ in range(3)]
        for sentinel in self.sentinels:
            self.addCleanup(sentinel.close)
            sentinel._answers = lambda: True  # type: ignore[method-assign]
            sentinel.start()

    async def test_failover(self) -> None:
        """When the master is killed, the client finds the replica that became master."""
        client = self.client(
            RedisPool(
                sentinels=("127.0.0.1:1", *(f"127.0.0.1:{s.port}" for s in self.sentinels)),
                password="word",
                sentinel_password="sesame",
                call_timeout=1.0,
            )
        )
        await self.assert_works(client)
        first = client.server
        await self.until(self.replicated)
        self.master.kill()
        self.sentinels[0].kill()
        await self.until(lambda: client.server not in ("", first))
        self.assertEqual(await client.call("GET", "key"), b"\x00value")
        await self.assert_works(client)

    def replicated(self) -> bool:
        """Whether the replica has what the master has, and the sentinels know one another."""
        known = []
        for sentinel in self.sentinels:
            answer: Any = sentinel.command("SENTINEL", "MASTER", "mymaster", login=("sesame",))
            fields = dict(zip(answer[::2], answer[1::2], strict=True))
            known.append((fields[b"num-slaves"], fields[b"num-other-sentinels"]))
        has = self.replica.command("GET", "key", login=("word",))
        return has == b"\x00value" and known == [(b"1", b"2")] * 3
