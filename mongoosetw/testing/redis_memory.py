"""Redis in memory, on a test's clock: the commands that the server uses.

``tests/integration/test_redis_memory.py`` compares it with the real one.
"""

from collections.abc import Callable, Sequence
from typing import Any

from hiredis import ReplyError
from twisted.internet.defer import Deferred, fail
from twisted.python.failure import Failure

from mongoosetw.storage.redis import Command, RedisUnavailable, Value

_WRONG_TYPE = "WRONGTYPE Operation against a key holding the wrong kind of value"


def _bytes(value: Value) -> bytes:
    return value if isinstance(value, bytes) else str(value).encode()


class MemoryRedis:
    """A server, which can be stopped, frozen, and started again without its data.

    :ivar latency: seconds from a command to its answer.
    :ivar data: the values by key: bytes, dictionaries and sets.
    :ivar commands: how many were run.
    """

    def __init__(self, clock: Any, latency: float = 0.0) -> None:
        self.clock = clock
        self.latency = latency
        self.data: dict[bytes, Any] = {}
        self.commands = 0
        self.bytes = 0
        self._ends: dict[bytes, float] = {}
        self._starts = 1
        self.clients: list[MemoryRedisClient] = []
        self.running = True
        self.frozen = False

    @property
    def run_id(self) -> str:
        """The name of this process."""
        return f"run{self._starts}"

    def client(self, clock: Any) -> "MemoryRedisClient":
        """A node's connection.

        :param clock: the node's.
        """
        client = MemoryRedisClient(self, clock)
        self.clients.append(client)
        return client

    def stop(self) -> None:
        """Ends the process; clients lose their connections."""
        self.running = False
        for client in list(self.clients):
            client.lose()

    def start(self, *, empty: bool = True) -> None:
        """Starts another process."""
        self._starts += 1
        self.running = True
        self.frozen = False
        if empty:
            self.data.clear()
            self._ends.clear()

    def run(self, command: Command) -> Any:
        """Runs a command; errors are answers, too."""
        self.commands += 1
        self.bytes += sum(len(_bytes(word)) for word in command)
        name, *words = map(_bytes, command)
        now = self.clock.seconds()
        for key in [key for key, end in self._ends.items() if end <= now]:
            del self._ends[key]
            self.data.pop(key, None)
        method: Callable[..., Any] = getattr(self, f"_{name.decode().lower()}")
        try:
            return method(*words)
        except ReplyError as error:
            return error

    def _get(self, key: bytes) -> Any:
        return self._value(key, bytes, None)

    def _value(self, key: bytes, kind: type, default: Any) -> Any:
        value = self.data.get(key, default)
        if key in self.data and not isinstance(value, kind):
            raise ReplyError(_WRONG_TYPE)
        return value

    def _tidy(self, key: bytes) -> None:
        if not self.data[key]:
            del self.data[key]
            self._ends.pop(key, None)

    def _ping(self) -> bytes:
        return b"PONG"

    def _set(self, key: bytes, value: bytes, *options: bytes) -> bytes:
        self.data[key] = value
        self._ends.pop(key, None)
        if options:
            self._ends[key] = self.clock.seconds() + int(options[1])
        return b"OK"

    def _exists(self, key: bytes) -> int:
        return int(key in self.data)

    def _del(self, *keys: bytes) -> int:
        found = [key for key in keys if key in self.data]
        for key in found:
            del self.data[key]
            self._ends.pop(key, None)
        return len(found)

    def _expire(self, key: bytes, seconds: bytes) -> int:
        if key in self.data:
            self._ends[key] = self.clock.seconds() + int(seconds)
        return int(key in self.data)

    def _hset(self, key: bytes, *fields: bytes) -> int:
        found = self._value(key, dict, {})
        before = len(found)
        found.update(zip(fields[::2], fields[1::2], strict=True))
        self.data[key] = found
        return len(found) - before

    def _hdel(self, key: bytes, *fields: bytes) -> int:
        found = self._value(key, dict, {})
        gone = [field for field in fields if found.pop(field, None) is not None]
        if gone:
            self._tidy(key)
        return len(gone)

    def _hgetall(self, key: bytes) -> list[bytes]:
        return [word for pair in self._value(key, dict, {}).items() for word in pair]

    def _hscan(self, key: bytes, cursor: bytes, *options: bytes) -> list[Any]:
        return [b"0", self._hgetall(key)]

    def _sadd(self, key: bytes, *members: bytes) -> int:
        found = self._value(key, set, set())
        before = len(found)
        found.update(members)
        self.data[key] = found
        return len(found) - before

    def _srem(self, key: bytes, *members: bytes) -> int:
        found = self._value(key, set, set())
        gone = found.intersection(members)
        found -= gone
        if gone:
            self._tidy(key)
        return len(gone)

    def _smembers(self, key: bytes) -> list[bytes]:
        return list(self._value(key, set, set()))


class MemoryRedisClient:
    """A client; see :class:`mongoosetw.storage.redis.RedisLike`."""

    def __init__(self, redis: MemoryRedis, clock: Any) -> None:
        self.server = ""
        self._redis = redis
        self._clock = clock
        self._waiting: list[Deferred[list[Any]]] = []
        self._watchers: list[tuple[Callable[[], None], Callable[[], None]]] = []
        self._wanted = False

    def watch(self, connected: Callable[[], None], lost: Callable[[], None]) -> None:
        """Has changes of the connection told."""
        self._watchers.append((connected, lost))

    def start(self) -> None:
        """Begins to connect."""
        self._wanted = True
        self._clock.callLater(0, self._connect)

    def _connect(self) -> None:
        if not self._wanted:
            return
        if not self._redis.running or self._redis.frozen:
            self._clock.callLater(0.5, self._connect)
            return
        self.server = self._redis.run_id
        for connected, _ in self._watchers:
            connected()

    def call(self, *command: Value) -> "Deferred[Any]":
        """Sends a command."""
        return self.calls((command,)).addCallback(lambda answers: answers[0])

    def calls(self, commands: Sequence[Command]) -> "Deferred[list[Any]]":
        """Sends several."""
        if not self.server:
            return fail(RedisUnavailable("no connection"))
        answer: Deferred[list[Any]] = Deferred()
        self._waiting.append(answer)
        clock, half = self._redis.clock, self._redis.latency / 2
        clock.callLater(half, self._run, list(commands), answer, self.server)
        return answer

    def _run(self, commands: list[Command], answer: "Deferred[list[Any]]", server: str) -> None:
        redis = self._redis
        if not redis.running or server != redis.run_id:
            return
        if redis.frozen:
            self._clock.callLater(2.0, self.lose)
            return
        answers = [redis.run(command) for command in commands]
        self._clock.callLater(redis.latency / 2, self._answer, answer, answers)

    def _answer(self, answer: "Deferred[list[Any]]", answers: list[Any]) -> None:
        if answer not in self._waiting:
            return
        self._waiting.remove(answer)
        refused = next((each for each in answers if isinstance(each, ReplyError)), None)
        if answer.called:
            return
        if refused is None:
            answer.callback(answers)
        else:
            answer.errback(RedisUnavailable(str(refused)))

    def lose(self) -> None:
        """The connection is lost."""
        if not self.server:
            return
        self.server = ""
        waiting, self._waiting = self._waiting, []
        for _, lost in self._watchers:
            lost()
        for answer in waiting:
            if not answer.called:
                answer.errback(Failure(RedisUnavailable("lost")))
        self._clock.callLater(0.1, self._connect)

    async def close(self) -> None:
        """Connects no longer."""
        self._wanted = False
        self.lose()
