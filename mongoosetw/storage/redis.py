"""Redis or Valkey: one connection, on which the commands of one turn travel together.

The connection is made anew for as long as the client runs. While there is none, and when an answer
takes too long, calls fail with :exc:`RedisUnavailable`; nothing is repeated, since only the caller
knows whether that is right.
"""

import logging
import random
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any, Final, Protocol, TypeAlias

from hiredis import ProtocolError, Reader, ReplyError, pack_command
from OpenSSL import SSL
from twisted.internet.defer import CancelledError, Deferred, fail
from twisted.internet.endpoints import HostnameEndpoint, UNIXClientEndpoint, wrapClientTLS
from twisted.internet.error import ConnectError, ConnectionClosed, DNSLookupError
from twisted.internet.interfaces import IDelayedCall
from twisted.internet.protocol import Factory, connectionDone
from twisted.internet.protocol import Protocol as TwistedProtocol
from twisted.python.failure import Failure

from mongoosetw.config.redis import RedisPool
from mongoosetw.storage.redis_tls import session_maker
from mongoosetw.xmpp.errors import BackendUnavailable

logger = logging.getLogger(__name__)
Value: TypeAlias = "str | bytes | int | float"
Command: TypeAlias = "tuple[Value, ...]"
Address: TypeAlias = "tuple[str, int]"

MOST_WAITING: Final = 200_000
"""Commands without an answer, beyond which further ones fail at once."""
_FIRST_PAUSE: Final = 0.1
_LONGEST_PAUSE: Final = 5.0
_NO_MASTER: Final = ("READONLY", "LOADING", "MASTERDOWN")
"""Errors of a server that is not, or no longer, the one to talk to."""
_FAILURES: Final = (ConnectError, ConnectionClosed, DNSLookupError, OSError, SSL.Error)


class RedisUnavailable(BackendUnavailable):
    """Redis cannot be reached, or refuses a command; it may be back soon."""


class RedisLike(Protocol):
    """What may be done with Redis.

    :ivar server: which process the connection leads to (its ``run_id``); empty without one.
    """

    server: str

    def call(self, *command: Value) -> "Deferred[Any]":
        """Sends a command; fires with its answer, or fails with :exc:`RedisUnavailable`.

        Commands are run in the order of the calls, as long as :attr:`server` stays the same.
        """

    def calls(self, commands: Sequence[Command]) -> "Deferred[list[Any]]":
        """Sends several, at least one; fires with all answers when the last has come."""

    def watch(self, connected: Callable[[], None], lost: Callable[[], None]) -> None:
        """Has changes of the connection told."""

    def start(self) -> None:
        """Begins to connect."""

    async def close(self) -> None:
        """Connects no longer; what was sent before is done."""


class _Wait:
    """Commands that were sent together, and the answers so far."""

    __slots__ = ("answers", "got", "number", "since")

    def __init__(self, since: float, number: int) -> None:
        self.since = since
        self.number = number
        self.got: list[Any] = []
        self.answers: Deferred[list[Any]] = Deferred()

    def done(self) -> None:
        """All have come."""
        refused = next((reply for reply in self.got if isinstance(reply, ReplyError)), None)
        if self.answers.called:
            return  # whoever asked has cancelled
        if refused is None:
            self.answers.callback(self.got)
        else:
            self.answers.errback(RedisUnavailable(str(refused)))


