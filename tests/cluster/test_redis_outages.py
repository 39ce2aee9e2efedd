"""The back end ``redis`` while Redis is away, for all nodes or for some."""

from twisted.internet.task import deferLater

from mongoosetw.xmpp.jid import JID
from tests.cluster.directories import JULIET, ROMEO
from tests.cluster.redis_directories import RedisCase


class OutageTests(RedisCase):
    """Redis is away."""

    names = "abc"

    def test_known_sessions_go_on(self) -> None:
        """What is known is followed as exactly as before."""
        romeo = self.a.open(ROMEO, 1)
        self.ask(self.b, ROMEO)
        self.redis.stop()
        romeo.become(4)
        self.a.open("romeo@localhost/second", 1)
        self.settle()
        self.assert_known(self.b, ROMEO, "romeo@localhost/second")
        romeo.close()
        self.settle()
        self.assert_known(self.b, "romeo@localhost/second")

    def test_unknown_users(self) -> None:
        """Nodes are asked instead, and tell what happens from then on."""
        romeo = self.a.open(ROMEO, 1)
        self.settle()
        self.redis.stop()
        self.ask(self.b, ROMEO)
        self.assert_known(self.b, ROMEO)
        romeo.become(7)
        self.settle()
        self.assert_known(self.b, ROMEO)

    def test_frozen(self) -> None:
        """Whoever asks while Redis does not answer waits until it counts as away."""
        self.a.open(ROMEO, 1)
        self.settle()
        self.redis.frozen = True
        asked = self.b.directory.prepare([JID.parse(ROMEO).bare])
        self.all.run_for(1)
        self.assertNoResult(asked)
        self.all.run_for(3)
        self.successResultOf(asked)
        self.assert_known(self.b, ROMEO)

    def test_ended_while_it_is_frozen(self) -> None:
        """Who was told that a session has ended is not told afterwards that it has begun."""
        self.ask(self.b, ROMEO)
        self.redis.frozen = True
        self.b.directory.prepare([JID.parse(JULIET).bare])
        self.all.run_for(0.5)
        romeo = self.a.open(ROMEO, 1)
        while self.a.directory._peers["b"].watches:  # from then on it has to be told of all
            self.all.run_for(0.01)
        romeo.close()
        self.all.run_for(5)
        self.assert_known(self.b)

    def test_gone_for_who_is_not_known(self) -> None:
        """Who is told that a session has gone, and whose node has not heard of that, sees to it."""
        self.ask(self.b, ROMEO)
        romeo = self.a.open(ROMEO, 1)
        self.settle()
        self.redis.frozen = True
        self.b.open(JULIET, 1)
        self.settle()
        romeo.become(None)
        self.settle()
        self.assertEqual(self.b.unsure, [(JULIET, ROMEO)])

    def test_only_one_node_has_lost_it(self) -> None:
        """A node that alone cannot reach Redis is told all that the others would write there."""
        romeo = self.a.open(ROMEO, 1)
        self.settle()
        client = self.redis.clients[1]
        client._connect = lambda: None  # type: ignore[method-assign]
        client.lose()
        self.ask(self.b, ROMEO)
        romeo.become(7)
        juliet = self.b.open(JULIET, 2)
        self.ask(self.a, JULIET)
        juliet.become(3)
        self.settle()
        self.assert_known(self.b, ROMEO, JULIET)
        self.assert_known(self.a, ROMEO, JULIET)

    def test_node_that_does_not_answer(self) -> None:
        """A node that does not answer has no sessions, for now."""
        self.a.open(ROMEO, 1)
        self.settle()
        self.redis.stop()
        self.all.network.cut("a", "b")
        asked = self.b.directory.prepare([JID.parse(ROMEO).bare])
        self.all.run_for(3)
        self.successResultOf(asked)
        self.assert_known(self.b)
        self.heal()
        self.assert_known(self.b, ROMEO)

    def assert_introduced(self) -> None:
        """Romeo, who has been at a all the time, and Juliet at b have not missed each other."""
        self.assertIn(([ROMEO], [JULIET]), self.b.found)
        self.assertIn(([JULIET], [ROMEO]), self.a.found)

    def test_known_late(self) -> None:
        """Who becomes known before a node has answered has missed others, and they have it."""
        self.ask(self.a, JULIET)
        romeo = self.a.open(ROMEO, 1)
        self.settle()
        self.redis.stop()
        self.all.network.cut("a", "b")
        self.b.directory.prepare([JID.parse(ROMEO).bare])
        self.all.run_for(3)
        self.b.open(JULIET, 1)
        self.all.network.heal_all()
        romeo.become(4)
        self.settle()
        self.assert_introduced()

    def test_written_down_late(self) -> None:
        """So it is with who was not in Redis when others asked."""
        self.ask(self.a, JULIET)
        self.a.open(ROMEO, 1)
        self.settle()
        late = self.redis.clients[0]
        connect, late._connect = late._connect, lambda: None  # type: ignore[method-assign]
        self.redis.stop()
        self.redis.start()
        self.all.run_for(2)
        self.ask(self.b, ROMEO)
        self.b.open(JULIET, 1)
        self.settle()
        self.assert_known(self.b, JULIET)
        connect()
        self.all.run_for(2)
        self.assert_introduced()

    def test_written_down_before_others_are_heard(self) -> None:
        """A node that has not said yet that it asks the new Redis is told by it."""
        self.a.open(ROMEO, 1)
        self.settle()
        late = self.redis.clients[0]
        connect, late._connect = late._connect, lambda: None  # type: ignore[method-assign]
        self.redis.stop()
        self.all.network.wire("b", "a").slower = 5.0
        self.redis.start()
        self.all.run_for(2)
        self.ask(self.b, ROMEO)
        connect()
        self.all.run_for(1)
        self.assert_known(self.b, ROMEO)

    def relink(self, *before: str) -> None:
        """A and b lose their link, and have a new one; Redis is slow for b."""
        self.ask(self.a, JULIET)
        self.ask(self.b, ROMEO, JULIET)
        self.a.open(ROMEO, 1)
        self.cut()
        for jid in before:
            self.b.open(jid, 1)
        client = self.redis.clients[1]
        calls = client.calls
        self.patch(client, "calls", lambda commands: deferLater(self.all.clock, 3, calls, commands))
        self.all.network.heal("a", "b")
        while "a" not in self.b.directory._peers:
            self.all.run_for(0.1)
        self.settle()
        self.assert_known(self.b, *before)

    def test_available_before_others_are_known(self) -> None:
        """Who comes before a node that is linked again has been read is shown to its clients."""
        self.relink()
        self.b.open(JULIET, 1)
        self.a.found.clear()
        self.settle()
        self.a.found.clear()  # what follows comes from the other end
        self.all.run_for(5)
        self.assert_introduced()

    def test_away_while_a_node_is_read(self) -> None:
        """If Redis is lost before that, the node is asked for those who are followed."""
        self.relink()
        self.redis.stop()
        self.all.run_for(4)
        self.assert_known(self.b, ROMEO)

    def test_told_of_before_others_are_known(self) -> None:
        """Who changes meanwhile is shown, too, when the node has been asked."""
        self.relink(JULIET)
        (romeo,) = self.a.host.sessions.local()
        romeo.become(4)
        self.settle()
        self.assert_known(self.b, ROMEO, JULIET)
        self.b.found.clear()
        self.redis.stop()
        self.all.run_for(4)
        self.assertIn(([ROMEO], [JULIET]), self.b.found)

    def test_back_and_empty(self) -> None:
        """All nodes write down again what they have, and register again."""
        romeo = self.a.open(ROMEO, 1)
        gone = self.a.open("romeo@localhost/gone", 1)
        self.ask(self.b, ROMEO)
        self.redis.stop()
        gone.close()
        self.a.open("romeo@localhost/new", 1)
        self.settle()
        self.redis.start()
        self.all.run_for(5)
        self.ask(self.c, ROMEO)
        for node in (self.b, self.c):
            self.assert_known(node, ROMEO, "romeo@localhost/new")
        before = self.all.network.bytes["session"]
        self.a.open(JULIET, 1)
        self.settle()
        self.assertEqual(self.all.network.bytes["session"], before)
        romeo.close()
        self.settle()
        self.assert_known(self.b, "romeo@localhost/new")

    def test_back_with_old_data(self) -> None:
        """What has ended while Redis was away is found by nobody."""
        gone = self.a.open(ROMEO, 1)
        self.settle()
        self.redis.stop()
        gone.close()
        self.settle()
        self.redis.start(empty=False)
        self.ask(self.c, ROMEO)
        self.all.run_for(5)
        self.assert_known(self.c)

    def test_read_before_the_end_is_written(self) -> None:
        """Who was told of the end of a session does not find it again where it was written down."""
        romeo = self.a.open(ROMEO, 1)
        self.ask(self.b, ROMEO)
        self.assert_known(self.b, ROMEO)
        romeo.become(2)  # from now on its node knows who follows it
        self.settle()
        self.redis.frozen = True
        romeo.close()
        self.settle()
        self.assert_known(self.b)
        self.redis.frozen = False
        self.redis.clients[1].lose()
        self.all.run_for(1)
        self.assert_known(self.b)
        self.redis.stop()
        self.redis.start()
        self.all.run_for(10)
        self.assert_known(self.b)

    def test_nodes_come_back_one_by_one(self) -> None:
        """While only some have registered again, nobody misses anything."""
        self.ask(self.b, ROMEO)
        late = self.redis.clients[1]
        connect, late._connect = late._connect, lambda: None  # type: ignore[method-assign]
        self.redis.stop()
        self.redis.start()
        self.all.run_for(2)
        self.a.open(ROMEO, 1)
        self.settle()
        self.assert_known(self.b, ROMEO)
        connect()
        self.all.run_for(2)
        self.a.open("romeo@localhost/second", 1)
        self.settle()
        self.assert_known(self.b, ROMEO, "romeo@localhost/second")

    def test_refused(self) -> None:
        """With a Redis that refuses commands all is told to all, until it does not any more."""
        self.redis.data[b"test:w:{romeo@localhost}"] = b"not a set"
        self.ask(self.b, ROMEO)
        self.a.open(ROMEO, 1)
        self.settle()
        self.assert_known(self.b, ROMEO)
        del self.redis.data[b"test:w:{romeo@localhost}"]
        self.all.run_for(10)
        self.a.open("romeo@localhost/second", 1)
        self.settle()
        self.assert_known(self.b, ROMEO, "romeo@localhost/second")
