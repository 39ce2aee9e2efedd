"""Which sessions the nodes know of one another, and who is told what."""

from typing import Any

from mongoosetw.cluster.sessions import feed
from mongoosetw.cluster.sessions.replicated import ACKNOWLEDGE
from mongoosetw.xmpp.jid import JID
from tests.cluster.directories import JULIET, ROMEO, DirectoryCase, DirectoryNode


class ChangeTests(DirectoryCase):
    """What happens on one node is known on the others."""

    names = "abc"

    def test_open_change_close(self) -> None:
        """A session, its priority and flags, and its end."""
        romeo = self.a.open(ROMEO)
        self.settle()
        self.assert_agreed(ROMEO)
        there: Any = self.b.host.sessions.get(JID.parse(ROMEO))
        self.assertEqual((there.local, there.node, there.available), (False, "a", False))
        self.assertEqual(there.opened_at, romeo.sid // 256 / 1e6)
        for priority, flags in ((0, ()), (-5, ("carbons",)), (127, ("carbons", "sm")), (None, ())):
            romeo.become(priority, *flags)
            self.settle()
            self.assertEqual((there.priority, there.flags), (priority, frozenset(flags)))
            self.assertEqual(there.available, priority is not None)
        romeo.close()
        self.settle()
        self.assert_agreed()

    def test_together(self) -> None:
        """What happens in one turn is told as one: few payloads, and all that was told is known."""
        before = self.all.network.payloads["session"]
        jids = [f"user{n}@localhost/r" for n in range(100)]
        sessions = [self.a.open(jid, 1) for jid in jids]
        sessions[0].close()
        sessions[1].become(5, "carbons")
        self.settle()
        self.assert_agreed(*jids[1:])
        there: Any = self.b.host.sessions.get(JID.parse(jids[1]))
        self.assertEqual((there.priority, there.flags), (5, frozenset({"carbons"})))
        told = self.all.network.payloads["session"] - before
        self.assertLess(told, 10 * (len(self.names) - 1))

    def test_count(self) -> None:
        """All sessions are counted, and those of the node for itself."""
        self.a.open(ROMEO)
        self.a.open("romeo@localhost/b")
        self.b.open(JULIET)
        self.settle()
        registry = self.c.host.sessions
        self.assertEqual((registry.count(), registry.accounts()), (3, 2))
        self.assertEqual((registry.local_count, list(registry.local())), (0, []))
        found = registry.of(JID.parse("romeo@localhost"))
        self.assertEqual([session.jid.resource for session in found], ["a", "b"])

    def test_who_comes_later(self) -> None:
        """A node that joins learns all sessions, though they come in many portions."""
        jids = [f"user{n}@localhost/r" for n in range(10 * feed.PORTION + 3)]
        sessions = [self.a.open(jid, 1) for jid in jids]
        self.settle()
        late = self.all.start("d")
        self.all.run_for(0.01)
        ready = late.directory.ready()
        self.all.run_for(0.05)
        self.assertNoResult(ready)
        self.assertLess(len(late.known()), len(jids))
        # Meanwhile sessions change that were told already, and others that were not.
        for session in (sessions[0], sessions[-1]):
            session.become(7, "carbons")
        for session in (sessions[1], sessions[-2]):
            session.close()
        self.a.open(ROMEO)
        self.all.run_for(2)
        self.successResultOf(ready)
        left = {*jids, ROMEO} - {jids[1], jids[-2]}
        self.assert_agreed(*left)
        self.assertEqual(late.known()[jids[-1]][1:3], (7, frozenset({"carbons"})))

    def test_portions_wait_for_the_receiver(self) -> None:
        """Who reads slowly has no more than some portions on the way to it."""
        for n in range(20 * feed.PORTION):
            self.a.open(f"user{n}@localhost/r")
        self.settle()
        self.all.network.latency = (1.0, 1.0)
        before = self.all.network.bytes["session"]
        self.all.start("d")
        self.all.run_for(3.9)
        one = 60 * feed.PORTION
        self.assertLess(self.all.network.bytes["session"] - before, 3 * (feed.AHEAD + 1) * one)
        self.all.run_for(30)
        self.assertEqual(len(self.all.nodes["d"].known()), 20 * feed.PORTION)

    def test_numbers_are_forgotten(self) -> None:
        """Nodes that only listen say how much they have heard: nothing piles up."""
        romeo = self.a.open(ROMEO)
        for _ in range(3 * ACKNOWLEDGE):
            romeo.become(1)
            romeo.become(None)
            self.settle()
        romeo.become(1)
        self.settle()
        peer = self.a.directory._peers["b"]
        self.assertLessEqual(peer.feed.number - peer.feed._acknowledged, ACKNOWLEDGE)


class LossTests(DirectoryCase):
    """A node is gone."""

    names = "abc"

    def test_all_go_in_one_step(self) -> None:
        """When handlers hear of one lost session, all of that node are gone; they hear it once."""
        self.a.open(ROMEO, 1)
        self.a.open(JULIET)
        self.b.open("nurse@localhost/c", 1)
        self.settle()
        seen: list[int] = []
        self.c.fired = lambda event: seen.append(self.c.host.sessions.count())  # type: ignore[method-assign]
        self.all.kill("a")
        self.settle()
        self.assertEqual(seen, [1])
        self.assertEqual(self.b.lost, [([JULIET, ROMEO], "a", False)])
        self.assertEqual(self.b.notes, [("sessions lost", "a", "2, it was lost")])
        self.assert_agreed("nurse@localhost/c")

    def test_just_replaced(self) -> None:
        """What has ended for a newer session, which is not known here, goes with its node, too."""
        self.a.open(ROMEO, 1)
        self.settle()
        self.cut("b", "c")
        self.c.open(ROMEO)
        self.all.run_for(0.01)
        self.assertEqual(self.b.known()[ROMEO][1], None)
        self.all.kill("a")
        self.all.run_for(0.01)
        self.assertEqual(self.b.known(), {})

    def test_left(self) -> None:
        """Handlers can tell a node that said goodbye."""
        self.a.open(ROMEO, 1)
        self.settle()
        self.a.mesh.stop()
        self.settle()
        self.assertEqual(self.b.lost, [([ROMEO], "a", True)])

    def test_nothing_lost(self) -> None:
        """A node without sessions is missed by nobody."""
        self.all.kill("a")
        self.settle()
        self.assertEqual((self.b.lost, self.b.notes), ([], []))

    def test_again(self) -> None:
        """A process of the same name has none of the old sessions."""
        self.a.open(ROMEO, 1)
        self.settle()
        self.all.kill("a")
        self.a = self.all.start("a")
        self.a.open(JULIET)
        self.all.run_for(10)
        self.assert_agreed(JULIET)

    def test_netsplit(self) -> None:
        """Both sides lose the other's sessions, and find what there is afterwards."""
        romeo, juliet = self.a.open(ROMEO, 1), self.b.open(JULIET, 1)
        self.settle()
        self.cut()
        self.assertEqual(list(self.a.known()), [ROMEO])
        self.assertEqual(sorted(self.c.known()), [JULIET, ROMEO])
        romeo.close()
        juliet.become(3)
        self.heal()
        self.assert_agreed(JULIET)
        self.assertEqual(self.a.lost, [([JULIET], "b", False)])


class FoundTests(DirectoryCase):
    """Who could not be told of whom."""

    def test_one_after_the_other(self) -> None:
        """Who is known when somebody becomes available is told by that one's node: no hook."""
        self.check_told()

    def test_at_the_same_time(self) -> None:
        """Two that become available at the same time are told of one another, each once."""
        old = [self.a.open("old@localhost/a", 1), self.b.open("old@localhost/b", 1)]
        self.settle()
        self.a.found.clear()
        self.b.found.clear()
        self.a.open(ROMEO, 1)
        self.b.open(JULIET, 1)
        self.a.open("mercutio@localhost/x")
        self.settle()
        old[0].become(2)
        self.settle()
        self.assertEqual(self.a.found, [([JULIET], [ROMEO])])
        self.assertEqual(self.b.found, [([ROMEO], [JULIET])])

    def test_gone_again(self) -> None:
        """Who has gone unavailable before the other was heard of has missed nothing."""
        romeo, juliet = self.a.open(ROMEO, 1), self.b.open(JULIET, 1)
        romeo.become(None)
        juliet.close()
        self.settle()
        self.assertEqual((self.a.found, self.b.found), ([], []))

    def test_new_link(self) -> None:
        """After a netsplit all are told of all."""
        self.a.open(ROMEO, 1)
        self.a.open("romeo@localhost/idle")
        self.b.open(JULIET, 1)
        self.settle()
        self.a.found.clear()
        self.b.found.clear()
        self.cut()
        self.heal()
        self.assertEqual(self.a.found, [([JULIET], [ROMEO])])
        self.assertEqual(self.b.found, [([ROMEO], [JULIET])])

    def test_while_the_portions_are_on_their_way(self) -> None:
        """Who becomes available when the other node knows but some sessions is not missed."""
        for n in range(5 * feed.PORTION):
            self.a.open(f"user{n}@localhost/r", 1)
        late = self.all.start("c")
        self.all.run_for(0.05)
        self.assertTrue(late.known())
        late.open(JULIET, 1)
        self.all.run_for(2)
        missed = {name for found, some in self.a.found if JULIET in found for name in some}
        self.assertEqual(len(missed), 5 * feed.PORTION)
        found = {name for some, missed in late.found if JULIET in missed for name in some}
        self.assertEqual(len(found), 5 * feed.PORTION)


class ConflictTests(DirectoryCase):
    """One full JID on two nodes."""

    names = "abc"

    def assert_winner(self, node: DirectoryNode, session: Any) -> None:
        """All nodes know this session of the address and no other."""
        self.assert_agreed(str(session.jid))
        self.assertIs(node.host.sessions.get(session.jid), session)
        self.assertIsNone(session.closed)

    def test_bound_elsewhere(self) -> None:
        """A new session replaces the one on another node, which is told conflict."""
        older = self.a.open(ROMEO, 1)
        self.settle()
        newer = self.b.open(ROMEO)
        self.settle()
        self.assertEqual(older.closed, "conflict")
        self.assert_winner(self.b, newer)
        self.assertEqual([s.sid for s in self.b.relay.left], [older.sid])

    def test_at_the_same_time(self) -> None:
        """Of three that are bound at one moment one stays, on every node the same."""
        made = [node.open(ROMEO, 1) for node in (self.a, self.b, self.c)]
        self.settle()
        newest = max(made, key=lambda session: session.sid)
        self.assertEqual([s.closed for s in made if s is not newest], ["conflict", "conflict"])
        self.assert_winner(self.all.nodes["abc"[made.index(newest)]], newest)

    def test_clocks_apart(self) -> None:
        """The newer session replaces the older one though its node's clock is hours behind."""
        for name, skew in (("d", -3 * 3600.0), ("e", 3 * 3600.0)):
            self.all.start(name, skew)
        self.all.run_for(1)
        for name in "edbed":
            newer = self.all.nodes[name].open(ROMEO)
            self.settle()
            self.assert_winner(self.all.nodes[name], newer)

    def test_after_another_one(self) -> None:
        """Who has ended a session and begins one where the clock is slow is known everywhere."""
        slow = self.all.start("d", -3600.0)
        self.all.run_for(1)
        for _ in range(3):
            self.a.open(ROMEO).close()
            self.settle()
            newer = slow.open(ROMEO)
            self.settle()
            self.assert_winner(slow, newer)
            newer.close()
            self.settle()

    def test_netsplit(self) -> None:
        """Both sides of a netsplit have one; afterwards the newer one stays."""
        for pair in ("ab", "ac"):
            self.all.network.cut(*pair)
        self.all.run_for(15)
        older, newer = self.a.open(ROMEO, 1), self.b.open(ROMEO, 1)
        self.heal()
        self.assertEqual(older.closed, "conflict")
        self.assert_winner(self.b, newer)

    def test_winner_goes_before_the_loser_hears_of_it(self) -> None:
        """A session whose rival was gone before its node heard of it is known everywhere."""
        self.cut("a", "b")
        older, newer = self.a.open(ROMEO, 1), self.b.open(ROMEO, 1)
        self.all.network.cut("a", "c", one_way=True)
        self.all.network.heal("a", "b")
        self.all.run_for(15)
        self.heal()
        newer.close()
        self.settle()
        self.assert_agreed(*([ROMEO] if older.closed is None else []))

    def test_loser_is_known_to_a_third(self) -> None:
        """A node that is linked to both knows the newer; when that one is lost, the older."""
        self.cut("a", "b")
        older, newer = self.a.open(ROMEO, 1), self.b.open(ROMEO, 1)
        self.settle()
        self.assertEqual(self.c.known()[ROMEO][0], newer.sid)
        self.all.kill("b")
        self.settle()
        self.assertEqual(self.c.known()[ROMEO][0], older.sid)
        self.assertIsNone(older.closed)

    def test_loser_that_does_not_know_yet(self) -> None:
        """Who has had the newer one, which is over, does not take the older one for alive."""
        self.all.network.latency = (0.3, 0.3)
        for open_for in (0.0, 0.4):
            older = self.a.open(ROMEO, 1)
            self.all.run_for(0.1)
            newer = self.b.open(ROMEO)
            self.all.run_for(open_for)
            newer.close()
            self.assertNotIn(ROMEO, self.b.known())
            self.all.run_for(0.25)
            self.assertNotIn(ROMEO, self.b.known())
            self.all.run_for(3)
            self.assertEqual(older.closed, "conflict")
            self.assert_agreed()

    def test_lesser_one_comes_later(self) -> None:
        """The same, if the lesser one becomes known when the greater one is known already."""
        fast = self.all.start("d", 3600.0)
        self.settle()
        self.cut("a", "d")
        fast.open(ROMEO, 1)
        self.settle()
        older = self.a.open(ROMEO, 1)
        self.settle()
        self.assertNotEqual(self.c.known()[ROMEO][0], older.sid)
        self.all.kill("d")
        self.settle()
        self.assertEqual(self.c.known()[ROMEO][0], older.sid)


class LimitTests(DirectoryCase):
    """Access rule ``max_user_sessions`` over several nodes."""

    def setUp(self) -> None:
        """Two sessions a user."""
        super().setUp()
        for node in self.all.nodes.values():
            node.most = 2

    def test_oldest_goes(self) -> None:
        """The oldest is closed on whatever node it is."""
        first = self.a.open("romeo@localhost/1")
        self.settle()
        second = self.b.open("romeo@localhost/2")
        self.settle()
        self.b.open("romeo@localhost/3")
        self.settle()
        self.assertEqual((first.closed, second.closed), ("conflict", None))
        self.assert_agreed("romeo@localhost/2", "romeo@localhost/3")

    def test_at_the_same_time(self) -> None:
        """Those that were opened at the same time on several nodes are too many together."""
        made = [node.open(f"romeo@localhost/{name}{n}") for n in range(2)
                for name, node in self.all.nodes.items()]  # fmt: skip
        self.settle()
        self.assert_agreed(*(str(s.jid) for s in made if s.closed is None))
        self.assertEqual(len(self.a.known()), 2)

    def test_infinity(self) -> None:
        """No limit at all."""
        self.a.most = self.b.most = float("inf")  # type: ignore[assignment]
        for n in range(5):
            self.a.open(f"romeo@localhost/{n}")
        self.settle()
        self.assertEqual(len(self.b.known()), 5)


class DomainTests(DirectoryCase):
    """A domain that a node begins or ends to serve while it runs."""

    def test_served_later(self) -> None:
        """The sessions of a domain are known to a node from when it serves it."""
        self.a.serve("dynamic").open("romeo@dynamic/a", 1)
        self.b.open(JULIET, 1)
        self.settle()
        self.assertEqual(list(self.b.known()), [JULIET])
        self.b.serve("dynamic")
        self.settle()
        self.assert_agreed("romeo@dynamic/a", JULIET)
        self.assertEqual(self.b.found[-1], (["romeo@dynamic/a"], [JULIET]))

    def test_available_meanwhile(self) -> None:
        """Who becomes available while the other node is being told is missed by nobody."""
        self.a.serve("dynamic").open("romeo@dynamic/a", 1)
        self.settle()
        self.b.serve("dynamic").open("juliet@dynamic/b", 1)
        self.settle()
        self.assertIn((["juliet@dynamic/b"], ["romeo@dynamic/a"]), self.a.found)
        self.assertIn((["romeo@dynamic/a"], ["juliet@dynamic/b"]), self.b.found)

    def test_served_no_longer(self) -> None:
        """They are forgotten with the domain; nothing else is."""
        self.a.serve("dynamic").open("romeo@dynamic/a", 1)
        host: Any = self.b.serve("dynamic")
        self.a.open(ROMEO)
        self.settle()
        del self.b.hosts["dynamic"]
        self.b.directory.detach(host)
        self.a.hosts["dynamic"].open("romeo@dynamic/b", 1)
        self.settle()
        self.assertEqual(list(self.b.known()), [ROMEO])
        self.assertEqual(host.sessions.count(), 0)
        self.b.serve("dynamic")
        self.settle()
        self.assertEqual(len(self.b.known()), 3)
