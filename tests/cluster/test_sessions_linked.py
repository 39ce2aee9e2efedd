"""Servers with the real links, which are cut and mended: sessions, and what an operator sees."""

from types import SimpleNamespace
from typing import Any

from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from mongoosetw.cluster.commands import ClusterCommands
from mongoosetw.cluster.supervisor_control import supervisor_control
from mongoosetw.xmpp.jid import JID
from tests.cluster.servers import ServersCase

ROMEO, JULIET = "romeo@localhost/phone", "juliet@localhost/balcony"


class LinkedTests(ServersCase):
    """Two to four servers."""

    def known(self, name: str) -> list[str]:
        """The sessions that a node knows."""
        return sorted(str(s.jid) for s in self.servers[name].hosts["localhost"].sessions)

    def status(self, name: str) -> dict[str, Any]:
        """What ``mongoosectl cluster status`` says."""
        return ClusterCommands(self.servers[name]).status({})

    def cut(self, *names: str) -> None:
        """Cuts a wire, and waits until that is noticed."""
        self.network.cut.add(frozenset(names))
        self.run_for(12)

    def heal(self) -> None:
        """Mends all wires, and waits until the nodes are linked."""
        self.network.cut.clear()
        self.run_for(15)

    def test_four(self) -> None:
        """A login on any of four nodes is known on all, and so is its end."""
        self.start_servers(4)
        clients = [self.connect(name, f"user{name}@localhost/x") for name in "abcd"]
        self.run_for(0)
        for name in "abcd":
            self.assertEqual(self.known(name), [f"user{n}@localhost/x" for n in "abcd"])
        clients[2].send("</stream:stream>")
        self.run_for(0)
        for name in "abcd":
            self.assertEqual(self.known(name), [f"user{n}@localhost/x" for n in "abd"])

    def test_netsplit(self) -> None:
        """The sides lose one another's sessions; afterwards the newer of one address stays."""
        self.start_servers(3)
        older = self.connect("a", ROMEO)
        self.connect("b", JULIET)
        self.run_for(0)
        self.cut("a", "b")
        self.cut("a", "c")
        self.assertEqual(self.known("a"), [ROMEO])
        self.assertEqual(self.known("c"), [JULIET])
        newer = self.connect("c", ROMEO)
        self.run_for(0)
        self.heal()
        self.assertIn(b"<conflict", older.output())
        self.assertFalse(newer.transport.closed)
        for name in "abc":
            self.assertEqual(self.known(name), [JULIET, ROMEO])
        registry = self.servers["c"].hosts["localhost"].sessions
        self.assertEqual([s.local for s in registry.of(JID.parse(ROMEO).bare)], [True])

    def test_status(self) -> None:
        """The operator sees whose sessions are known, and what was lost with whom."""
        self.start_servers(2)
        self.connect("a", ROMEO)
        self.connect("a", JULIET)
        self.run_for(0)
        found = self.status("b")
        self.assertEqual(
            found["sessions"], [{"known_by": "b", "node": "a", "sessions": 2, "complete": True}]
        )
        self.cut("a", "b")
        found = self.status("b")
        self.assertEqual(found["sessions"], [])
        (event,) = (e for e in found["lately"] if e["event"] == "sessions lost")
        self.assertEqual((event["peer"], event["how"]), ("a", "2, it was lost"))
        self.heal()

    def test_ready(self) -> None:
        """A node is ready when the nodes that there are have told all, not before."""
        self.start_servers(2)
        self.connect("a", ROMEO)
        self.start_server("c", 2)
        cluster = self.servers["c"].cluster
        assert cluster is not None
        ready = cluster.directory.ready()
        self.assertNoResult(ready)
        self.introduce()
        self.stations["c"].mesh.expect({"a": ("a",), "b": ("b",), "gone": ("nowhere",)})
        self.run_for(2)
        self.successResultOf(ready)
        self.assertEqual(self.known("c"), [ROMEO])


class SupervisorTests(SynchronousTestCase):
    """``mongoosectl session`` on a machine of several workers."""

    def asked(self, sessions: str) -> list[tuple[str, str]]:
        """Which workers are asked what."""
        asked: list[tuple[str, str]] = []

        async def ask(worker: Any, name: str, args: Any) -> Any:
            asked.append((worker.name, name))
            return {"kicked": []} if name == "session kick" else {"localhost": 3}

        workers = [SimpleNamespace(name=f"a.{n}") for n in (1, 2)]
        cluster = SimpleNamespace(sessions=sessions)
        supervisor: Any = SimpleNamespace(
            workers=workers, ask=ask, config=SimpleNamespace(cluster=cluster)
        )
        control = supervisor_control(supervisor)
        for command in ("session kick", "session count"):
            answer = control._run(command, {})
            self.successResultOf(Deferred.fromCoroutine(answer))
        return asked

    def test_one_is_asked(self) -> None:
        """Where each worker knows all sessions, one is asked: nothing is counted twice."""
        self.assertEqual(
            self.asked("shared"), [("a.1", "session kick"), ("a.1", "session count")]
        )
