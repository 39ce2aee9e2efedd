"""What clients see whose sessions move while their nodes do not know everybody."""

from functools import partial
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.task import deferLater

from mongoosetw.cluster.sessions import feed, replicated
from mongoosetw.cluster.sessions.moving import MovingSession
from mongoosetw.cluster.sessions.redis_asking import CALL
from mongoosetw.testing.client import Client
from tests.cluster.friends import FriendsCase
from tests.cluster.moves import RESUME
from tests.cluster.test_presence import JULIET, ROMEO


class UnknownCase(FriendsCase):
    """Romeo and Juliet are friends; her client can resume its session."""

    modules = {**FriendsCase.modules, "mod_stream_management": {}}

    def setUp(self) -> None:
        """Nodes a and b have been asked for both of them, c for nobody."""
        super().setUp()
        self.befriend(ROMEO, JULIET)

    def juliet(self, node: str) -> Client:
        """She comes online."""
        return self.log_in_to_stay(f"{JULIET}/phone", node)

    def come_to(self, client: Client, node: str) -> Client:
        """Her client comes back to a node, which may take a while."""
        client.pump()
        client.lose()
        again = self.connect(f"{JULIET}/phone", node, bind=False)
        again.send(RESUME.format(client.resume_id, client.handled))
        return again


class LinkTests(UnknownCase):
    """Two nodes are linked anew."""

    def test_before_the_other_knows(self) -> None:
        """Who moves before the other node knows of her sees whom that has told of meanwhile.

        Her new place is known there behind the old one: nobody has been missed, it seems.
        """
        self.cluster.network.reconnect_delay = 0.01
        self.cut("a", "b")
        self.run_for(15)
        juliet = self.juliet("b")
        romeo = self.connect(f"{ROMEO}/orchard", "a")
        self.cluster.network.wire("b", "a").slower = 3.0
        self.cluster.network.wire("c", "a").slower = 2.0
        self.heal()
        self.run_for(4)
        romeo.send("<presence/>")
        self.run_for(1)
        self.assertIsNotNone(self.host("b").sessions.get(romeo.jid))
        self.assertIsNone(self.host("a").sessions.get(juliet.jid))
        self.assertEqual(self.seen(juliet), [])
        again = self.come_to(juliet, "c")
        self.run_for(5)
        self.assertEqual(self.seen(again, ROMEO), ["available romeo/orchard"])


class SpokenTests(FriendsCase):
    """Who changes presence while not all sessions of a node are known that is linked anew."""

    def setUp(self) -> None:
        """Juliet is the last of several at b."""
        super().setUp()
        self.befriend(ROMEO, JULIET)
        self.cluster.network.reconnect_delay = 0.01
        self.romeo = self.log_in(f"{ROMEO}/orchard", "a")
        for name in ("nurse", "peter"):
            self.log_in(f"{name}@localhost/phone", "b")
        self.juliet = self.log_in(f"{JULIET}/phone", "b")
        self.cut("a", "b")
        self.run_for(15)
        self.be_slow()
        self.heal()
        self.forget(self.juliet)

    def be_slow(self) -> None:
        """What there is at b is told bit by bit."""
        self.patch(feed, "PORTION", 1)
        self.patch(replicated, "PACE", 1.0)

    def test_seen(self) -> None:
        """A client there sees it when its session is known."""
        self.run_for(0.5)
        self.assertIsNone(self.host("a").sessions.get(self.juliet.jid))
        self.romeo.send("<presence><show>away</show></presence>")
        self.run_for(5)
        shown = [s for s in self.juliet.received if s.from_ == self.romeo.jid]
        self.assertIn(b"away", shown[-1].inner)


class SpokenRedisTests(SpokenTests):
    """The same with Redis."""

    general = "sm_backend = 'redis'"

    def be_slow(self) -> None:
        """Redis is slow for a, and so are the nodes that it asks."""
        client, nodes = self.servers["a"].redis, self.servers["a"].cluster.calls
        for asked, name in ((client, "calls"), (nodes, "call")):
            ask = partial(deferLater, self.clock, 2, getattr(asked, name))
            self.patch(asked, name, ask)

    def test_redis_is_lost(self) -> None:
        """So does one of whom the other node itself has to be asked, without Redis."""
        self.cluster.redis.stop()
        self.test_seen()


