"""Clients that send more than a link carries wait until it has carried it."""

from typing import TYPE_CHECKING, Final

from twisted.internet.interfaces import IDelayedCall

if TYPE_CHECKING:  # types only
    from mongoosetw.c2s.stream import ClientStream
    from mongoosetw.server import Server

LONG: Final = 4 * 1024 * 1024
"""Bytes in the queue of a link from which on those who add to it are paused."""
SHORT: Final = 1024 * 1024
"""Bytes down to which they are."""
_LOOK: Final = 0.02  # seconds


class Pressure:
    """The clients that wait, by the node that they wait for."""

    def __init__(self, server: "Server") -> None:
        self._server = server
        self._paused: dict[str, dict[ClientStream, None]] = {}
        self._timer: IDelayedCall | None = None

    def grow(self, node: str) -> None:
        """Something was added to a node's queue. Pauses the client that did it if it is long."""
        sender = self._server.active
        if sender is None or self._server.mesh.queued(node) < LONG:
            return
        paused = self._paused.setdefault(node, {})
        if sender not in paused:
            paused[sender] = None
            sender.hold()
            self._wait()

    def _wait(self) -> None:
        if self._timer is None:
            self._timer = self._server.clock.callLater(_LOOK, self._look)

    def _look(self) -> None:
        self._timer = None
        for node in list(self._paused):
            if self._server.mesh.queued(node) <= SHORT:
                self.release(node)
        if self._paused:
            self._wait()

    def release(self, node: str) -> None:
        """Those who wait for a node go on."""
        for sender in self._paused.pop(node, ()):
            sender.let_go()

    def stop(self) -> None:
        """All go on."""
        for node in list(self._paused):
            self.release(node)
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
