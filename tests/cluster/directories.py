"""Nodes that are nothing but their registries: directories over a mesh in memory."""

from typing import Any

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from mongoosetw.c2s.binding import register
from mongoosetw.cluster.mesh import Node
from mongoosetw.cluster.sessions.replicated import Replicated
from mongoosetw.cluster.sessions.stayed import Stayed
from mongoosetw.hooks.bus import HookBus
from mongoosetw.hooks.cluster import PresenceUncertain, SessionsFound, SessionsLost
from mongoosetw.ids import TimeIDs
from mongoosetw.sessions import SessionRegistry
from mongoosetw.testing.clock import run_for
from mongoosetw.testing.mesh import MemoryNetwork
from mongoosetw.xmpp.jid import JID

ROMEO, JULIET = "romeo@localhost/a", "juliet@localhost/b"


class LocalSession:
    """A session without a client."""

    local = True
    secure = True
    continues = 0

    def __init__(self, host: Any, jid: str) -> None:
        self.host = host
        self.sid = host.server.session_ids.next()
        self.jid = JID.parse(jid)
        self.bare = self.jid.bare
        self.priority: int | None = None
        self.flags: frozenset[str] = frozenset()
        self.closed: str | None = None

    @property
    def available(self) -> bool:
        """Whether there is presence."""
        return self.priority is not None

    def become(self, priority: int | None, *flags: str) -> None:
        """Sends presence, or takes it back."""
        self.priority = priority
        self.flags = frozenset(flags)
        self.host.sessions.changed(self)

    def close(self, condition: str | None = None, text: str | None = None) -> None:
        """Ends the session."""
        self.closed = condition or "normal"
        self.host.sessions.remove(self)


class FakeHost:
    """A domain of a node."""

    def __init__(self, domain: str, node: "DirectoryNode") -> None:
        self.domain = domain
        self.server = node
        self.sessions = SessionRegistry()
        self.access = self
        self.hooks: Any = self

    def number(self, rule: str, user: JID, default: float) -> float:
        """An access rule."""
        return self.server.most

    def fire(self, event: Any) -> None:
        """A hook."""
        self.server.fired(event)

    def open(self, jid: str, priority: int | None = None) -> LocalSession:
        """Binds a resource."""
        session: Any = LocalSession(self, jid)
        register(self, session)  # type: ignore[arg-type]
        if priority is not None:
            session.become(priority)
        return session  # type: ignore[no-any-return]


class _Relay:
    """Carries nothing: directories agree without it."""

    def __init__(self) -> None:
        self.left: list[Any] = []
        self.stayed = Stayed(Clock())

    def arrives(self, session: Any) -> None:
        """A session of this node has an address."""

    def moving(self, sid: int, jid: JID) -> None:
        """No session moves."""

    def leaves(self, session: Any) -> None:
        """A session is not registered any more."""
        self.left.append(session)


class DirectoryNode:
    """One node."""

    def __init__(
        self, network: MemoryNetwork, clock: Clock, node: Node, skew: float, domains: Any
    ) -> None:
        self.name = node.name
        self.most = 100
        self.mesh = network.mesh(node)
        self.message_log = None
        self.session_ids = TimeIDs(
            node.number, lambda: round((clock.seconds() + 1e9 + skew) * 1e6)
        )
        self.relay: Any = _Relay()
        self.found: list[tuple[list[str], list[str]]] = []
        self.lost: list[tuple[list[str], str, bool]] = []
        self.unsure: list[tuple[str, str]] = []
        self.notes: list[tuple[str, str, str]] = []
        self.hooks = HookBus()
        self.directory = self.make_directory(clock)
        self.hosts: dict[str, FakeHost] = {}
        for domain in domains:
            self.serve(domain)
        self.mesh.start()

    def make_directory(self, clock: Clock) -> Any:
        """The back end."""
        return Replicated(self.mesh, clock, self.relay, self.note)

    def note(self, *what: str) -> None:
        """Something is written down for the operator."""
        self.notes.append(what)  # type: ignore[arg-type]

    def serve(self, domain: str) -> FakeHost:
        """Serves a domain from now on."""
        host: Any = FakeHost(domain, self)
        self.hosts[domain] = host
        self.directory.attach(host)
        return host  # type: ignore[no-any-return]

    @property
    def host(self) -> FakeHost:
        """The first domain."""
        return next(iter(self.hosts.values()))

    def open(self, jid: str, priority: int | None = None) -> LocalSession:
        """Binds a resource."""
        return self.hosts[JID.parse(jid).domain].open(jid, priority)

    def fired(self, event: Any) -> None:
        """Notes a hook."""
        if isinstance(event, SessionsFound):
            self.found.append((_names(event.found), _names(event.missed)))
        elif isinstance(event, SessionsLost):
            self.lost.append((_names(event.lost), event.node, event.left))
        elif isinstance(event, PresenceUncertain):
            self.unsure.append((str(event.session.jid), str(event.sender)))

    def known(self) -> dict[str, tuple[Any, ...]]:
        """What this node knows of all sessions."""
        return {
            str(s.jid): (s.sid, s.priority, s.flags, s.secure)
            for host in self.hosts.values()
            for s in host.sessions
        }


