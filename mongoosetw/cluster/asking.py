"""Asks the control socket of another process of this machine."""

import json
from typing import Any

from twisted.internet.defer import Deferred, TimeoutError
from twisted.internet.endpoints import UNIXClientEndpoint, connectProtocol
from twisted.internet.error import ConnectError, ConnectionDone, ConnectionLost
from twisted.internet.protocol import connectionDone
from twisted.protocols.basic import LineOnlyReceiver
from twisted.python.failure import Failure

from mongoosetw.control import Args, CommandError

_LONGEST = 64 * 1024 * 1024


class Unreachable(Exception):
    """The process does not answer."""


class _Answer(LineOnlyReceiver):
    """Sends one request and waits for its answer."""

    delimiter = b"\n"
    MAX_LENGTH = _LONGEST
    transport: Any

    def __init__(self, request: bytes) -> None:
        self._request = request
        self.answer: Deferred[bytes] = Deferred(self._cancelled)

    def connectionMade(self) -> None:
        self.sendLine(self._request)

    def lineReceived(self, line: bytes) -> None:
        self.answer, answer = Deferred(), self.answer
        answer.callback(line)
        self.transport.loseConnection()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        if not self.answer.called:
            self.answer.addErrback(lambda _: None)
            self.answer.errback(reason)

    def _cancelled(self, _: object) -> None:
        self.transport.abortConnection()


async def ask(reactor: Any, path: str, command: str, args: Args, timeout: float) -> Any:
    """Returns the result of a command.

    :raises CommandError: it was refused.
    :raises Unreachable: nobody answers, or not within ``timeout`` seconds.
    """
    request = json.dumps({"command": command, "args": args}).encode()
    endpoint = UNIXClientEndpoint(reactor, path, timeout=5)
    try:
        connection = await connectProtocol(endpoint, _Answer(request))
        line = await connection.answer.addTimeout(timeout, reactor)
    except (ConnectError, ConnectionDone, ConnectionLost) as error:
        raise Unreachable(str(error)) from error
    except TimeoutError as error:
        raise Unreachable(f"no answer within {timeout:g} seconds") from error
    answer = json.loads(line)
    if "error" in answer:
        raise CommandError(str(answer["error"]))
    return answer["result"]
