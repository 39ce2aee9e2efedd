"""What a server among others has that one alone has not."""

from typing import TYPE_CHECKING

from mongoosetw.cluster.sessions.calls import Calls
from mongoosetw.cluster.sessions.relay import Relay

if TYPE_CHECKING:  # types only
    from mongoosetw.server import Server


class Cluster:
    """The other nodes, as far as stanzas and sessions are concerned.

    :ivar relay: carries stanzas to the sessions of other nodes, and from there.
    :ivar calls: asks other nodes.
    """

    def __init__(self, server: "Server") -> None:
        self.relay = Relay(server)
        self.calls = Calls(server.mesh, server.clock)

    def stop(self) -> None:
        """The server stops: nobody waits for other nodes any more."""
        self.relay.stop()
