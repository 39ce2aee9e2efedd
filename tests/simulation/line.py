"""A device's connection to a node."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from twisted.internet.error import ConnectionLost
from twisted.python.failure import Failure

from mongoosetw.testing.client import MemoryTransport
from mongoosetw.testing.mesh import Wire
from mongoosetw.testing.nodes import MemoryNode
from mongoosetw.xmpp.jid import JID

if TYPE_CHECKING:  # types only
    from tests.simulation.device import Device


class Line(MemoryTransport):
    """What the server sees as a TCP connection; what either end sends takes its time.

    :ivar broken: nothing passes any more, in whichever direction.
    """

    def __init__(self, device: "Device", node: MemoryNode, access: Any) -> None:
        super().__init__("192.0.2.1")
        self.device = device
        self.node = node
        self.broken = False
        self._up, self._down = Wire(access), Wire(access)

    # -- what the device does

    def open(self, user: JID) -> None:
        """Connects, and logs in: that is simulated nowhere."""

        def accept() -> None:
            if not self.device.world.takes_clients(self.node):
                self.device.lost(self)
                return
            protocol = self.node.listener.buildProtocol(self.getPeer())
            self.protocol = protocol
            protocol.makeConnection(self)
            assert protocol.stream is not None
            protocol.stream.authenticated(user)

        self._carry(accept)

    def send(self, data: bytes) -> None:
        """Sends something to the server."""

        def arrive() -> None:
            if self.protocol is not None and not self.closed:
                self.protocol.dataReceived(data)

        self._carry(arrive)

    def _carry(self, action: Callable[[], object]) -> None:
        clock = self.node.clock
        self._up.carry(lambda: self.broken or clock.callLater(0, lambda: self.broken or action()))

    def snap(self, noticed_after: float) -> None:
        """The connection breaks; the server notices later."""
        self.broken = True
        self.node.clock.callLater(noticed_after, self._noticed)

    def _noticed(self) -> None:
        if not self.closed and self.protocol is not None:
            super().lost(Failure(ConnectionLost()))

    def sever(self, noticed_after: float) -> None:
        """The node is no more; what it has sent arrives, if the device is told at once."""
        self.closed = True
        self.broken = noticed_after > 0
        clock = self.device.world.clock
        self._down.carry(lambda: clock.callLater(noticed_after, self.device.lost, self))

    # -- what the server does

    def write_now(self, data: bytes) -> None:
        """Sends something to the device."""
        if not self.closed:
            self._tell(lambda: self.device.arrived(self, data))

    def _tell(self, action: Callable[[], object]) -> None:
        self._down.carry(lambda: self.broken or action())

    def lost(self, reason: Failure) -> None:
        """Closes the connection; the device learns of it behind all that was sent to it."""
        super().lost(reason)
        self._tell(lambda: self.device.lost(self))
