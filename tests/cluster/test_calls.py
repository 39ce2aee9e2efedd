"""Questions to other nodes: answers, refusals, and what comes instead of them."""

from twisted.internet.defer import CancelledError, Deferred

from mongoosetw.cluster.mesh import Node
from mongoosetw.cluster.sessions.calls import CallFailed, Calls
from mongoosetw.xmpp.errors import BackendUnavailable, StanzaError
from tests.cluster.memory import member
from tests.cluster.test_links import MeshCase


class CallsTests(MeshCase):
    """Node a asks node b."""

    def setUp(self) -> None:
        """Starts two nodes."""
        super().setUp()
        a, b = self.start(2, reconnect_delay_max=1.0, peer_timeout=4.0)
        self.a, self.b = Calls(a.mesh, self.clock), Calls(b.mesh, self.clock)
        self.waiting: list[Deferred[bytes]] = []
        self.b.serve("echo", lambda node, payload: node.name.encode() + b" says " + payload)
        self.b.serve("refuse", self.refuse)
        self.b.serve("wait", self.wait)
        self.run_for(2)

    def refuse(self, node: Node, payload: bytes) -> bytes:
        """Answers with an error."""
        if payload == b"database":
            raise BackendUnavailable
        raise StanzaError("item-not-found")

    def wait(self, node: Node, payload: bytes) -> Deferred[bytes]:
        """Answers later."""
        self.waiting.append(Deferred())
        return self.waiting[-1]

    def assert_failed(self, asked: Deferred[bytes], reason: str) -> None:
        """Asserts that a question has failed, and why."""
        self.assertEqual(self.failureResultOf(asked, CallFailed).value.reason, reason)

    def test_answer(self) -> None:
        """The answer of the other node, which knows who has asked; any bytes are carried."""
        asked = self.a.call("b", "echo", bytes(range(256)), 5.0)
        self.run_for(0)
        self.assertEqual(self.successResultOf(asked), b"a says " + bytes(range(256)))

    def test_answers_in_any_order(self) -> None:
        """Answers that come later, in another order, find their questions."""
        first, second = (self.a.call("b", "wait", b"", 5.0) for _ in range(2))
        self.run_for(0)
        self.waiting[1].callback(b"second")
        self.waiting[0].callback(b"first")
        self.run_for(0)
        self.assertEqual(self.successResultOf(first), b"first")
        self.assertEqual(self.successResultOf(second), b"second")

    def test_error(self) -> None:
        """The condition of the error that the other node has raised."""
        refused, broken = (self.a.call("b", "refuse", p, 5.0) for p in (b"", b"database"))
        self.run_for(0)
        self.assert_failed(refused, "item-not-found")
        self.assert_failed(broken, "internal-server-error")

    def test_unknown_name(self) -> None:
        """What the other node does not serve, since it is older, is refused at once."""
        asked = self.a.call("b", "teleport", b"", 5.0)
        self.run_for(0)
        self.assert_failed(asked, "feature-not-implemented")

    def test_timeout(self) -> None:
        """No answer in time; one that comes afterwards does nothing."""
        asked = self.a.call("b", "wait", b"", 1.0)
        self.run_for(1.1)
        self.assert_failed(asked, "timeout")
        self.assert_ignored()

    def assert_ignored(self) -> None:
        """An answer that nobody waits for any more does nothing; others find their questions."""
        again = self.a.call("b", "wait", b"", 5.0)
        self.run_for(0)
        with self.assertNoLogs("mongoosetw.cluster", "ERROR"):
            self.waiting[0].callback(b"late")
            self.run_for(0)
        self.assertNoResult(again)
        self.waiting[-1].callback(b"in time")
        self.run_for(0)
        self.assertEqual(self.successResultOf(again), b"in time")

    def test_no_link(self) -> None:
        """A node that is not linked cannot be asked."""
        self.assert_failed(self.a.call("c", "echo", b"", 5.0), "no-link")

    def test_link_lost(self) -> None:
        """A link that is lost fails what waits for an answer, without waiting for the timeout."""
        asked = self.a.call("b", "wait", b"", 60.0)
        self.run_for(0)
        self.network.cut.add(frozenset("ab"))
        self.run_for(6)
        self.assert_failed(asked, "link-lost")

    def test_link_lost_and_cancelled(self) -> None:
        """Who gives up one question because another one has failed disturbs nobody else."""
        first, second, third = (self.a.call("b", "wait", b"", 60.0) for _ in range(3))
        first.addErrback(lambda _: second.cancel())
        self.run_for(0)
        self.network.cut.add(frozenset("ab"))
        self.run_for(6)
        self.failureResultOf(second, CancelledError)
        self.assert_failed(third, "link-lost")

    def test_answer_to_an_earlier_process(self) -> None:
        """What a process has asked is not answered to the next one of its name."""
        asked = self.a.call("b", "wait", b"", 60.0)
        self.run_for(0)
        self.network.crash("a")
        self.stations["a"].mesh.stop("crashed")
        self.run_for(1)
        self.assert_failed(asked, "link-lost")
        again = Calls(self.add(member("a", 0, 2)).mesh, self.clock)
        self.introduce()
        self.run_for(5)
        asked = again.call("b", "wait", b"", 60.0)
        self.run_for(0)
        self.waiting[0].callback(b"for the first")
        self.run_for(0)
        self.assertNoResult(asked)
        self.waiting[1].callback(b"for the second")
        self.run_for(0)
        self.assertEqual(self.successResultOf(asked), b"for the second")

    def test_handler_that_breaks(self) -> None:
        """A fault of the other node is its own: logged there, and the time runs out here."""
        asked = self.a.call("b", "wait", b"", 1.0)
        self.run_for(0)
        with self.assertLogs("mongoosetw.cluster.sessions.calls", "ERROR"):
            self.waiting[0].errback(ZeroDivisionError())
        self.run_for(1.1)
        self.assert_failed(asked, "timeout")

    def test_cancelled(self) -> None:
        """Who does not wait any longer leaves nothing behind."""
        first, asked = (self.a.call("b", "wait", b"", 60.0) for _ in range(2))
        self.run_for(0)
        asked.cancel()
        self.failureResultOf(asked)
        self.waiting.reverse()
        self.assert_ignored()
        self.waiting[1].callback(b"first")
        self.run_for(0)
        self.assertEqual(self.successResultOf(first), b"first")

    def test_withdrawn(self) -> None:
        """What a node does not serve any more is refused."""
        self.b.withdraw("echo")
        asked = self.a.call("b", "echo", b"", 5.0)
        self.run_for(0)
        self.assert_failed(asked, "feature-not-implemented")

    def test_name_taken(self) -> None:
        """One name is served once."""
        self.assertRaises(ValueError, self.b.serve, "echo", lambda node, payload: payload)
