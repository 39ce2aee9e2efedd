"""What has to arrive at a node, although the queue of its link may be full just now.

That an account's session is to be closed, say: nobody would order it again. And presence, which
nobody would miss until the client changes it.
"""

import logging
from collections import deque
from collections.abc import Callable
from typing import Final

from twisted.internet.interfaces import IDelayedCall, IReactorTime

from mongoosetw.cluster.mesh import Mesh

MOST: Final = 10_000
"""Payloads that wait for one node; what is more is lost."""
_AGAIN: Final = 0.1  # seconds

logger = logging.getLogger(__name__)


class Repeats:
    """Sends again, in order, until there is room or the link is lost.

    :param send: sends a payload to a node; False if there is no room, or no link.
    """

    def __init__(
        self, mesh: Mesh, clock: IReactorTime, send: Callable[[str, bytes], bool]
    ) -> None:
        self._mesh = mesh
        self._clock = clock
        self._send = send
        self._waiting: dict[str, deque[bytes]] = {}
        self._losing: set[str] = set()  # the log says so once
        self._timer: IDelayedCall | None = None

    def waits(self, node: str) -> bool:
        """Whether something waits for a node, which nothing of the kind may overtake."""
        return node in self._waiting

    def send(self, node: str, payload: bytes) -> None:
        """Sends a payload, now or later."""
        if node in self._waiting or not self._send(node, payload):
            self.put(node, payload)

    def put(self, node: str, payload: bytes) -> None:
        """Sends a payload later, for which there was no room."""
        if node not in self._mesh.peers:
            return  # its sessions are gone with it
        waiting = self._waiting.setdefault(node, deque())
        if len(waiting) >= MOST:
            if node not in self._losing:
                self._losing.add(node)
                logger.warning("orders_lost peer=%s reason=queue-full", node)
            return
        waiting.append(payload)
        if self._timer is None:
            self._timer = self._clock.callLater(_AGAIN, self._again)

    def _again(self) -> None:
        self._timer = None
        for node, waiting in list(self._waiting.items()):
            while waiting and self._send(node, waiting[0]):
                waiting.popleft()
            if not waiting:
                self.lost(node)
        if self._waiting:
            self._timer = self._clock.callLater(_AGAIN, self._again)

    def lost(self, node: str) -> None:
        """A link is down, and nothing waits for it any more."""
        self._waiting.pop(node, None)
        self._losing.discard(node)

    def stop(self) -> None:
        """The server stops."""
        self._waiting.clear()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
