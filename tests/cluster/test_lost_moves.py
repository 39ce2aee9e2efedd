"""Nodes that die, and links that break, while a session moves."""

from typing import Any

from twisted.internet.defer import Deferred

from mongoosetw.testing.client import Client
from mongoosetw.xmpp import ns
from mongoosetw.xmpp.stanza import Stanza
from tests.cluster.moves import JULIET, RESUME, STEP, MovesTestCase, SlowMovesTestCase


class LostMoves(SlowMovesTestCase):
    """A node dies."""

    def lose(self, node: str, step: int, *, power: bool) -> None:
        """A node dies some time after the move has begun."""
        client = self.begin()
        self.talk_for(step)
        self.kill(node, power=power)
        self.talk_for(5)
        self.run_for(5)
        self.juliet = client if client.nonzas and node != "c" else self.juliet
        client.pump()
        resumed = any(nonza.name[1] == "resumed" for nonza in client.nonzas)
        if not (resumed and node == "b"):
            client = self.come_back(self.juliet.resume_id, "a" + ("c" if node == "b" else "b"))
        self.check_heard(client)
        self.check_alone()


def _add(node: str, step: int, power: bool) -> None:
    def test(self: LostMoves) -> None:
        self.lose(node, step, power=power)

    how = "power" if power else "process"
    test.__doc__ = f"Node {node} loses its {how} {step * STEP * 1000:.0f} ms after the beginning."
    setattr(LostMovesTests, f"test_{node}_{how}_{step}", test)


class LostMovesTests(LostMoves):
    """At every moment."""


for _step in range(0, 16, 2):
    for _node in "bc":
        _add(_node, _step, bool(_step % 4))


class CutTests(SlowMovesTestCase):
    """The link between the two breaks."""

    def cut_at(self, step: int) -> None:
        """For longer than they wait."""
        client = self.begin()
        self.talk_for(step)
        self.cut("b", "c")
        self.talk_for(5)
        self.run_for(20)
        self.heal()
        self.run_for(20)
        client.pump()
        resumed = any(nonza.name[1] == "resumed" for nonza in client.nonzas)
        if not resumed or client.transport.closed:
            client = self.come_back(self.juliet.resume_id, "abc")
        self.check_heard(client)
        self.check_alone()
        self.check_presence()

    def test_question(self) -> None:
        """The question does not arrive."""
        self.cut_at(1)

    def test_answer(self) -> None:
        """The session does not arrive."""
        self.cut_at(4)

    def test_news(self) -> None:
        """The old node does not hear of the new session."""
        self.cut_at(6)


class GoneTests(SlowMovesTestCase):
    """Clients that do not wait."""

    def test_client_has_gone(self) -> None:
        """A client that is lost while its session moves finds it at the new node."""
        client = self.begin()
        self.talk_for(3)
        client.lose()
        self.talk_for(5)
        self.run_for(1)
        self.assertIsNotNone(self.session("c"))
        self.check_heard(self.come_back(self.juliet.resume_id, "a"))
        self.check_alone()
        self.check_presence()

    def test_two_nodes_at_once(self) -> None:
        """Of two connections that resume the same session on two nodes one has it in the end."""
        clients = [self.begin()]
        other = self.connect(JULIET, "a", bind=False)
        other.send(RESUME.format(self.juliet.resume_id, 0))
        clients.append(other)
        self.talk_for(10)
        self.run_for(20)
        self.check_alone()
        self.check_presence()
        alive = [client for client in clients if not client.transport.closed]
        self.assertEqual(len(alive), 1)
        self.check_heard(alive[0])


