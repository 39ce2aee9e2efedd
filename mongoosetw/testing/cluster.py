"""Several real servers in a test: one clock, one database, links in memory that can be cut.

    class GreetingTests(ClusterTestCase):
        nodes = ("a", "b", "c")
        modules = {"mod_greeter": {}}

        def test_greeting_reaches_other_nodes(self) -> None:
            \"\"\"Somebody on another node is greeted, too.\"\"\"
            romeo = self.connect("romeo@localhost/phone", node="a")
            juliet = self.connect("juliet@localhost/balcony", node="b")
            romeo.send("<message to='juliet@localhost/balcony'><body>hello</body></message>")
            juliet.receives("<message from='romeo@localhost/phone'/>")

        def test_greeting_after_a_netsplit(self) -> None:
            \"\"\"Nodes that have lost their link find together again.\"\"\"
            self.cut("a", "b")
            self.run_for(15)
            self.heal()
            self.run_for(15)
            self.assertEqual(set(self.servers["a"].mesh.peers), {"b", "c"})

Nothing happens by itself: time passes when a client sends something (then everything happens that
is due at once) and in :meth:`ClusterTestCase.run_for`.
"""

from typing import ClassVar

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock

from mongoosetw.host import Host
from mongoosetw.server import Server
from mongoosetw.testing.client import Client
from mongoosetw.testing.clock import run_for
from mongoosetw.testing.nodes import MemoryCluster, MemoryNode
from mongoosetw.testing.server import ConfiguredTestCase
from mongoosetw.xmpp.jid import JID


class ClusterTestCase(ConfiguredTestCase):
    """Starts the nodes for each test, links them, and stops them.

    The other class variables are those of :class:`~mongoosetw.testing.server.ServerTestCase`.

    :cvar nodes: the names of the nodes.
    :cvar peer_timeout: seconds until a silent node counts as lost, as ``cluster.peer_timeout``.
    :cvar latency: least and longest seconds that something takes from node to node. If it is not
        0, :meth:`run_for` has to give it the time.
    """

    nodes: ClassVar[tuple[str, ...]] = ("a", "b")
    peer_timeout: ClassVar[float] = 10.0
    latency: ClassVar[tuple[float, float]] = (0.0, 0.0)

    def setUp(self) -> None:
        """Starts the nodes."""
        self.clock = Clock()
        self.cluster = MemoryCluster(
            self.clock,
            self.configuration(),
            peer_timeout=self.peer_timeout,
            latency=self.latency,
        )
        self.addCleanup(self._stop)
        for name in self.nodes:
            self.start(name)
        self.run_for(5 * self.latency[1])

    def _stop(self) -> None:
        self.heal()
        for name in list(self.cluster.nodes):
            stopped = Deferred.fromCoroutine(self.cluster.nodes.pop(name).server.shut_down())
            while not stopped.called:  # sessions may have to go to those that are left
                self.run_for(0.1)
            self.successResultOf(stopped)
        network = self.cluster.network
        self.run_for(max(network.reconnect_delay, network.peer_timeout))
        self.nothing_left()
        self.cluster.close()

    # -- nodes

    @property
    def servers(self) -> dict[str, Server]:
        """The servers that run, by the names of their nodes."""
        return {name: node.server for name, node in self.cluster.nodes.items()}

    def host(self, node: str) -> Host:
        """The first of the served domains, on a node."""
        return self.cluster.nodes[node].server.hosts[self.hosts[0]]

    def start(self, name: str, skew: float = 0.0) -> MemoryNode:
        """Starts a further node, or one again that has ended.

        :param skew: seconds that its clock is ahead of the others'.
        """
        node = self.cluster.start(name, skew)
        self.settle()
        self.successResultOf(node.started)
        return node

    def kill(self, name: str, *, power: bool = False) -> None:
        """Ends a node from one moment to the next; its clients' connections are gone.

        :param power: nor does its system close the connections: the others notice by the silence.
        """
        self.cluster.kill(name, power=power)
        self.settle()

    def restart(self, name: str) -> MemoryNode:
        """Kills a node and starts it again."""
        skew = self.cluster.nodes[name].skew
        self.kill(name)
        return self.start(name, skew)

    def leave(self, name: str) -> None:
        """Has a node send its clients away and end."""
        left = self.cluster.leave(name)
        self.run_for(1)
        self.successResultOf(left)

    def freeze(self, name: str) -> None:
        """Suspends a node: it does nothing, and nobody hears of it."""
        self.cluster.freeze(name)

    def thaw(self, name: str) -> None:
        """Lets a node run on."""
        self.cluster.thaw(name)
        self.settle()

    # -- links

    def cut(self, a: str, b: str, *, one_way: bool = False) -> None:
        """Nothing that ``a`` sends arrives at ``b`` any more, nor the other way.

        Both notice within :attr:`peer_timeout`, which has to pass; until then what is sent
        is on its way, and arrives if the wire is mended in time.

        :param one_way: what ``b`` sends does arrive at ``a``.
        """
        self.cluster.network.cut(a, b, one_way=one_way)

    def heal(self) -> None:
        """Mends all wires, and lets frozen nodes run on.

        Nodes that have lost their link have a new one within 5 seconds, which have to pass.
        """
        self.cluster.heal()
        self.settle()

    # -- clients

    def register(self, jid: str, password: str = "secret") -> JID:
        """Makes an account, unless it exists."""
        user = JID.parse(jid).bare
        node = next(node for node in self.cluster.nodes.values() if not node.clock.frozen)
        accounts = node.server.hosts[user.domain].accounts
        if not self.await_(accounts.exists(user)):
            self.await_(accounts.register(user, password))
        return user

    def connect(
        self, jid: str, node: str = "a", address: str = "192.0.2.1", *, bind: bool = True
    ) -> Client:
        """A client of a node, with its account, logged in and, unless told not to, bound."""
        self.register(jid)
        place = self.cluster.nodes[node]
        client = Client(place.listener, self.settle, JID.parse(jid), address, bind=bind)
        place.connections.append(client)
        return client

    def resume(self, client: Client, node: str, h: int | None = None) -> Client:
        """A client that comes back to its session on a node, whichever that is.

        What the server had written to its old connection and nobody has looked at is lost.

        :param h: how many stanzas it says it has handled; the truth by default.
        :raises AssertionError: the server refuses.
        """
        place = self.cluster.nodes[node]
        again = client.resume(h, listener=place.listener)
        place.connections.append(again)
        return again

    # -- time

    def run_for(self, seconds: float) -> None:
        """Lets time pass; everything happens at the time when it is due."""
        run_for(self.clock, seconds)
