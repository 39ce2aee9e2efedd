"""What a server among others has that one alone has not."""

from typing import TYPE_CHECKING

from mongoosetw.cluster.sessions.calls import Calls
from mongoosetw.cluster.sessions.cleanup import Cleanup
from mongoosetw.cluster.sessions.directory import Directory
from mongoosetw.cluster.sessions.moving import Moves
from mongoosetw.cluster.sessions.redis import RedisDirectory
from mongoosetw.cluster.sessions.redis_store import Store
from mongoosetw.cluster.sessions.relay import Relay
from mongoosetw.cluster.sessions.replicated import Replicated
from mongoosetw.hooks.bus import Order
from mongoosetw.hooks.presence import PresenceChanged

if TYPE_CHECKING:  # types only
    from mongoosetw.host import Host
    from mongoosetw.server import Server


class Cluster:
    """The other nodes, as far as stanzas and sessions are concerned.

    :ivar directory: knows which sessions the other nodes have.
    :ivar relay: carries stanzas to the sessions of other nodes, and from there.
    :ivar calls: asks other nodes.
    :ivar moves: the sessions of this node that go on at another one.
    """

    def __init__(self, server: "Server") -> None:
        links = None if server.membership is None else server.membership.links
        notes = () if links is None else (links.happenings.add,)
        mesh, clock = server.mesh, server.clock
        self.relay = Relay(server)
        self.calls = Calls(mesh, clock)
        self.directory: Directory
        if server.redis is None:
            self.directory = Replicated(mesh, clock, self.relay, *notes)
        else:
            store = Store(server.redis, server.config.cluster.cluster_name, mesh.local)
            self.directory = RedisDirectory(mesh, clock, self.relay, self.calls, store, *notes)
        self.relay.start()  # it hears of a lost link when the sessions behind it are gone
        self.moves = Moves(server, self.relay)
        self._cleanup = Cleanup(server)

    def attach(self, host: "Host") -> None:
        """A host is served from now on."""
        self.directory.attach(host)
        self._cleanup.attach(host)
        host.hooks.add(PresenceChanged, Order.LAST, "cluster", self._spoke)
        host.hooks.publish()

    def _spoke(self, event: PresenceChanged) -> None:
        self.directory.spoke(event.session)

    def detach(self, host: "Host") -> None:
        """It is served no longer."""
        self.directory.detach(host)

    def stop(self) -> None:
        """The server stops: nobody waits for other nodes any more."""
        self._cleanup.stop()
        self.moves.stop()
        self.directory.stop()
        self.relay.stop()
