"""The back end ``redis``: who knows which sessions, and who is told what."""

from typing import Any

from twisted.internet.defer import Deferred

from mongoosetw.cluster.sessions.redis_watching import REFRESH
from mongoosetw.xmpp.jid import JID
from tests.cluster.directories import JULIET, ROMEO, LocalSession
from tests.cluster.redis_directories import RedisCase, RedisDirectories, RedisNode


class KnowledgeTests(RedisCase):
    """What a node knows."""

    def test_not_asked_for(self) -> None:
        """A node knows its own sessions, and of others' nothing that it was not asked for."""
        self.a.open(ROMEO, 1)
        self.settle()
        self.assert_known(self.b)

    def test_asked_for(self) -> None:
        """Who is asked for is known, and followed from then on."""
        romeo = self.a.open(ROMEO, 1)
        self.settle()
        self.ask(self.b, ROMEO)
        self.assert_known(self.b, ROMEO)
        romeo.become(-3, "carbons")
        second = self.a.open("romeo@localhost/second")
        self.settle()
        self.assert_known(self.b, ROMEO, "romeo@localhost/second")
        romeo.close()
        second.become(None)
        self.settle()
        self.assert_known(self.b, "romeo@localhost/second")
        second.close()
        self.settle()
        self.assert_known(self.b)

    def test_gone_a_moment_ago(self) -> None:
        """Who was available and has gone may be seen still: the goodbye may wait for Redis."""
        romeo, hidden = self.a.open(ROMEO, 1), self.a.open("romeo@localhost/hidden")
        self.settle()
        self.ask(self.b, ROMEO)
        self.assertEqual(self.b.directory.lingering(romeo.bare), [])
        romeo.close()
        hidden.close()
        self.settle()
        self.assertEqual(self.b.directory.lingering(romeo.bare), [romeo.jid])

    def test_asked_for_before(self) -> None:
        """Who is asked for without being there is known when there."""
        self.ask(self.b, ROMEO)
        self.a.open(ROMEO, 1)
        self.settle()
        self.assert_known(self.b, ROMEO)

    def test_known(self) -> None:
        """Nobody waits for what is known already, be it that there is nothing."""
        self.ask(self.b, ROMEO, JULIET)
        before = self.redis.commands
        users = [JID.parse(jid).bare for jid in (ROMEO, JULIET)]
        self.assertIsNone(self.b.directory.prepare(users))
        self.assertIsNone(self.b.directory.prepare([JID.parse("romeo@elsewhere")]))
        self.assertEqual(self.redis.commands, before)

    def test_at_the_same_time(self) -> None:
        """Who asks while others do waits with them; Redis is asked once."""
        user = JID.parse(ROMEO).bare
        before = self.redis.commands
        waiting = [self.b.directory.prepare([user]) for _ in range(3)]
        self.assertEqual([type(each) for each in waiting], [Deferred] * 3)
        self.settle()
        for each in waiting:
            self.successResultOf(each)
        self.assertEqual(self.redis.commands - before, 4)

    def test_forgotten(self) -> None:
        """Who is asked for no more is forgotten after a while, and nobody tells any more."""
        romeo = self.a.open(ROMEO, 1)
        self.ask(self.b, ROMEO)
        self.all.run_for(1.5 * REFRESH)
        self.assertIsNone(self.b.directory.prepare([romeo.bare]))
        self.all.run_for(0.9 * REFRESH)
        self.assert_known(self.b, ROMEO)
        self.all.run_for(2 * REFRESH)
        self.assert_known(self.b)
        before = self.all.network.bytes["session"]
        romeo.become(5)
        self.settle()
        self.assertEqual(self.all.network.bytes["session"], before)

    def test_own_user_is_not_forgotten(self) -> None:
        """The user of a session is followed for as long as there is one."""
        self.a.open(ROMEO, 1)
        self.all.run_for(5 * REFRESH)
        self.b.open("romeo@localhost/b", 1)
        self.settle()
        self.assert_known(self.a, ROMEO, "romeo@localhost/b")
        self.assert_known(self.b, ROMEO, "romeo@localhost/b")

    def test_nothing_expires(self) -> None:
        """Sessions that last for hours are found."""
        self.a.open(ROMEO, 1)
        self.all.run_for(5 * 3600)
        self.ask(self.b, ROMEO)
        self.assert_known(self.b, ROMEO)

    def test_told_while_it_is_read(self) -> None:
        """What a node is told while it reads is newer than what it reads."""
        self.redis.latency = 1.0
        romeo = self.a.open(ROMEO, 1)
        second = self.a.open("romeo@localhost/second", 1)
        self.all.run_for(5)
        asked = self.b.directory.prepare([romeo.bare])
        self.all.run_for(0.55)  # Redis has it, the answer is on its way
        self.all.redis.latency = 0
        romeo.close()
        second.become(9)
        self.all.run_for(0.3)
        self.assertNoResult(asked)
        self.all.run_for(2)
        self.successResultOf(asked)
        self.assert_known(self.b, "romeo@localhost/second")


    def no_longer_followed(self) -> LocalSession:
        """A session that b has followed; a does not know yet that it is not to be told any more."""
        romeo = self.a.open(ROMEO, 1)
        self.settle()
        self.ask(self.b, ROMEO)
        romeo.become(2)
        self.settle()
        self.b.directory.detach(self.b.host)
        self.b.serve("localhost")
        self.settle()
        return romeo

    def test_told_late_and_unasked(self) -> None:
        """Who follows a user once more is told how what went on that it had not asked for."""
        romeo = self.no_longer_followed()
        self.all.network.cut("a", "b")
        romeo.become(None)
        self.settle()
        romeo.close()
        self.settle()
        self.ask(self.b, ROMEO)
        self.all.network.heal("a", "b")
        self.settle()
        self.assert_known(self.b)

    def test_told_unasked_no_more(self) -> None:
        """Who does not follow a user is not told of sessions that are new then."""
        self.no_longer_followed().become(3)
        self.settle()
        before = self.all.network.bytes["session"]
        self.a.open("romeo@localhost/second", 1)
        self.settle()
        self.assertEqual(self.all.network.bytes["session"], before)

    def test_told_unasked_until_it_is_seen(self) -> None:
        """Nor of others any more, when it has seen what it was told without having asked."""
        romeo = self.no_longer_followed()
        romeo.become(3)
        self.ask(self.a, JULIET)
        juliet = self.b.open(JULIET, 1)  # b tells that, and what it has seen
        self.settle()
        before = self.all.network.bytes["session"]
        romeo.become(4)
        self.settle()
        self.assertEqual(self.all.network.bytes["session"], before)
        juliet.close()