class _Connection(TwistedProtocol):
    """A connection. What arrives is answers, in the order of the commands.

    :ivar open: whether commands can be sent.
    :ivar used: whether it was found to be what we want.
    :ivar ended: fires with the reason.
    """

    def __init__(self, clock: Any, timeout: float) -> None:
        self._clock = clock
        self._timeout = timeout
        self._reader = Reader()
        self._waiting: deque[_Wait] = deque()
        self._unsent: list[bytes] = []
        self._beat: IDelayedCall | None = None
        self._reason = ""
        self.open = True
        self.used = False
        self.ended: Deferred[str] = Deferred()

    def connectionMade(self) -> None:
        """Watches the time from now on."""
        self._beat = self._clock.callLater(self._timeout / 2, self._look)

    def call(self, *command: Value) -> "Deferred[Any]":
        """Sends a command at the end of the turn."""
        return self.calls((command,)).addCallback(_first)

    def calls(self, commands: Sequence[Command]) -> "Deferred[list[Any]]":
        """Sends commands at the end of the turn."""
        if not self.open:
            return fail(RedisUnavailable(self._reason))
        if len(self._waiting) >= MOST_WAITING:
            return fail(RedisUnavailable("too many commands wait for an answer"))
        wait = _Wait(self._clock.seconds(), len(commands))
        self._waiting.append(wait)
        if not self._unsent:
            self._clock.callLater(0, self._send)
        # of any length, which the annotation does not say
        self._unsent += [pack_command(command) for command in commands]  # type: ignore[arg-type]
        return wait.answers

    def _send(self) -> None:
        unsent, self._unsent = self._unsent, []
        if self.open and self.transport is not None:
            self.transport.write(b"".join(unsent))

    def _look(self) -> None:
        """A server that does not answer is as good as gone; one that is idle is asked."""
        self._beat = self._clock.callLater(self._timeout / 2, self._look)
        if not self._waiting:
            self.call("PING").addErrback(lambda failure: failure.trap(RedisUnavailable))
        elif self._clock.seconds() - self._waiting[0].since > self._timeout:
            self.drop("no answer in time")

    def dataReceived(self, data: bytes) -> None:
        """Answers have come."""
        self._reader.feed(data)
        try:
            while self._waiting and (reply := self._reader.gets()) is not False:
                self._take(reply)
        except ProtocolError as error:
            self.drop(f"not understood: {error}")

    def _take(self, reply: Any) -> None:
        wait = self._waiting[0]
        wait.got.append(reply)
        if isinstance(reply, ReplyError):
            text = str(reply)
            if self.used:
                logger.error("redis_refused reason=%s", text)
            if text.startswith(_NO_MASTER):
                self.drop(text)
        if len(wait.got) == wait.number:
            self._waiting.popleft()
            wait.done()

    def drop(self, reason: str) -> None:
        """Ends the connection at once."""
        self._reason = self._reason or reason
        transport: Any = self.transport
        if transport is not None:
            transport.abortConnection()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """Nothing will be answered any more."""
        self.open = False
        self._reason = self._reason or reason.getErrorMessage()
        if self._beat is not None:
            self._beat.cancel()
        waiting, self._waiting = self._waiting, deque()
        self.ended.callback(self._reason)
        for wait in waiting:
            if not wait.answers.called:
                wait.answers.errback(RedisUnavailable(self._reason))


