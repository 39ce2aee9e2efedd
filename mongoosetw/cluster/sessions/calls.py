"""Questions to other nodes, and their answers."""

import logging
import struct
from collections.abc import Awaitable, Callable
from typing import Any, Final, TypeAlias

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.python.failure import Failure

from mongoosetw.cluster.mesh import Mesh, Node
from mongoosetw.hooks.bus import begin
from mongoosetw.xmpp.errors import BackendUnavailable, StanzaError

logger = logging.getLogger(__name__)
CHANNEL: Final = "call"
_ASK: Final = 0
_ANSWER: Final = 1
_REFUSE: Final = 2
_HEAD: Final = struct.Struct("!BQ")
_NAME: Final = struct.Struct("!H")
_LONGEST_NAME: Final = 65535

Handler: TypeAlias = Callable[[Node, bytes], "bytes | Awaitable[bytes]"]
"""Answers a question; a StanzaError that it raises is the answer, too."""


class CallFailed(Exception):
    """There is no answer to a question.

    :ivar reason: ``no-link``, ``link-lost``, ``timeout``, or the condition of the error that the
        other node has answered with.
    """

    def __init__(self, node: str, reason: str) -> None:
        super().__init__(f"{node}: {reason}")
        self.node = node
        self.reason = reason


class Calls:
    """Asks the other nodes, and answers them."""

    def __init__(self, mesh: Mesh, clock: IReactorTime) -> None:
        self._mesh = mesh
        self._clock = clock
        self._handlers: dict[str, Handler] = {}
        self._asked: dict[int, tuple[str, Deferred[bytes], IDelayedCall]] = {}
        self._number = 0
        mesh.receive(CHANNEL, self._received)
        mesh.watch(lambda node: None, self._down)

    def serve(self, name: str, handler: Handler) -> None:
        """Names who answers the questions of a name.

        :raises ValueError: somebody does.
        """
        if name in self._handlers or not 0 < len(name.encode()) <= _LONGEST_NAME:
            raise ValueError(f"the call {name} is served already, or its name cannot be")
        self._handlers[name] = handler

    def withdraw(self, name: str) -> None:
        """Nobody answers the questions of a name any more."""
        self._handlers.pop(name, None)

    def call(self, node: str, name: str, payload: bytes, timeout: float) -> Deferred[bytes]:
        """Asks a node.

        :param timeout: seconds to wait for the answer.
        :returns: fires with the answer, or fails with :exc:`CallFailed`.
        """
        self._number += 1
        number, answer = self._number, Deferred[bytes](self._cancelled)
        late = self._clock.callLater(timeout, self._fail, number, "timeout")
        self._asked[number] = (node, answer, late)
        label = name.encode()
        question = b"".join(
            (_HEAD.pack(_ASK, number), _NAME.pack(len(label)), label, payload)
        )
        if not self._mesh.send(node, CHANNEL, question):
            self._fail(number, "no-link")
        return answer

    def _cancelled(self, answer: Deferred[bytes]) -> None:
        for number, (_, asked, late) in self._asked.items():
            if asked is answer:
                late.cancel()
                del self._asked[number]
                return

    def _fail(self, number: int, reason: str) -> None:
        node, answer, late = self._asked.pop(number)
        if late.active():
            late.cancel()
        answer.errback(CallFailed(node, reason))

    def _down(self, node: Node) -> None:
        for number in [n for n, (asked, _, _) in self._asked.items() if asked == node.name]:
            if number in self._asked:  # who has asked the one may have cancelled the other
                self._fail(number, "link-lost")

    def _received(self, node: Node, payload: bytes) -> None:
        kind, number = _HEAD.unpack_from(payload)
        rest = payload[_HEAD.size :]
        if kind == _ASK:
            end = _NAME.size + _NAME.unpack_from(rest)[0]
            name, question = rest[_NAME.size : end].decode(), rest[end:]
            answering = begin(self._answer(node, number, name, question))
            if isinstance(answering, Deferred):
                answering.addErrback(_log_failed, name)
            return
        asked = self._asked.get(number)
        if asked is None or asked[0] != node.name:
            return  # it comes too late
        if kind == _ANSWER:
            del self._asked[number]
            asked[2].cancel()
            asked[1].callback(rest)
        else:
            self._fail(number, rest.decode())

    async def _answer(self, node: Node, number: int, name: str, question: bytes) -> None:
        kind, answer = _REFUSE, b""
        try:
            handler = self._handlers.get(name)
            if handler is None:
                raise StanzaError("feature-not-implemented")
            found: Any = handler(node, question)
            answer = found if isinstance(found, bytes) else await found
            kind = _ANSWER
        except StanzaError as error:
            answer = error.condition.encode()
        except BackendUnavailable:
            answer = b"internal-server-error"
        if self._mesh.peers.get(node.name) == node:  # a process that came later has asked nothing
            self._mesh.send(node.name, CHANNEL, _HEAD.pack(kind, number) + answer)


def _log_failed(failure: Failure, name: str) -> None:
    logger.error("call_failed call=%s", name, exc_info=failure.value)