class ConflictTests(RedisCase):
    """One full JID on two nodes."""

    names = "abc"

    def test_bound_elsewhere(self) -> None:
        """A new session replaces the one on another node, also for a third that follows them."""
        older = self.a.open(ROMEO, 1)
        self.ask(self.c, ROMEO)
        self.ask(self.b, ROMEO)
        newer = self.b.open(ROMEO)
        self.settle()
        self.assertEqual((older.closed, newer.closed), ("conflict", None))
        for node in (self.a, self.b, self.c):
            self.assert_known(node, ROMEO)

    def test_at_the_same_time(self) -> None:
        """Of three that are bound at one moment one stays, on every node the same."""
        made = [node.open(ROMEO, 1) for node in (self.a, self.b, self.c)]
        self.settle()
        newest = max(made, key=lambda session: session.sid)
        self.assertEqual([s.closed for s in made if s is not newest], ["conflict", "conflict"])
        for node in (self.a, self.b, self.c):
            self.assert_known(node, ROMEO)

    def test_netsplit(self) -> None:
        """Both sides of a netsplit have one; afterwards the newer one stays."""
        self.cut()
        older, newer = self.a.open(ROMEO, 1), self.b.open(ROMEO, 1)
        self.settle()
        self.assertIsNone(older.closed)
        self.heal()
        self.assertEqual((older.closed, newer.closed), ("conflict", None))
        self.assert_known(self.a, ROMEO)

    def test_loser_is_known_to_a_third(self) -> None:
        """A node that is linked to both knows the newer; when that one is lost, the older."""
        self.ask(self.c, ROMEO)
        self.ask(self.a, JULIET)
        self.cut()
        older, newer = self.a.open(ROMEO, 1), self.b.open(ROMEO, 1)
        self.c.open(JULIET, 1)
        self.settle()
        there: Any = self.c.host.sessions.get(newer.jid)
        self.assertEqual(there.sid, newer.sid)
        self.c.found.clear()
        self.all.kill("b")
        self.settle()
        there = self.c.host.sessions.get(newer.jid)
        self.assertEqual(there.sid, older.sid)
        self.assertEqual(self.c.found, [([ROMEO], [JULIET])])
        self.assertEqual(self.a.found[-1], ([JULIET], [ROMEO]))

    def test_limit(self) -> None:
        """The oldest of too many sessions is closed on whatever node it is."""
        for node in self.all.nodes.values():
            node.most = 2
        first = self.a.open("romeo@localhost/1")
        self.ask(self.b, ROMEO)
        self.b.open("romeo@localhost/2")
        self.settle()
        self.b.open("romeo@localhost/3")
        self.settle()
        self.assertEqual(first.closed, "conflict")
        self.assert_known(self.a, "romeo@localhost/2", "romeo@localhost/3")


