"""Redis in memory answers as the real one does."""

from random import Random
from typing import Any

from twisted.internet.task import Clock

from mongoosetw.storage.redis import Command, RedisUnavailable
from mongoosetw.testing.redis_memory import MemoryRedis
from tests.integration.test_redis_client import RedisCase

_FIELDS = ("1", "2", "3")


def _commands(random: Random) -> list[Command]:
    """What the server may ask for, some of it of a key of another kind."""
    key = random.choice(("a", "b", "c"))
    some = random.sample(_FIELDS, random.randint(1, 3))
    pairs = [word for field in some for word in (field, b"\x00" + field.encode())]
    return [
        random.choice(
            [
                ("HSET", key, *pairs),
                ("HDEL", key, *some),
                ("HGETALL", key),
                ("HSCAN", key, 0, "COUNT", 500),
                ("SADD", key, *some),
                ("SREM", key, *some),
                ("SMEMBERS", key),
                ("EXISTS", key),
                ("EXPIRE", key, 1000),
                ("DEL", key),
                ("SET", key, "value", "EX", 1000),
                ("GET", key),
            ]
        )
        for _ in range(random.randint(1, 4))
    ]


def _sorted(answer: Any) -> Any:
    """An answer whose order says nothing."""
    if isinstance(answer, list):
        return sorted((_sorted(each) for each in answer), key=str)
    return answer


class MemoryRedisTests(RedisCase):
    """The same commands at random for both."""

    async def test_alike(self) -> None:
        """Every answer is the same, refusals included."""
        real = self.client(self.options(self.server()))
        await self.connected(real)
        clock = Clock()
        fake = MemoryRedis(clock).client(clock)
        fake.start()
        clock.advance(0)
        random = Random(1)
        refused = 0
        with self.assertLogs("mongoosetw.storage.redis", "ERROR"):
            for _ in range(2000):
                commands = _commands(random)
                mine = fake.calls(commands)
                clock.pump((0, 0, 0))
                try:
                    answers = await real.calls(commands)
                except RedisUnavailable as error:
                    refused += 1
                    self.assertEqual(str(self.failureResultOf(mine).value), str(error))
                else:
                    wanted = [_sorted(answer) for answer in answers]
                    found = [_sorted(answer) for answer in self.successResultOf(mine)]
                    self.assertEqual(found, wanted, commands)
        self.assertGreater(refused, 50)

    def test_expiry(self) -> None:
        """Keys end at their time."""
        clock = Clock()
        redis = MemoryRedis(clock)
        redis.run(("SET", "a", "1", "EX", 10))
        redis.run(("SADD", "b", "1"))
        redis.run(("EXPIRE", "b", 20))
        clock.advance(15)
        self.assertEqual([redis.run(("EXISTS", key)) for key in "ab"], [0, 1])
        clock.advance(15)
        self.assertEqual(redis.run(("EXISTS", "b")), 0)