class PutBackTests(MovesTestCase):
    """The new node takes the session, and the old one hears of that too late."""

    def setUp(self) -> None:
        """Juliet's client comes to c, whose link to b becomes slow then."""
        super().setUp()
        self.stranger = self.connect("benvolio@localhost/walk", "a")
        self.other = self.connect("romeo@localhost/street", "b")
        for client in (self.stranger, self.other):
            client.send("<presence/>")
        self.juliet.send(f"<presence to='{self.stranger.jid}'/>")
        self.run_for(1)
        self.juliet.ack()
        self.forget(self.juliet, self.stranger)
        self.juliet.lose()
        calls = self.servers["c"].cluster.calls
        ask = calls.call

        def ask_and_become_slow(*question: Any) -> Any:
            return ask(*question).addCallback(self.become_slow)

        self.patch(calls, "call", ask_and_become_slow)
        self.again = self.connect(JULIET, "c", bind=False)
        self.again.handled = self.juliet.handled
        self.again.send(RESUME.format(self.juliet.resume_id, self.juliet.handled))

    def become_slow(self, answer: bytes) -> bytes:
        """What c tells b takes longer than b waits for it."""
        self.cluster.network.wire("c", "b").slower = 6.0
        return answer

    def push(self, number: str) -> None:
        """The old node has something for the session alone."""
        session = self.host("b").sessions.get(self.juliet.jid)
        assert session is not None
        session.send(Stanza.make("iq", to=self.juliet.jid, type="set", id=number))

    def test_what_came_meanwhile(self) -> None:
        """What the old node has kept, and has given to its session, goes on to the client."""
        self.again.take_nonza("resumed")
        self.push("1")
        self.run_for(5.5)
        self.assertIsNotNone(self.session("b"))
        self.push("2")
        self.run_for(1)
        self.assertEqual([s.id for s in self.again.received if s.kind == "iq"], ["1", "2"])

    def test_presence(self) -> None:
        """So does presence, and nobody sees the client leave."""
        self.run_for(1)
        self.other.send("<presence><status>away</status></presence>")
        self.run_for(10)
        seen = [s for s in self.again.received if s.from_ == self.other.jid]
        self.assertEqual(seen[-1].child_text(ns.CLIENT, "status"), "away")
        for client in (self.romeo, self.stranger):
            client.pump()
            self.assertEqual([s for s in client.received if s.type == "unavailable"], [])

    def test_messages(self) -> None:
        """So do messages, each under one id."""
        self.say("kept", by=self.other)
        self.run_for(5.5)
        self.say("given back", by=self.other)
        self.run_for(20)
        self.assertEqual(self.heard(self.again), ["kept", "given back"])
        self.again.ack()
        self.assertEqual(self.waiting(), 0)


class RedisPutBackTests(PutBackTests):
    """The same with sessions in Redis."""

    general = "sm_backend = 'redis'"


class SecondMoveTests(MovesTestCase):
    """A session that was put back moves once more."""

    latency = (0.05, 0.05)

    def lose_answer(self, *question: Any) -> "Deferred[bytes]":
        """The node that is asked answers, and that never arrives."""
        self.ask(*question)
        return Deferred()

    def come_to_c(self) -> Client:
        """Juliet's client comes to c."""
        client = self.connect(JULIET, "c", bind=False)
        client.send(RESUME.format(self.juliet.resume_id, self.juliet.handled))
        return client

    def test_what_comes_meanwhile(self) -> None:
        """What its old node keeps for it goes on as soon as that hears of the new place."""
        self.juliet.lose()
        calls = self.servers["c"].cluster.calls
        self.ask = calls.call
        change = self.patch(calls, "call", self.lose_answer)
        self.come_to_c().lose()
        self.run_for(6)
        self.assertIsNotNone(self.session("b"))
        change.restore()
        again = self.come_to_c()
        self.run_for(0.08)
        self.assertIsNone(self.session("b"))
        session = self.host("b").sessions.get(self.juliet.jid)
        assert session is not None
        session.send(Stanza.make("iq", to=self.juliet.jid, type="set", id="1"))
        self.run_for(0.5)
        self.assertEqual([s.id for s in again.received if s.kind == "iq"], ["1"])


class NewcomerTests(SlowMovesTestCase):
    """A client comes online at the node to which a contact's session moves."""

    def test_old_node_dies(self) -> None:
        """It sees the contact, though the node dies that it was to be shown by."""
        tablet = self.connect("romeo@localhost/tablet", "c")
        self.run_for(1)
        again = self.begin()
        self.talk_for(1)
        tablet.send("<presence/>")
        self.talk_for(8)
        self.kill("b", power=True)
        self.run_for(20)
        again.take_nonza("resumed")
        self.assertEqual([s.type for s in tablet.received if s.from_ == again.jid], [""])


class LostMeanwhileTests(MovesTestCase):
    """A contact comes online, and is lost, while a session is about to move."""

    def test_session_stays(self) -> None:
        """A client whose session stays after all sees the contact go as the last."""
        self.juliet.lose()
        self.cut("b", "c", one_way=True)
        client = self.connect(JULIET, "c", bind=False)
        client.send(RESUME.format(self.juliet.resume_id, self.juliet.handled))
        tablet = self.connect("romeo@localhost/tablet", "c")
        tablet.send("<presence/>")
        self.run_for(1)
        self.kill("c")
        self.run_for(1)
        again = self.resume(self.juliet, "b")
        self.run_for(1)
        seen = [s.type for s in again.received if s.from_ == tablet.jid]
        self.assertEqual(seen[-1:], ["unavailable"])


class SuccessorTests(SlowMovesTestCase):
    """A node dies to which a session has moved just before."""

    def test_what_came_by_the_old_node(self) -> None:
        """What came to a session's old place, and went with the new one, arrives all the same."""
        client = self.begin()
        self.talk_for(8)
        self.run_for(0.3)
        client.pump()
        self.assertIn("resumed", [nonza.name[1] for nonza in client.nonzas])
        self.kill("c")
        again = self.connect(JULIET, "b")
        self.run_for(1)
        again.enable_sm()
        again.send("<presence/>")
        self.run_for(12)
        self.check_heard(again)
