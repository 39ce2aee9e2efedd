"""What has to arrive at a node, although the queue of its link may be full just now.

That an account's session is to be closed, say: nobody would order it again. And stanzas of which
nobody would be told that they have not arrived: presence, copies of messages, roster pushes,
answers.
"""

import logging
from collections import deque
from collections.abc import Callable
from typing import Final

from twisted.internet.interfaces import IDelayedCall, IReactorTime

from mongoosetw.cluster.mesh import Mesh
from mongoosetw.cluster.metrics import NOT_SENT
from mongoosetw.cluster.sessions.remote import RemoteSession

MOST: Final = 10_000
"""Payloads that wait for one node; what is more is lost."""
MOST_BYTES: Final = 16 * 1024 * 1024
_AGAIN: Final = 0.1  # seconds

logger = logging.getLogger(__name__)


class _Waiting:
    """What waits for one node.

    :ivar losing: more than that was lost; the log says so once.
    :ivar short: sessions that will not get all that was for them.
    """

    __slots__ = ("losing", "payloads", "short", "size")

    def __init__(self) -> None:
        self.payloads: deque[bytes] = deque()
        self.size = 0
        self.losing = False
        self.short: dict[RemoteSession, None] = {}

    def put(self, payload: bytes) -> bool:
        """Adds a payload; False if that is too much."""
        if len(self.payloads) >= MOST or self.size + len(payload) > MOST_BYTES:
            return False
        self.payloads.append(payload)
        self.size += len(payload)
        return True


class Repeats:
    """Sends again, in order, until there is room or the link is lost.

    :param send: sends a payload to a node; False if there is no room, or no link.
    :param incomplete: told of each session that something was lost for, as soon as there is room.
    """

    def __init__(
        self,
        mesh: Mesh,
        clock: IReactorTime,
        send: Callable[[str, bytes], bool],
        incomplete: Callable[[RemoteSession], None] = lambda session: None,
    ) -> None:
        self._mesh = mesh
        self._clock = clock
        self._send = send
        self._incomplete = incomplete
        self._waiting: dict[str, _Waiting] = {}
        self._timer: IDelayedCall | None = None

    def send(self, node: str, payload: bytes, session: RemoteSession | None = None) -> bool:
        """Sends a payload, now or later, behind all that waits.

        :param session: that it is for.
        :returns: False if it is lost.
        """
        if node not in self._waiting and self._send(node, payload):
            return True
        waiting = self._later(node)
        if waiting is None or waiting.put(payload):
            return waiting is not None
        self._lose(node, waiting, session)
        return False

    def lose(self, node: str, session: RemoteSession) -> None:
        """There was no room elsewhere for something that was for a session."""
        waiting = self._later(node)
        if waiting is not None:
            self._lose(node, waiting, session)

    def _later(self, node: str) -> _Waiting | None:
        """What waits for a node; None if its sessions are gone with it."""
        if node not in self._mesh.peers:
            return None
        if self._timer is None:
            self._timer = self._clock.callLater(_AGAIN, self._again)
        return self._waiting.setdefault(node, _Waiting())

    def _lose(self, node: str, waiting: _Waiting, session: RemoteSession | None) -> None:
        NOT_SENT.of_node().inc()
        if not waiting.losing:
            waiting.losing = True
            logger.warning("not_sent peer=%s reason=queue-full", node)
        if session is not None:
            waiting.short[session] = None

    def _again(self) -> None:
        self._timer = None
        for node, waiting in list(self._waiting.items()):
            while waiting.payloads and self._send(node, waiting.payloads[0]):
                waiting.size -= len(waiting.payloads.popleft())
            if not waiting.payloads:
                self.lost(node)
                for session in waiting.short:
                    self._incomplete(session)
        if self._waiting and self._timer is None:
            self._timer = self._clock.callLater(_AGAIN, self._again)

    def lost(self, node: str) -> None:
        """A link is down, and nothing waits for it any more."""
        self._waiting.pop(node, None)

    def stop(self) -> None:
        """The server stops."""
        self._waiting.clear()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
