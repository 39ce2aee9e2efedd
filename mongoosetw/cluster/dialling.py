"""Connecting to a node, again and again until there is a link."""

import logging
import random
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IDelayedCall, IStreamClientEndpoint
from twisted.internet.protocol import Factory
from twisted.python.failure import Failure

from mongoosetw.cluster.pb import LinkConnection

if TYPE_CHECKING:
    from mongoosetw.cluster.links import PBMesh

logger = logging.getLogger(__name__)
EndpointMaker = Callable[[str], IStreamClientEndpoint]
"""Makes an endpoint of an address such as ``unix:/path`` or ``tls:host:port``."""
_FIRST_DELAY: Final = 0.1


class Dialler:
    """Connects to one node.

    :ivar name: of the node.
    :ivar address: where it connects to, or last did.
    :ivar problem: why the last attempt failed.
    :ivar tried: whether there was a link, or could not be one.
    """

    def __init__(
        self, mesh: "PBMesh", name: str, connect: EndpointMaker, first: float, delay_max: float
    ) -> None:
        """
        :param first: seconds before the first attempt: one of two nodes lets the other begin.
        """
        self.address = ""
        self.problem = "not tried yet"
        self.tried = False
        self._mesh = mesh
        self.name = name
        self._connect = connect
        self._first = first
        self._delay_max = delay_max
        self._delay = _FIRST_DELAY
        self._places: tuple[str, ...] = ()
        self._attempts = 0
        self._timer: IDelayedCall | None = None
        self._connecting: Deferred[Any] | None = None
        self._stopped = False

    def go(self, places: tuple[str, ...], *, linked: bool) -> None:
        """Connects to one of these places, unless there is a link or an attempt already."""
        self.tried = self.tried or linked  # maybe since before it was known where the node is
        if places != self._places:
            self._places = places
            self._delay = _FIRST_DELAY
            if not linked and self._connecting is None:
                self._schedule(self._first * random.uniform(0.5, 1.0))

    def linked(self) -> None:
        """There is a link, whoever has connected."""
        self.tried = True
        self._delay = _FIRST_DELAY
        self._cancel()

    def lost(self) -> None:
        """There is none any more."""
        self._again()

    def failed(self, reason: str, *, fault: bool) -> None:
        """An attempt got as far as the hello."""
        self.problem = reason
        if fault:
            self.tried = True
            self._delay = self._delay_max
        if self._timer is None and self._connecting is None:
            self._again()

    def stop(self) -> None:
        """Connects no more."""
        self._stopped = True
        self._cancel()

    def _cancel(self) -> None:
        timer, self._timer = self._timer, None
        if timer is not None:
            timer.cancel()
        connecting, self._connecting = self._connecting, None
        if connecting is not None:
            connecting.cancel()

    def _again(self) -> None:
        """Waits longer each time, and never as long as the other nodes."""
        if self._stopped or self.name in self._mesh.peers:
            return
        self._schedule(self._delay * random.uniform(0.5, 1.0))
        self._delay = min(self._delay * 2, self._delay_max)

    def _schedule(self, seconds: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self._mesh.clock.callLater(seconds, self._dial)

    def _dial(self) -> None:
        self._timer = None
        if not self._places:
            return
        self.address = self._places[self._attempts % len(self._places)]
        self._attempts += 1
        connecting = self._connect(self.address).connect(_Calling(self._mesh, self))
        self._connecting = connecting
        connecting.addCallbacks(self._connected, self._unreachable)

    def _connected(self, _: object) -> None:
        self._connecting = None

    def _unreachable(self, failure: Failure) -> None:
        self._connecting = None
        if failure.check(CancelledError) or self._stopped:
            return
        self.tried = True
        problem = str(failure.value)
        if problem != self.problem:
            self.problem = problem
            logger.info("node_unreachable peer=%s address=%s reason=%s",
                        self.name, self.address, problem)  # fmt: skip
        self._again()


class _Calling(Factory):
    noisy = False

    def __init__(self, mesh: "PBMesh", dialler: Dialler) -> None:
        self._mesh = mesh
        self._dialler = dialler

    def buildProtocol(self, addr: object) -> LinkConnection:
        connection = LinkConnection(self._mesh, self._dialler.address, self._dialler.name)
        self._mesh.admit(connection)
        return connection
