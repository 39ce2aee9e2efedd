"""Real servers with the back end ``redis``: what users notice, which is nothing."""

from twisted.internet.defer import Deferred

from mongoosetw.cluster.sessions.remote import RemoteSession
from mongoosetw.testing.cluster import ClusterTestCase
from mongoosetw.xmpp.jid import JID
from tests.cluster import (
    test_devices,
    test_handover,
    test_lost_moves,
    test_messages,
    test_presence,
    test_races,
    test_sessions_shared,
)
from tests.cluster.friends import FriendsCase
from tests.cluster.messages import bodies
from tests.cluster.test_presence import JULIET, ROMEO

REDIS = "sm_backend = 'redis'"


class SharedTests(test_sessions_shared.SharedTests):
    """As with ``replicated``, when all nodes are asked for the user."""

    general = "host_types = ['dynamic']\nsm_backend = 'redis'"

    def known(self, node: str) -> dict[str, int | None]:
        """The sessions that a node knows when it is asked."""
        self.host(node).prepare([JID.parse("romeo@localhost"), JID.parse("juliet@localhost")])
        self.settle()
        return super().known(node)

    def test_domain_added_later(self) -> None:
        """The sessions of a domain that a node hears of late are there for who asks."""
        self.await_(self.servers["a"].domains.add("later.example", "dynamic"))
        self.connect("romeo@later.example/phone", node="a")
        self.settle()
        host = self.servers["b"].hosts["later.example"]
        host.prepare([JID.parse("romeo@later.example")])
        self.settle()
        self.assertEqual([str(s.jid) for s in host.sessions], ["romeo@later.example/phone"])


class PresenceTests(test_presence.PresenceTests):
    """Who sees whom."""

    general = REDIS


class LossTests(test_presence.LossTests):
    """Who sees whom after a loss."""

    general = REDIS


class PresenceRaces(test_races.PresenceRaces):
    """Who sees whom that moves."""

    general = REDIS


class LastWordsTests(FriendsCase):
    """Clients that go while Redis does not answer."""

    general = REDIS

    def test_node_lost(self) -> None:
        """Who has gone, and could not say goodbye before its node was lost, is seen to go."""
        self.befriend(ROMEO, JULIET)
        romeo = self.log_in(f"{ROMEO}/orchard", "a")
        juliet = self.log_in(f"{JULIET}/phone", "b")
        self.forget(romeo)
        self.cluster.redis.frozen = True
        juliet.send("<presence type='unavailable'/>")
        self.run_for(1)
        self.assertEqual(self.seen(romeo), [])
        self.kill("b")
        self.run_for(10)
        self.assertEqual(self.seen(romeo), ["unavailable juliet/phone"])


    def test_linked_meanwhile(self) -> None:
        """Who hides before its node knows who is at one that is linked again is seen to go."""
        self.befriend(ROMEO, JULIET)
        romeo = self.log_in(f"{ROMEO}/orchard", "a")
        juliet = self.log_in(f"{JULIET}/phone", "b")
        self.cluster.network.reconnect_delay = 0.2
        self.cut("a", "b")
        self.run_for(15)
        self.cluster.redis.frozen = True
        ask = self.servers["b"].cluster.calls.call
        self.patch(self.servers["b"].cluster.calls, "call", lambda *a: Deferred())
        self.heal()
        self.run_for(5)
        self.assertEqual(self.seen(romeo)[-1], "available juliet/phone")
        juliet.send("<presence type='unavailable'/>")
        self.run_for(5)
        self.patch(self.servers["b"].cluster.calls, "call", ask)
        self.cluster.redis.frozen = False
        self.run_for(20)
        self.assertEqual(self.seen(romeo)[-1:], ["unavailable juliet/phone"])


class SubscriptionTests(test_presence.SubscriptionTests):
    """Who begins to see whom."""

    general = REDIS


class CarbonsTests(test_devices.CarbonsTests):
    """Copies for the other devices of a user."""

    general = REDIS


class LostNodeTests(test_messages.LostNodeTests):
    """What a lost node had on its way."""

    general = REDIS


class MovesTests(test_handover.ElsewhereTests):
    """Sessions that are resumed on another node."""

    general = REDIS


class NewcomerTests(test_lost_moves.NewcomerTests):
    """Who comes online while a session moves."""

    general = REDIS