class LossTests(RedisCase):
    """Nodes and links that are gone."""

    names = "abc"

    def test_all_are_told(self) -> None:
        """All sessions of a lost node are reported lost, also those that are not followed."""
        self.a.open(ROMEO, 1)
        self.a.open(JULIET, 1)
        self.ask(self.b, ROMEO)
        self.all.kill("a")
        self.settle()
        self.assertEqual(self.b.lost, [([ROMEO], "a", False), ([JULIET], "a", False)])
        self.assertEqual(self.c.lost, [([JULIET, ROMEO], "a", False)])
        self.assert_known(self.b)

    def test_dead(self) -> None:
        """What a dead node has left is removed from Redis, by one of the others."""
        self.a.open(ROMEO, 1)
        self.b.open(JULIET, 1)
        self.settle()
        self.all.kill("a")
        self.all.run_for(120)
        left = [key for key in self.redis.data if b"romeo" in key or b"{a}" in key]
        self.assertEqual([k for k in left if b":w:" not in k], [])
        self.ask(self.c, ROMEO, JULIET)
        self.assert_known(self.c, JULIET)

    def test_again(self) -> None:
        """A process of the same name has none of the old sessions, for nobody."""
        self.a.open(ROMEO, 1)
        self.ask(self.b, ROMEO)
        self.all.kill("a")
        self.a = self.all.start("a")
        self.a.open(JULIET, 1)
        self.ask(self.c, ROMEO, JULIET)
        self.all.run_for(10)
        self.assert_known(self.c, JULIET)
        self.assert_known(self.b)

    def test_netsplit(self) -> None:
        """What has happened meanwhile is known afterwards, and who was there is found."""
        romeo, juliet = self.a.open(ROMEO, 1), self.b.open(JULIET, 1)
        self.ask(self.a, JULIET)
        self.ask(self.b, ROMEO, "nurse@localhost/n")
        self.cut()
        self.assert_known(self.a, ROMEO)
        self.assert_known(self.b, JULIET)
        self.assertEqual(self.a.lost, [([JULIET], "b", False)])
        romeo.close()
        juliet.become(3)
        self.a.open("nurse@localhost/n", 1)
        self.settle()
        self.a.found.clear()
        self.heal()
        self.assert_known(self.a, JULIET, "nurse@localhost/n")
        self.assert_known(self.b, JULIET, "nurse@localhost/n")
        self.assertEqual(self.a.found, [([JULIET], ["nurse@localhost/n"])])

    def test_found_unfollowed(self) -> None:
        """Sessions that were reported lost are found again, followed or not."""
        self.a.open(ROMEO, 1)
        self.b.open(JULIET, 1)
        self.settle()
        self.cut()
        self.heal()
        self.assertEqual(self.b.lost, [([ROMEO], "a", False)])
        self.assertEqual(self.b.found, [([ROMEO], [JULIET])])
        self.assert_known(self.b, JULIET)

    def test_full_queue(self) -> None:
        """A node for which there was no room learns what it has missed."""
        romeo = self.a.open(ROMEO, 1)
        self.ask(self.b, ROMEO)
        size, self.all.network.queue_size = self.all.network.queue_size, 10
        self.a.open("romeo@localhost/second")
        romeo.close()
        self.settle()
        self.all.network.queue_size = size
        self.assert_known_at_last()

    def assert_known_at_last(self) -> None:
        """The second session is known after a while."""
        self.all.run_for(30)
        self.assert_known(self.b, "romeo@localhost/second")