class Redis:
    """The client; see :class:`RedisLike`.

    :param reactor: Twisted's.
    """

    def __init__(self, reactor: Any, options: RedisPool) -> None:
        self._reactor = reactor
        self._options = options
        self._connection: _Connection | None = None
        self._watchers: list[tuple[Callable[[], None], Callable[[], None]]] = []
        self._sentinels = options.sentinel_addresses
        self._running: Deferred[None] | None = None
        self._trouble = ""
        self.server = ""

    def watch(self, connected: Callable[[], None], lost: Callable[[], None]) -> None:
        """Has changes of the connection told."""
        self._watchers.append((connected, lost))

    def call(self, *command: Value) -> "Deferred[Any]":
        """Sends a command."""
        if self._connection is None:
            return fail(RedisUnavailable("no connection"))
        return self._connection.call(*command)

    def calls(self, commands: Sequence[Command]) -> "Deferred[list[Any]]":
        """Sends several."""
        if self._connection is None:
            return fail(RedisUnavailable("no connection"))
        return self._connection.calls(commands)

    def start(self) -> None:
        """Begins to connect."""
        self._running = Deferred.fromCoroutine(self._run())

    async def close(self) -> None:
        """Connects no longer; what was sent is done before."""
        if self._connection is not None:
            with suppress(RedisUnavailable):
                await self._connection.call("PING")
        if self._running is not None:
            running, self._running = self._running, None
            running.addErrback(lambda failure: failure.trap(CancelledError))
            if self._connection is not None:
                self._connection.drop("closed")
            running.cancel()
            await running

    # -- connecting

    async def _run(self) -> None:
        pause = _FIRST_PAUSE
        while True:
            try:
                connection, server = await self._open()
            except (RedisUnavailable, *_FAILURES) as error:
                self._note(str(error) or type(error).__name__)
                await self._pause(pause * random.uniform(0.7, 1.3))
                pause = min(pause * 2, _LONGEST_PAUSE)
                continue
            pause = _FIRST_PAUSE
            await self._use(connection, server)

    def _note(self, reason: str) -> None:
        """Logs why there is no connection, once."""
        if reason != self._trouble:
            self._trouble = reason
            logger.warning("redis_unreachable reason=%s", reason)

    async def _pause(self, seconds: float) -> None:
        paused: Deferred[None] = Deferred(lambda _: call.cancel())
        call = self._reactor.callLater(seconds, paused.callback, None)
        await paused

    async def _use(self, connection: _Connection, server: str) -> None:
        self._trouble = ""
        self._connection, self.server = connection, server
        connection.used = True
        logger.info("redis_connected server=%s", server)
        for connected, _ in self._watchers:
            connected()
        reason = await connection.ended
        self._connection, self.server = None, ""
        logger.warning("redis_lost reason=%s", reason)
        for _, lost in self._watchers:
            lost()

    async def _open(self) -> tuple[_Connection, str]:
        """Connects, proves who we are and finds out which process that is.

        :raises RedisUnavailable: it is not the server that we want.
        """
        options = self._options
        address = (options.host, options.port)
        if self._sentinels:
            address = await self._find_master()
        connection = await self._connect(address)
        try:
            await _log_in(connection, options.username, options.password)
            if options.database:
                await connection.call("SELECT", options.database)
            if self._sentinels and (await connection.call("ROLE"))[0] != b"master":
                raise RedisUnavailable(f"{address[0]}:{address[1]} is no master")
            about = await connection.call("INFO", "server")
        except (RedisUnavailable, CancelledError):
            connection.drop("not wanted")
            raise
        return connection, _field(about, b"run_id:")

    async def _find_master(self) -> Address:
        """Asks the sentinels, first the one that answered last.

        :raises RedisUnavailable: none of them knows the server.
        """
        options = self._options
        for sentinel in list(self._sentinels):
            try:
                connection = await self._connect(sentinel)
                try:
                    await _log_in(
                        connection, options.sentinel_username, options.sentinel_password
                    )
                    found = await connection.call(
                        "SENTINEL", "GET-MASTER-ADDR-BY-NAME", options.sentinel_master
                    )
                finally:
                    connection.drop("it has answered")
            except (RedisUnavailable, *_FAILURES) as error:
                logger.info("redis_sentinel_unreachable address=%s:%d reason=%s", *sentinel, error)
                continue
            if found is not None:
                self._sentinels.remove(sentinel)
                self._sentinels.insert(0, sentinel)
                return found[0].decode(), int(found[1])
        raise RedisUnavailable(f"no sentinel knows {options.sentinel_master}")

    async def _connect(self, address: Address) -> _Connection:
        host, port = address
        timeout = self._options.call_timeout
        if host.startswith("/"):
            endpoint: Any = UNIXClientEndpoint(self._reactor, host, timeout=timeout)
        else:
            endpoint = HostnameEndpoint(self._reactor, host.encode(), port, timeout=timeout)
            if self._options.tls is not None:
                endpoint = wrapClientTLS(session_maker(host, self._options.tls), endpoint)
        factory = Factory.forProtocol(lambda: _Connection(self._reactor, timeout))
        factory.noisy = False
        connection: _Connection = await endpoint.connect(factory)
        return connection


def _first(answers: list[Any]) -> Any:
    return answers[0]


async def _log_in(connection: _Connection, username: str, password: str) -> None:
    if username:
        await connection.call("AUTH", username, password)
    elif password:
        await connection.call("AUTH", password)


def _field(text: bytes, name: bytes) -> str:
    """A field of ``INFO``."""
    lines = [line for line in text.splitlines() if line.startswith(name)]
    return lines[0].removeprefix(name).decode() if lines else ""