def _names(sessions: Any) -> list[str]:
    return sorted(str(session.jid) for session in sessions)


class Directories:
    """Nodes on one clock."""

    def __init__(self, **network: Any) -> None:
        self.clock = Clock()
        self.network = MemoryNetwork(self.clock, **network)
        self.nodes: dict[str, DirectoryNode] = {}
        self._numbers: dict[str, int] = {}
        self._starts = 0

    def start(
        self,
        name: str,
        skew: float = 0.0,
        domains: Any = ("localhost",),
        kind: type[DirectoryNode] = DirectoryNode,
    ) -> Any:
        """Starts a node, or one again."""
        self._starts += 1
        number = self._numbers.setdefault(name, len(self._numbers))
        node = kind(self.network, self.clock, Node(name, number, self._starts), skew, domains)
        self.nodes[name] = node
        return node

    def kill(self, name: str) -> None:
        """Ends a process."""
        node = self.nodes.pop(name)
        node.directory.stop()
        self.network.kill(name)
        # What a dead process would go on to do does nothing
        for host in node.hosts.values():
            host.sessions.watcher = None

    def run_for(self, seconds: float) -> None:
        """Lets time pass, in the order of what is due."""
        run_for(self.clock, seconds)


class DirectoryCase(SynchronousTestCase):
    """Linked nodes.

    :cvar names: theirs; each is an attribute of the test.
    """

    names = "ab"
    a: Any
    b: Any
    c: Any

    def setUp(self) -> None:
        """Starts the nodes."""
        self.all = self.make()
        for name in self.names:
            setattr(self, name, self.all.start(name))
        self.settle()

    def make(self) -> Directories:
        """Where the nodes will be."""
        return Directories()

    def settle(self) -> None:
        """Everything that is due now happens."""
        self.all.run_for(0.2)

    def cut(self, one: str = "a", other: str = "b") -> None:
        """Two nodes lose their link."""
        self.all.network.cut(one, other)
        self.all.run_for(15)

    def heal(self) -> None:
        """All are linked again."""
        self.all.network.heal_all()
        self.all.run_for(15)

    def assert_agreed(self, *jids: str) -> None:
        """All nodes know the same, and these addresses."""
        nodes = list(self.all.nodes.values())
        for node in nodes:
            self.assertEqual(sorted(node.known()), sorted(jids), node.name)
            self.assertEqual(node.known(), nodes[0].known())
        self.assertEqual(
            sum(h.sessions.local_count for n in nodes for h in n.hosts.values()), len(jids)
        )

    def check_told(self) -> None:
        """Who is known when somebody becomes available is told by that one's node: no hook."""
        romeo = self.a.open(ROMEO, 1)
        self.settle()
        juliet = self.b.open(JULIET, 1)
        self.settle()
        for session in (romeo, juliet):
            session.become(5, "carbons")
            session.become(None)
            self.settle()
            session.become(1)
            self.settle()
        self.assertEqual((self.a.found, self.b.found), ([], []))
