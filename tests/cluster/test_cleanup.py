"""What is left of sessions that went with their node."""

import base64
from typing import Any, ClassVar

from mongoosetw.cluster.sessions import cleanup
from mongoosetw.hooks.users import AnonymousPurge
from mongoosetw.testing.client import Connection
from mongoosetw.testing.cluster import ClusterTestCase
from mongoosetw.testing.nodes import MemoryNode
from mongoosetw.xmpp import ns
from mongoosetw.xmpp.errors import BackendUnavailable

LAST = f"<iq type='get' id='q' to='romeo@localhost'><query xmlns='{ns.LAST}'/></iq>"
ENOUGH = 25.0
"""Seconds: until a node without power counts as lost, and some in which it may come back."""


class CleanupTests(ClusterTestCase):
    """Guests, and when accounts were last seen."""

    nodes = ("a", "b", "c")
    listener_options = "allow_plain_without_tls = true"
    modules: ClassVar[dict[str, dict[str, Any]]] = {
        "mod_roster": {},
        "mod_presence": {},
        "mod_last": {},
    }

    def configuration(self) -> str:
        """With guests."""
        methods = "[auth]\nmethods = ['internal', 'anonymous']\nanonymous.protocol = 'both'"
        return super().configuration().replace("[auth]", methods)

    def setUp(self) -> None:
        """Notes where which guests are purged; the first few times the database may be away."""
        self.purged: list[tuple[str, str]] = []
        self.outages = 0
        super().setUp()

    def start(self, name: str, skew: float = 0.0) -> MemoryNode:
        """Watches the node."""
        node = super().start(name, skew)

        def purged(event: AnonymousPurge) -> None:
            if self.outages:
                self.outages -= 1
                raise BackendUnavailable
            self.purged.append((name, str(event.user)))

        self.host(name).hooks.add(AnonymousPurge, 50, "test", purged)
        self.host(name).hooks.publish()
        return node

    def guest(self, user: str, node: str, number: int = 1) -> Connection:
        """A guest who has come to a node, as the first or a later one of its sessions."""
        place = self.cluster.nodes[node]
        client = Connection(place.listener, self.settle)
        place.connections.append(client)
        client.open()
        data = base64.b64encode(f"\0{user}\0any".encode()).decode()
        client.send(f"<auth xmlns='{ns.SASL}' mechanism='PLAIN'>{data}</auth>")
        client.open()
        client.send(f"<iq type='set' id='b'><bind xmlns='{ns.BIND}'/></iq>")
        self.assertEqual(self.host(node).sessions.local_count, number)
        return client

    def test_guest(self) -> None:
        """What a guest of a node that dies has left is removed, by one of the others."""
        self.guest("visitor", "c")
        self.kill("c", power=True)
        self.run_for(ENOUGH)
        self.assertEqual(self.purged, [("a", "visitor@localhost")])

    def test_first_node_dies_too(self) -> None:
        """If two nodes die at once the next one does it for both."""
        self.guest("one", "a")
        self.guest("two", "c")
        for name in "ca":
            self.kill(name, power=True)
        self.run_for(ENOUGH)
        self.assertEqual(sorted(self.purged), [("b", "one@localhost"), ("b", "two@localhost")])

    def test_node_comes_back(self) -> None:
        """A guest whose node was out of reach for a moment keeps everything until it leaves."""
        client = self.guest("visitor", "c")
        self.cut("c", "a")
        self.cut("c", "b")
        self.run_for(11)
        self.assertEqual(self.host("a").sessions.count(), 0)
        self.heal()
        self.run_for(ENOUGH)
        self.assertEqual(self.purged, [])
        client.send("</stream:stream>")
        self.run_for(1)
        self.assertEqual(self.purged, [("c", "visitor@localhost")])

    def test_many(self) -> None:
        """However many there are, each is cleaned up once."""
        self.patch(cleanup, "PORTION", 2)
        guests = [f"guest{number}@localhost" for number in range(5)]
        for number, guest in enumerate(guests):
            self.guest(guest.partition("@")[0], "c", number + 1)
        self.kill("c", power=True)
        self.run_for(ENOUGH)
        self.assertEqual(sorted(self.purged), [("a", guest) for guest in guests])

    def test_database_away(self) -> None:
        """What could not be cleaned up when the database was away is when it is back, once."""
        self.patch(cleanup, "PORTION", 2)
        guests = [f"guest{number}@localhost" for number in range(5)]
        for number, guest in enumerate(guests):
            self.guest(guest.partition("@")[0], "c", number + 1)
        self.outages = 3
        self.kill("c", power=True)
        self.run_for(ENOUGH)
        self.run_for(10)
        self.assertEqual(self.outages, 0)
        self.assertEqual(sorted(self.purged), [("a", guest) for guest in guests])

    def test_comes_back_meanwhile(self) -> None:
        """A guest who has come back before the database is let be."""
        self.guest("visitor", "c")
        self.outages = 1
        self.kill("c", power=True)
        while self.outages:
            self.run_for(0.5)
        self.guest("visitor", "b")
        self.run_for(ENOUGH)
        self.assertEqual(self.purged, [])

    def test_guest_leaves_while_database_away(self) -> None:
        """What a guest leaves is removed later if the database is away just then."""
        self.outages = 2
        self.guest("visitor", "a").send("</stream:stream>")
        self.run_for(2)
        self.assertEqual(self.purged, [])
        self.run_for(2)
        self.assertEqual(self.purged, [("a", "visitor@localhost")])

    def last_seen(self) -> bytes:
        """What a user is told of the own account."""
        asking = self.connect("romeo@localhost/asking", "b")
        answer = asking.request(LAST)
        asking.send("</stream:stream>")
        return answer.inner

    def test_last_activity(self) -> None:
        """Who went with a node was last seen then."""
        self.connect("romeo@localhost/phone", "c").send("<presence/>")
        self.kill("c", power=True)
        self.run_for(ENOUGH)
        self.assertIn(b"seconds='", self.last_seen())

    def test_last_activity_of_who_has_gone_before(self) -> None:
        """Who had gone before the node was lost was last seen then, and the status stays."""
        client = self.connect("romeo@localhost/phone", "c")
        self.connect("romeo@localhost/desk", "a")  # with Redis, a would not know of the phone
        client.send("<presence/>")
        client.send("<presence type='unavailable'><status>night</status></presence>")
        client.send("</stream:stream>")
        self.kill("c", power=True)
        self.run_for(ENOUGH)
        self.assertIn(b"night", self.last_seen())

    def test_last_activity_of_who_has_come_back(self) -> None:
        """Who has come to another node since was not last seen when the node was lost."""
        self.connect("romeo@localhost/phone", "c").send("<presence/>")
        self.kill("c")
        again = self.connect("romeo@localhost/phone", "b")
        self.run_for(ENOUGH)
        again.send("</stream:stream>")
        self.assertIn(b"item-not-found", self.last_seen())


class RedisCleanupTests(CleanupTests):
    """The same where not every node knows all sessions."""

    general = "sm_backend = 'redis'"