class FoundTests(RedisCase):
    """Who could not be told of whom."""

    def setUp(self) -> None:
        """Both follow both."""
        super().setUp()
        self.redis.latency = 0.02
        for node in (self.a, self.b):
            self.ask(node, ROMEO, JULIET)

    def test_one_after_the_other(self) -> None:
        """Who is known when somebody becomes available is told by that one's node: no hook."""
        self.check_told()

    def test_at_the_same_time(self) -> None:
        """Two that become available at the same time are told of one another."""
        for pause in (0.0, 0.005, 0.015, 0.03):
            romeo = self.a.open(ROMEO, 1)
            self.all.run_for(pause)
            known = JID.parse(ROMEO) in {s.jid for s in self.b.host.sessions}
            juliet = self.b.open(JULIET, 1)
            self.settle()
            wanted = [] if known else [([JULIET], [ROMEO])]
            self.assertEqual(self.a.found, wanted, pause)
            self.assertEqual(bool(self.b.found), not known, pause)
            romeo.close()
            juliet.close()
            self.settle()
            self.a.found.clear()
            self.b.found.clear()

    def test_read_or_told(self) -> None:
        """Of two nodes that write down a session and then ask for the other's, one finds it."""
        for pause in (0.0, 0.005, 0.01, 0.015, 0.03):
            case = RedisDirectories(latency=0.02)
            a, b = case.start("a"), case.start("b")
            case.run_for(1)
            seen: list[str] = []

            def log_in(node: RedisNode, jid: str, other: str, seen: list[str] = seen) -> None:
                node.open(jid, 1)
                asked: Any = node.directory.prepare([JID.parse(other).bare])
                asked.addCallback(lambda _: seen.extend(n for n in node.known() if n == other))

            log_in(a, ROMEO, JULIET)
            case.run_for(pause)
            log_in(b, JULIET, ROMEO)
            case.run_for(1)
            self.assertTrue(seen, pause)


class StartTests(RedisCase):
    """When a node takes clients."""

    def test_ready(self) -> None:
        """At once when Redis and the other nodes are there."""
        late = self.all.start("c")
        ready = late.directory.ready()
        self.assertNoResult(ready)
        self.settle()
        self.successResultOf(ready)

    def test_without_redis(self) -> None:
        """After some seconds when Redis is not there."""
        self.redis.stop()
        late = self.all.start("c")
        ready = late.directory.ready()
        self.all.run_for(4)
        self.assertNoResult(ready)
        self.all.run_for(2)
        self.successResultOf(ready)
        self.assertEqual(late.directory.describe(), [
            {"node": "a", "sessions": 0, "complete": True},
            {"node": "b", "sessions": 0, "complete": True},
        ])  # fmt: skip

    def test_domain_served_no_longer(self) -> None:
        """Its users are forgotten, and can be asked for when it is served again."""
        self.a.open(ROMEO, 1)
        self.ask(self.b, ROMEO)
        self.b.directory.detach(self.b.hosts["localhost"])
        self.assert_known(self.b)
        self.b.serve("localhost")
        self.ask(self.b, ROMEO)
        self.assert_known(self.b, ROMEO)
