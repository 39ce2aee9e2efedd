"""Whatever happens to nodes and links: when all is over, all nodes know what there is."""

from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule
from twisted.trial.unittest import SynchronousTestCase

from mongoosetw.hooks.cluster import SessionsFound, SessionsLost
from tests.cluster.directories import Directories, DirectoryNode, LocalSession

_NODES = ("a", "b", "c")
_JIDS = ("romeo@localhost/x", "romeo@localhost/y", "juliet@localhost/x", "nurse@later/x")
_SKEWS = {"a": 0.0, "b": -7200.0, "c": 3600.0}
_node = st.sampled_from(_NODES)
_jid = st.sampled_from(_JIDS)


class _Node(DirectoryNode):
    """A node whose clients see what mod_presence would show them.

    :ivar seen: sids of a client here and of an available session elsewhere that it knows of.
    """

    def __init__(self, *args: Any) -> None:
        self.seen: set[tuple[int, int]] = set()
        super().__init__(*args)

    def fired(self, event: Any) -> None:
        """Found sessions are shown to those who have missed them; lost ones are seen no more."""
        if isinstance(event, SessionsFound):
            self.seen |= {(s.sid, f.sid) for s in event.missed for f in event.found}
        elif isinstance(event, SessionsLost):
            gone = {session.sid for session in event.lost}
            self.seen = {(own, other) for own, other in self.seen if other not in gone}


class Model(RuleBasedStateMachine):
    """Three nodes whose clocks are hours apart, with slow links that are cut and mended."""

    @initialize(seed=st.integers(0, 2**32), slow=st.sampled_from([0.0, 0.02, 1.0]))
    def begin(self, seed: int, slow: float) -> None:
        """Starts the nodes."""
        self.all = Directories(
            seed=seed, latency=(0.0, slow), peer_timeout=4.0, reconnect_delay=2.0
        )
        self.opened: list[LocalSession] = []
        for name in _NODES:
            self.start(name)

    def start(self, name: str) -> None:
        """Starts a node; one of them does not serve all domains yet."""
        domains = ["localhost"] if name == "c" else ["localhost", "later"]
        self.all.start(name, _SKEWS[name], domains, _Node)

    @rule(node=_node, jid=_jid, priority=st.sampled_from([None, 0, 5]))
    def open(self, node: str, jid: str, priority: int | None) -> None:
        """A client binds, and maybe sends presence at once."""
        place = self.all.nodes.get(node)
        if place is not None and jid.split("@")[1].split("/")[0] in place.hosts:
            session = place.open(jid)
            self.opened.append(session)
            if priority is not None:
                self.become(session, priority)

    @rule(jid=_jid)
    def open_everywhere(self, jid: str) -> None:
        """Clients bind the same resource on all nodes at one moment."""
        for name in _NODES:
            self.open(name, jid, 1)

    @rule(which=st.integers(0, 50), priority=st.sampled_from([None, 0, 5, -1]))
    def presence(self, which: int, priority: int | None) -> None:
        """A client sends presence."""
        alive = self.alive()
        if alive:
            self.become(alive[which % len(alive)], priority)

    def become(self, session: LocalSession, priority: int | None) -> None:
        """Presence reaches all who are known there, and the client learns of all of them."""
        before = session.available
        session.become(priority, *(["carbons"] if priority else []))
        if not session.available:
            for node in self.all.nodes.values():
                node.seen = {p for p in node.seen if session.sid not in p}
        elif not before:
            own = session.host.server
            for host in own.hosts.values():
                for other in host.sessions:
                    if not other.local and other.available:
                        own.seen.add((session.sid, other.sid))
                        there = self.all.nodes.get(other.node)
                        if there is not None:
                            there.seen.add((other.sid, session.sid))

    @rule(which=st.integers(0, 50))
    def close(self, which: int) -> None:
        """A client goes."""
        alive = self.alive()
        if alive:
            alive[which % len(alive)].close()

    @rule(one=_node, other=_node, one_way=st.booleans())
    def cut(self, one: str, other: str, one_way: bool) -> None:
        """A wire is cut."""
        if one != other:
            self.all.network.cut(one, other, one_way=one_way)

    @rule(one=_node, other=_node)
    def heal(self, one: str, other: str) -> None:
        """A wire is mended, maybe before anybody has noticed."""
        if one != other:
            self.all.network.heal(one, other)

    @rule(name=_node)
    def restart(self, name: str) -> None:
        """A process is killed, and another one started in its place."""
        if name in self.all.nodes:
            self.all.kill(name)
            self.start(name)

    @rule()
    def serve_later(self) -> None:
        """A node begins to serve a further domain."""
        node = self.all.nodes["c"]
        if "later" not in node.hosts:
            node.serve("later")

    @rule(name=_node, bytes=st.sampled_from([40, 300, 16 * 1024 * 1024]))
    def queue(self, name: str, bytes: int) -> None:
        """Queues are short for a while."""
        self.all.network.queue_size = bytes

    @rule(seconds=st.sampled_from([0.0, 0.01, 0.3, 2.0, 6.0]))
    def wait(self, seconds: float) -> None:
        """Time passes."""
        self.all.run_for(seconds)

    def alive(self) -> list[LocalSession]:
        """The sessions that their nodes have."""
        return [
            s for node in self.all.nodes.values() for host in node.hosts.values()
            for s in sorted(host.sessions.local(), key=lambda s: s.sid)
        ]  # type: ignore[misc]  # fmt: skip

    @invariant()
    def losers_have_lost(self) -> None:
        """Who was told conflict has lost to a newer session of the same address."""
        for session in getattr(self, "opened", ()):
            if session.closed == "conflict":
                newer = [s for s in self.opened if s.jid == session.jid and s.sid > session.sid]
                assert newer, session.jid

    def teardown(self) -> None:
        """Everything is mended and delivered."""
        if not hasattr(self, "all"):
            return
        self.all.network.queue_size = 16 * 1024 * 1024
        self.all.network.heal_all()
        self.serve_later()
        self.all.run_for(60)
        alive = self.alive()
        truth = {str(s.jid): (s.sid, s.priority, s.flags, s.secure) for s in alive}
        assert len(truth) == len(alive), "two sessions have one address"
        for name, node in self.all.nodes.items():
            assert node.known() == truth, (name, node.known(), truth)
            assert not node.directory._claims._aside
            assert node.directory._is_ready()
        self.check_seen(alive)

    def check_seen(self, alive: list[LocalSession]) -> None:
        """Nobody has missed anybody."""
        available = [s for s in alive if s.available]
        for one in available:
            for other in available:
                node = one.host.server
                if node is not other.host.server:
                    assert (one.sid, other.sid) in node.seen, (one.jid, other.jid)


class ModelTests(SynchronousTestCase):
    """Runs the model."""

    def test_model(self) -> None:
        """All nodes agree with the truth, the newest of one address has won, nobody was missed."""
        case: Any = Model.TestCase()
        case.settings = settings(
            max_examples=100,
            stateful_step_count=30,
            suppress_health_check=list(HealthCheck),
        )
        case.runTest()