class RedisTests(UnknownCase):
    """Sessions are looked up in Redis, which is away."""

    nodes = ("a", "b", "c", "d")
    general = "sm_backend = 'redis'"

    def leave_unanswered(self, *nodes: str) -> None:
        """Nodes that ask others for sessions get no answer."""
        for node in nodes:
            calls = self.servers[node].cluster.calls

            def ask(to: str, name: str, *rest: Any, call: Any = calls.call) -> Any:
                return Deferred() if name == CALL else call(to, name, *rest)

            self.patch(calls, "call", ask)

    def test_before_all_is_known(self) -> None:
        """Who moves before a node that is linked anew is read sees whom that has told of."""
        self.cluster.network.reconnect_delay = 0.2
        romeo = self.log_in(f"{ROMEO}/orchard", "b")
        self.cut("a", "b")
        self.run_for(15)
        juliet = self.juliet("a")
        self.cluster.redis.stop()
        self.leave_unanswered("a", "b")
        self.heal()
        self.run_for(1)
        romeo.send("<presence><priority>3</priority></presence>")
        self.assertEqual(self.seen(juliet), [])
        again = self.come_to(juliet, "c")
        self.assertEqual(self.seen(again, ROMEO), ["available romeo/orchard"])

    def appear_slowly(self) -> None:
        """Romeo comes online at c, which cannot find out in time who is at b."""
        self.cluster.redis.stop()
        self.cluster.network.wire("c", "b").slower = 3.0
        romeo = self.connect(f"{ROMEO}/orchard", "c")
        self.run_for(3)
        romeo.send("<presence/>")
        self.run_for(3.5)
        self.assertIsNone(self.host("c").sessions.get(self.connected.jid))
        self.assertIsNotNone(self.host("b").sessions.get(romeo.jid))
        self.assertEqual(self.seen(self.connected), [])

    def test_to_a_node_that_did_not_know(self) -> None:
        """Who moves to a node that has not known of her sees the clients there."""
        self.connected = self.juliet("b")
        self.appear_slowly()
        again = self.come_to(self.connected, "c")
        self.run_for(4)
        self.assertEqual(self.seen(again, ROMEO), ["available romeo/orchard"])

    def test_to_a_node_that_knows_nobody(self) -> None:
        """Who moves to a node that has to ask first sees those whose node had not known of her."""
        self.connected = self.juliet("b")
        self.appear_slowly()
        again = self.come_to(self.connected, "d")
        self.run_for(4)
        self.assertEqual(self.seen(again, ROMEO), ["available romeo/orchard"])

    def test_known_too_late(self) -> None:
        """Who has moved when a node finds out that she has missed somebody sees him."""
        self.connected = self.juliet("b")
        self.appear_slowly()
        self.cluster.redis.start()
        self.run_for(1)
        again = self.come_to(self.connected, "a")
        self.assertEqual(self.seen(again, ROMEO), [])
        self.run_for(3)
        self.assertEqual(self.seen(again, ROMEO), ["available romeo/orchard"])


class ShownTests(UnknownCase):
    """Presence is asked for by way of a node that a session has left."""

    general = "sm_backend = 'redis'"

    def setUp(self) -> None:
        """Romeo's node hears of what happens to Juliet late, and Redis is slow."""
        super().setUp()
        self.juliets = self.juliet("b")
        self.romeo = self.log_in(f"{ROMEO}/orchard", "a", "")
        for node in ("b", "c"):
            self.cluster.network.wire(node, "a").slower = 1.0
        self.cluster.redis.latency = 1.0

    def come_at_once(self, seconds: float) -> None:
        """Her client comes to c, and Romeo's comes online so much later; a takes it for b's."""
        self.come_to(self.juliets, "c")
        self.run_for(seconds)
        self.romeo.send("<presence/>")
        self.run_for(1)
        host = self.host("a")
        self.assertEqual(getattr(host.sessions.get(self.juliets.jid), "node", ""), "b")
        self.assertIsNone(self.host("c").sessions.get(self.romeo.jid))

    def test_to_one_who_is_not_known(self) -> None:
        """Who comes online before the new place of a contact is known there sees the contact.

        The new place is asked to show it by the old one, and has yet to ask Redis for the asker.
        """
        self.come_at_once(0.5)
        self.run_for(5)
        self.assertEqual(self.seen(self.romeo, JULIET), ["available juliet/phone"])

    def test_while_it_moves(self) -> None:
        """So does who comes while the session is still on its way."""
        self.cluster.network.wire("c", "b").slower = 0.6
        self.come_at_once(0.9)
        self.assertIsInstance(self.host("b").sessions.get(self.juliets.jid), MovingSession)
        self.run_for(5)
        self.assertEqual(self.seen(self.romeo, JULIET), ["available juliet/phone"])
