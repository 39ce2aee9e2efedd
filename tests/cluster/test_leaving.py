"""Nodes that are drained or stopped, and the sessions that have to leave them."""

from collections import Counter
from unittest.mock import patch

from twisted.internet.defer import Deferred

from mongoosetw.messagelog import MessageLog
from tests.cluster.moves import JULIET, MovesTestCase


class DrainTests(MovesTestCase):
    """A node whose clients have to go."""

    def drained(self, node: str) -> None:
        """Drains a node, and ends it."""
        left = self.cluster.leave(node)
        self.run_for(10)
        self.successResultOf(left)

    def test_fetched(self) -> None:
        """A client that is sent away resumes elsewhere, and nobody notices."""
        left = self.cluster.leave("b")
        self.run_for(0.2)
        self.assertIn(b"<system-shutdown", self.juliet.output())
        self.say("1")
        self.run_for(0.2)
        again = self.resume(self.juliet, "c")
        self.assertEqual(self.heard(again), ["1"])
        self.run_for(5)
        self.successResultOf(left)
        self.say("2")
        self.assertEqual(self.heard(again), ["2"])
        self.romeo.nothing()

    def test_last_count(self) -> None:
        """The client hears what was handled before it is sent away."""
        self.juliet.send("<presence/>")
        self.drained("b")
        self.assertIn(b" h='2'/><stream:error><system-shutdown", self.juliet.output())

    def test_given_away(self) -> None:
        """A client that comes back when its node is gone finds its session."""
        self.drained("b")
        self.say("1")
        self.run_for(0.2)
        for node in "ac":
            self.assertEqual(self.host(node).sessions.count(), 2)
        again = self.resume(self.juliet, "c")
        self.assertEqual(self.heard(again), ["1"])
        self.romeo.nothing()

    def test_given_away_while_its_client_comes(self) -> None:
        """A client that asks for its session just when that is given away gets it."""
        left = self.cluster.leave("b")
        node = None
        while node is None:
            self.run_for(0.01)
            node = next((n for n in "ac" if self.session(n) is not None), None)
        again = self.resume(self.juliet, "c" if node == "a" else "a")
        self.say("1")
        self.assertEqual(self.heard(again), ["1"])
        self.run_for(10)
        self.successResultOf(left)

    def test_without_resumption(self) -> None:
        """A session that cannot be resumed ends, and contacts see it leave."""
        nurse = self.connect("nurse@localhost/house", "b")
        self.befriend(self.romeo, nurse)
        nurse.send("<presence/>")
        self.run_for(0.1)
        self.forget(self.romeo)
        self.drained("b")
        self.assertIn(b"<system-shutdown", nurse.output())
        self.romeo.receives("<presence type='unavailable' from='nurse@localhost/house'/>")
        self.romeo.nothing()

    def test_evenly(self) -> None:
        """Fifty sessions go to both of the others, each client finds its own, with its messages."""
        clients = []
        for number in range(50):
            client = self.connect(f"juliet@localhost/r{number}", "b")
            client.enable_sm()
            clients.append(client)
        self.drained("b")
        for number, client in enumerate(clients):
            self.say(str(number), to=str(client.jid))
        self.run_for(1)
        counts = Counter(self.host(n).sessions.local_count for n in "ac")
        self.assertEqual(sum(k * v for k, v in counts.items()), 52)
        self.assertLessEqual(max(counts) - min(counts), 5)
        for number, client in enumerate(clients):
            again = self.resume(client, "ac"[number % 2])
            self.assertEqual(self.heard(again), [str(number)])

    def test_nobody_takes_them(self) -> None:
        """If all others go, too, sessions end with the last node, and messages wait."""
        self.say("1")
        self.run_for(0.1)
        lefts = [self.cluster.leave(node) for node in "bc"]
        self.run_for(30)
        for left in lefts:
            self.successResultOf(left)
        self.assertIsNotNone(self.session("a"))
        self.leave_alone("a")
        self.start("a")
        later = self.connect("juliet@localhost/later", "a")
        later.send("<presence/>")
        self.assertEqual(self.heard(later), ["1"])

    def leave_alone(self, node: str) -> None:
        """Has the last node end."""
        left = self.cluster.leave(node)
        self.run_for(30)
        self.successResultOf(left)

    def test_asleep_before(self) -> None:
        """A session that waits for its client already goes along; its time goes on."""
        self.juliet.lose()
        self.run_for(300)
        self.drained("b")
        self.run_for(280)
        self.romeo.nothing()
        self.run_for(30)
        self.romeo.receives(f"<presence type='unavailable' from='{JULIET}'/>")

    def test_database_away(self) -> None:
        """A node whose database is away ends nevertheless, in time."""

        async def wait(log: MessageLog, entries: object) -> None:
            await Deferred[None]()

        self.say("1")
        self.run_for(0.1)
        with patch.object(MessageLog, "part_with", wait):
            left = self.cluster.leave("b")
            self.run_for(200)
        self.successResultOf(left)
        self.romeo.receives(f"<presence type='unavailable' from='{JULIET}'/>")
        later = self.connect("juliet@localhost/later", "a")
        later.send("<presence/>")
        self.assertEqual(self.heard(later), ["1"])

    def test_killed_by_a_signal(self) -> None:
        """A node that is stopped without being drained gives its sessions away as well."""
        node = self.cluster.nodes.pop("b")
        stopped = Deferred.fromCoroutine(node.server.shut_down())
        self.run_for(10)
        self.successResultOf(stopped)
        self.say("1")
        self.assertEqual(self.heard(self.resume(self.juliet, "a")), ["1"])
        self.romeo.nothing()


class ElsewhereTests(MovesTestCase):
    """Clients that are told where to go."""

    extra = "[cluster]\nsee_other_host = 'a.example.org:5222'"

    def test_see_other_host(self) -> None:
        """They hear what was handled, and find their session there."""
        left = self.cluster.leave("b")
        self.run_for(0.2)
        output = self.juliet.output()
        self.assertIn(b" h='1'/><stream:error><see-other-host", output)
        self.say("1")
        self.assertEqual(self.heard(self.resume(self.juliet, "a")), ["1"])
        self.run_for(5)
        self.successResultOf(left)