class StrangerTests(ClusterTestCase):
    """Clients that the node of another one has never been asked for."""

    modules = {"mod_presence": {}, "mod_roster": {}}
    general = REDIS

    def setUp(self) -> None:
        """Connects two."""
        super().setUp()
        self.romeo = self.connect("romeo@localhost/orchard", "a")
        self.juliet = self.connect("juliet@localhost/balcony", "b")
        for client in (self.romeo, self.juliet):
            client.send("<presence/>")
            client.receives("<presence/>")

    def test_message_and_answer(self) -> None:
        """Stanzas find their way, there and back."""
        self.romeo.send("<message to='juliet@localhost' type='chat'><body>hello</body></message>")
        self.juliet.receives("<message from='romeo@localhost/orchard'/>")
        self.juliet.send("<iq to='romeo@localhost/orchard' type='get' id='1'><q xmlns='a:b'/></iq>")
        self.romeo.receives("<iq from='juliet@localhost/balcony' type='get' id='1'/>")

    def test_nobody_else_is_told(self) -> None:
        """What happens to a session is told to no node that has not asked for the user."""
        before = self.cluster.network.payloads["session"]
        self.romeo.send("<presence><priority>3</priority></presence>")
        self.romeo.send("</stream:stream>")
        self.settle()
        self.assertEqual(self.cluster.network.payloads["session"], before)

    def test_shown(self) -> None:
        """Presence that a node asks for arrives there, though the other does not know for whom."""
        self.await_(self._locate("a", self.juliet.jid))
        session = self.host("a").sessions.get(self.juliet.jid)
        assert isinstance(session, RemoteSession)
        self.assertIsNone(self.host("b").sessions.get(self.romeo.jid))
        session.show(self.romeo.jid)
        self.settle()
        self.romeo.receives("<presence from='juliet@localhost/balcony'/>")

    def test_shown_to_a_newer_session(self) -> None:
        """A client that has an older session on the node that is asked for presence gets it."""
        older = self.connect("romeo@localhost/orchard", "b")
        self.cut("a", "b")
        self.run_for(15)
        self.romeo = self.connect("romeo@localhost/orchard", "a")
        self.romeo.send("<presence/>")
        self.romeo.receives("<presence/>")
        self.cluster.network.wire("a", "b").slower = 0.5
        self.heal()
        while "b" not in self.servers["a"].mesh.peers:
            self.run_for(0.1)
        self.await_(self._locate("a", self.juliet.jid))
        session = self.host("a").sessions.get(self.juliet.jid)
        assert isinstance(session, RemoteSession)
        session.show(self.romeo.jid)
        self.cluster.redis.latency = 2.0
        self.run_for(1)
        self.assertFalse(older.transport.closed)
        self.romeo.receives("<presence from='juliet@localhost/balcony'/>")

    def test_shown_though_another_place_is_known(self) -> None:
        """So does one whose older session, on a third node, is known to the one that is asked."""
        self.await_(self._locate("a", self.juliet.jid))
        session = self.host("a").sessions.get(self.juliet.jid)
        assert isinstance(session, RemoteSession)
        host, cluster = self.host("b"), self.servers["b"].cluster
        assert cluster is not None
        jid = self.romeo.jid
        older = RemoteSession(host, cluster.relay, "c", 1, jid, None, frozenset(), secure=False)
        host.sessions.add(older)
        session.show(jid)
        self.settle()
        self.romeo.receives("<presence from='juliet@localhost/balcony'/>")

    async def _locate(self, node: str, jid: JID) -> None:
        located = self.host(node).prepare([jid.bare])
        assert located is not None
        await located

    def test_redis_is_away(self) -> None:
        """Nobody notices."""
        self.cluster.redis.stop()
        self.romeo.send("<message to='juliet@localhost' type='chat'><body>hello</body></message>")
        self.juliet.receives("<message from='romeo@localhost/orchard'/>")
        nurse = self.connect("nurse@localhost/hall", "a")
        self.juliet.send("<message to='nurse@localhost/hall' type='chat'><body>ho</body></message>")
        nurse.receives("<message from='juliet@localhost/balcony'/>")

    def test_redis_freezes(self) -> None:
        """A stanza for an unknown user waits until Redis counts as away, and arrives."""
        self.cluster.redis.frozen = True
        self.romeo.send("<message to='juliet@localhost' type='chat'><body>hello</body></message>")
        self.run_for(1)
        self.assertEqual(self.juliet.received, [])
        self.run_for(2)
        self.juliet.receives("<message from='romeo@localhost/orchard'/>")


class EndedSessionTests(test_messages.MessagesTestCase):
    """What a session that has ended had not acknowledged."""

    general = REDIS

    def test_redis_is_slow(self) -> None:
        """It goes to a client on a node that hears of the end when Redis has answered."""
        older = self.juliet("a")
        self.say("hello", "juliet@localhost/balcony")
        self.assertEqual(bodies(older), ["hello"])
        self.run_for(10)  # it has a row, which names that session
        newer = self.juliet("b", "phone")
        self.cluster.redis.latency = 0.5
        older.send("</stream:stream>")
        self.run_for(2)
        self.assertEqual(bodies(newer), ["hello"])


class RestartedNodeTests(test_messages.MessagesTestCase):
    """What a node that was ended and started again finds in the log."""

    general = REDIS
    peer_timeout = 4.0

    def test_for_somebody_elsewhere(self) -> None:
        """What a node has stored while it was cut off comes though it is started before it is
        linked again."""
        juliet = self.juliet()
        for other in ("b", "c"):
            self.cut("a", other)
        self.run_for(10)
        self.say("hello")
        self.restart("a")
        self.run_for(5)
        self.assertEqual(bodies(juliet), [])
        self.heal()
        self.run_for(20)
        self.assertEqual(bodies(juliet), ["hello"])
