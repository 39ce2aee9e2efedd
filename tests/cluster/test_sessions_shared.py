"""Several real servers whose users are one crowd."""



from mongoosetw.control_commands import SessionCommands
from mongoosetw.hooks.c2s import SessionClosed
from mongoosetw.testing.cluster import ClusterTestCase
from mongoosetw.xmpp.jid import JID
from tests.cluster.memory import member
from tests.cluster.test_links import MeshCase

ROMEO = "romeo@localhost/phone"


class SharedTests(ClusterTestCase):
    """Three nodes."""

    nodes = ("a", "b", "c")
    modules = {"mod_roster": {}, "mod_presence": {}}
    general = "host_types = ['dynamic']"

    def known(self, node: str) -> dict[str, int | None]:
        """The sessions that a node knows, and their priorities."""
        return {str(s.jid): s.priority for s in self.host(node).sessions}

    def assert_known(self, expected: dict[str, int | None]) -> None:
        """All nodes know these."""
        for node in self.servers:
            self.assertEqual(self.known(node), expected)

    def test_login_presence_logout(self) -> None:
        """What a client does on one node all nodes know."""
        romeo = self.connect(ROMEO, node="b")
        self.assert_known({ROMEO: None})
        romeo.send("<presence><priority>5</priority></presence>")
        self.assert_known({ROMEO: 5})
        romeo.send("<presence><priority>-1</priority></presence>")
        self.assert_known({ROMEO: -1})
        romeo.send("<presence type='unavailable'/>")
        self.assert_known({ROMEO: None})
        romeo.send("</stream:stream>")
        self.settle()
        self.assert_known({})

    def test_status_is_told_to_nobody(self) -> None:
        """Presence that changes neither priority nor availability is not worth a word."""
        romeo = self.connect(ROMEO)
        romeo.send("<presence/>")
        self.settle()
        before = self.cluster.network.payloads["session"]
        romeo.send("<presence><status>tired</status></presence>")
        self.settle()
        self.assertEqual(self.cluster.network.payloads["session"], before)

    def test_conflict(self) -> None:
        """Who logs in again on another node ends the older connection with conflict."""
        older = self.connect(ROMEO, node="a")
        self.connect(ROMEO, node="c")
        self.settle()
        self.assertIn(b"<conflict", older.output())
        self.assertTrue(older.transport.closed)
        self.assert_known({ROMEO: None})
        self.assertTrue(self.host("c").sessions.get(JID.parse(ROMEO)).local)  # type: ignore[union-attr]

    def test_conflict_after_a_netsplit(self) -> None:
        """The older one is told conflict when its node hears of the newer; modules see its end."""
        closed: list[str] = []

        def note(event: SessionClosed) -> None:
            closed.append(event.reason)

        older = self.connect(ROMEO, node="a")
        self.run_for(1)
        for other in "bc":
            self.cut("a", other)
        self.run_for(15)
        newer = self.connect(ROMEO, node="b")
        hooks = self.host("a").hooks
        hooks.add(SessionClosed, 50, "test", note)
        hooks.publish()
        self.heal()
        self.run_for(15)
        self.assertIn(b"<conflict", older.output())
        self.assertFalse(newer.transport.closed)
        self.assertEqual(closed, ["conflict"])
        self.assert_known({ROMEO: None})

    def test_domain_added_later(self) -> None:
        """A domain of which some nodes hear late has its sessions on all."""
        self.cut("a", "b")
        self.run_for(15)
        self.await_(self.servers["a"].domains.add("later.example", "dynamic"))
        self.connect("romeo@later.example/phone", node="a")
        self.settle()
        self.assertNotIn("later.example", self.servers["b"].hosts)
        self.heal()
        self.run_for(15)
        for server in self.servers.values():
            found = [str(s.jid) for s in server.hosts["later.example"].sessions]
            self.assertEqual(found, ["romeo@later.example/phone"])
        self.await_(self.servers["a"].domains.disable("later.example"))
        self.settle()
        for server in self.servers.values():
            self.assertNotIn("later.example", server.hosts)

    def test_commands(self) -> None:
        """Sessions are listed and counted once, whichever node is asked, and ended on any."""
        romeo = self.connect(ROMEO, node="a")
        self.connect("juliet@localhost/balcony", node="b")
        self.settle()
        commands = SessionCommands(self.servers["c"])
        rows = {row["jid"]: row["node"] for row in self.await_(commands.list_all({}))}
        self.assertEqual(rows, {"juliet@localhost/balcony": "b", ROMEO: "a"})
        self.assertEqual(self.await_(commands.count({})), {"localhost": 2})
        self.assertEqual(self.await_(commands.count({"own": True})), {"localhost": 0})
        self.assertEqual(self.await_(commands.list_all({"own": True})), [])
        self.assertEqual(self.await_(commands.kick({"jid": ROMEO})), {"kicked": [ROMEO]})
        self.settle()
        self.assertIn(b"<policy-violation", romeo.output())
        self.assert_known({"juliet@localhost/balcony": None})

    def test_shut_down_leaves_others_alone(self) -> None:
        """A node that ends closes its own sessions only."""
        self.connect(ROMEO, node="a")
        juliet = self.connect("juliet@localhost/balcony", node="b")
        self.settle()
        self.leave("a")
        self.assertFalse(juliet.transport.closed)
        self.assert_known({"juliet@localhost/balcony": None})

    def test_killed(self) -> None:
        """The sessions of a node that was killed are gone."""
        self.connect(ROMEO, node="a")
        self.settle()
        self.kill("a")
        self.assert_known({})


class AwaitedTests(MeshCase):
    """What a mesh knows of nodes that it has no link to."""

    def test_awaited(self) -> None:
        """Nodes are awaited until they are linked, or cannot be reached."""
        a = self.add(member("a", 0))
        self.assertTrue(a.mesh.awaited)
        self.add(member("b", 1))
        a.mesh.expect({"b": ("b",), "c": ("c",)})
        self.assertTrue(a.mesh.awaited)
        self.run_for(2)
        self.assertEqual(set(a.mesh.peers), {"b"})
        self.assertFalse(a.mesh.awaited)

    def test_left(self) -> None:
        """A node that said goodbye is told from one that was lost."""
        a, b, _ = self.start(3)
        self.run_for(2)
        b.mesh.stop("it was shut down")
        self.network.crash("c")
        self.run_for(1)
        self.assertEqual([a.mesh.left(name) for name in "bc"], [True, False])
