"""What one node changes in the database is seen by the others at once."""

from mongoosetw.cluster import caches
from mongoosetw.testing.client import Client
from mongoosetw.testing.cluster import ClusterTestCase
from mongoosetw.xmpp import ns
from mongoosetw.xmpp.jid import JID
from mongoosetw.xmpp.stanza import Stanza

ROMEO = JID.parse("romeo@localhost")
GET = f"<iq type='get' id='g'><query xmlns='{ns.ROSTER}'/></iq>"


class SharedDataTests(ClusterTestCase):
    """Two servers with one database."""

    modules = {"mod_roster": {}, "mod_presence": {}, "mod_privacy": {}, "mod_blocking": {}}
    general = 'host_types = ["dynamic"]'

    def roster(self, server: str, resource: str) -> Stanza:
        """Romeo's roster as one of the servers tells it."""
        return self.connect(f"romeo@localhost/{resource}", server).request(GET)

    def part(self) -> None:
        """The servers lose their link."""
        self.cut("a", "b")
        self.run_for(12)

    def test_password(self) -> None:
        """A new password counts everywhere, although both nodes remember the old one."""
        a, b = (self.host(name).accounts for name in "ab")
        self.assertFalse(self.await_(b.exists(ROMEO)))
        self.await_(a.register(ROMEO, "first"))
        self.assertTrue(self.await_(b.check_password(ROMEO, "first")))
        self.await_(a.set_password(ROMEO, "second"))
        self.assertTrue(self.await_(b.check_password(ROMEO, "second")))
        self.assertFalse(self.await_(b.check_password(ROMEO, "first")))
        self.await_(a.remove(ROMEO))
        self.assertFalse(self.await_(b.exists(ROMEO)))

    def test_roster(self) -> None:
        """A contact that is added on one node is in the roster on the other."""
        self.assertNotIn(b"juliet", self.roster("b", "one").inner)
        self.connect("romeo@localhost/two", "a").send(
            f"<iq type='set' id='s'><query xmlns='{ns.ROSTER}'>"
            "<item jid='juliet@localhost' name='Juliet'/></query></iq>"
        )
        self.assertIn(b"juliet@localhost", self.roster("b", "three").inner)

    def test_missed_without_a_link(self) -> None:
        """What was changed while the nodes had no link is seen when they have one again."""
        self.assertNotIn(b"juliet", self.roster("b", "one").inner)
        self.part()
        self.connect("romeo@localhost/two", "a").send(
            f"<iq type='set' id='s'><query xmlns='{ns.ROSTER}'>"
            "<item jid='juliet@localhost'/></query></iq>"
        )
        self.heal()
        self.run_for(10)
        self.assertIn(b"juliet@localhost", self.roster("b", "three").inner)

    def test_two_nodes_change_one_item(self) -> None:
        """Two changes of one item on two nodes that know nothing of each other both count."""
        romeo = self.connect("romeo@localhost/a", "a")
        romeo.request(GET)
        juliet = self.connect("juliet@localhost/b", "b")
        self.roster("b", "one")
        self.part()
        # Romeo asks on his node, Juliet's request for him is handled on hers.
        romeo.send("<presence to='juliet@localhost' type='subscribe'/>")
        juliet.send("<presence to='romeo@localhost' type='subscribe'/>")
        store = self.host("a").modules["mod_roster"]
        items = self.await_(store._store.load(ROMEO))  # type: ignore[attr-defined]
        state = items[JID.parse("juliet@localhost")].state
        self.assertEqual((state.ask, state.asked), (True, True))

    def test_blocked(self) -> None:
        """Whom a user blocks on one node is blocked on the other, and not when unblocked."""
        blocker = self.connect("romeo@localhost/a", "a")
        receiver = self.connect("romeo@localhost/b", "b")
        juliet = self.connect("juliet@localhost/b", "b")
        hello = "<message to='romeo@localhost/b' type='chat'><body>hello</body></message>"
        juliet.send(hello)
        receiver.receives("<message from='juliet@localhost/b'/>")
        for action, heard in (("block", 0), ("unblock", 1)):
            blocker.request(
                f"<iq type='set' id='{action}'><{action} xmlns='urn:xmpp:blocking'>"
                f"<item jid='juliet@localhost'/></{action}></iq>"
            )
            juliet.send(hello)
            messages = [stanza for stanza in receiver.received if stanza.kind == "message"]
            self.assertEqual(len(messages), heard, action)

    def test_blocked_by_group(self) -> None:
        """A list that names a group follows the roster, which another node changes."""
        receiver = self.connect("romeo@localhost/b", "b")
        ask = "<iq type='set' id='{}'><query xmlns='jabber:iq:privacy'>{}</query></iq>"
        items = "<item type='group' value='Bores' action='deny' order='1'/>"
        receiver.request(
            f"<iq type='set' id='s'><query xmlns='{ns.ROSTER}'>"
            "<item jid='nurse@localhost'><group>Bores</group></item></query></iq>"
        )
        receiver.request(ask.format("l", f"<list name='x'>{items}</list>"))
        receiver.request(ask.format("d", "<default name='x'/>"))
        juliet = self.connect("juliet@localhost/b", "b")
        self.connect("romeo@localhost/a", "a").request(
            f"<iq type='set' id='s'><query xmlns='{ns.ROSTER}'>"
            "<item jid='juliet@localhost'><group>Bores</group></item></query></iq>"
        )
        juliet.send("<message to='romeo@localhost/b' type='chat'><body>hello</body></message>")
        self.assertNotIn("message", [stanza.kind for stanza in receiver.received])

    def test_nobody_can_tell_that_an_account_does_not_exist(self) -> None:
        """Each node makes up the same salt for a user without an account, as it had for a user."""
        a, b = (self.servers[name].secret for name in "ab")
        self.assertEqual((a, len(a)), (b, 32))

    def test_domains(self) -> None:
        """A domain that is added or removed on one node comes and goes on all of them."""
        a, b = self.servers["a"], self.servers["b"]
        self.await_(a.domains.add("example.org", "dynamic"))
        self.assertIn("example.org", b.hosts)
        self.await_(b.domains.disable("example.org"))
        self.assertNotIn("example.org", a.hosts)
        self.await_(a.domains.enable("example.org"))
        self.await_(a.domains.remove("example.org"))
        self.assertEqual(set(b.hosts), {"localhost"})


class RosterPushTests(ClusterTestCase):
    """Pushes to the clients of another node."""

    modules = {"mod_roster": {}, "mod_presence": {}}

    def part(self) -> None:
        """The servers lose their link."""
        self.cut("a", "b")
        self.run_for(12)

    def pushed(self, resource: str, node: str = "b") -> Client:
        """A client of Romeo's that gets pushes, and whose node remembers the roster."""
        client = self.connect(f"romeo@localhost/{resource}", node)
        client.request(GET)
        return client

    def change(self, client: Client, item: str) -> None:
        """Has a client change Romeo's roster."""
        client.request(f"<iq type='set' id='s'><query xmlns='{ns.ROSTER}'>{item}</query></iq>")

    def pushes(self, client: Client) -> list[bytes]:
        """The items that a client was told of, in any order."""
        found = [s.inner for s in client.received if s.kind == "iq" and s.type == "set"]
        return sorted(inner[inner.index(b"<item") : inner.rindex(b"</query>")] for inner in found)

    def test_pushes_lost_with_the_link(self) -> None:
        """Clients learn what was changed while the nodes had no link, each item once."""
        here, there = self.pushed("b"), self.pushed("a", "a")
        for contact in ("nurse", "tybalt", "paris"):
            self.change(there, f"<item jid='{contact}@localhost'/>")
        here.events.clear()
        self.part()
        self.change(there, "<item jid='juliet@localhost'/>")
        self.change(there, "<item jid='nurse@localhost' name='Nurse'/>")
        self.change(there, "<item jid='paris@localhost' subscription='remove'/>")
        self.change(here, "<item jid='benvolio@localhost'/>")
        here.events.clear()
        there.events.clear()
        self.heal()
        self.run_for(10)
        told = [
            b"<item jid='juliet@localhost' subscription='none'/>",
            b"<item jid='nurse@localhost' subscription='none' name='Nurse'/>",
            b"<item jid='paris@localhost' subscription='remove'/>",
        ]
        self.assertEqual(self.pushes(here), told)
        benvolio = b"<item jid='benvolio@localhost' subscription='none'/>"
        self.assertEqual(self.pushes(there), [benvolio])

    def test_pushes_come_once(self) -> None:
        """With a link, a client is told of a change by the node that makes it, and by no other."""
        here, there = self.pushed("b"), self.pushed("a", "a")
        self.run_for(10)
        here.events.clear()
        self.change(there, "<item jid='juliet@localhost'/>")
        self.run_for(10)
        self.assertEqual(len(self.pushes(here)), 1)


class ForgottenPushTests(RosterPushTests):
    """Nodes that remember next to nothing of what they have changed."""

    def setUp(self) -> None:
        """Starts the servers."""
        self.patch(caches, "KEPT", 1)
        super().setUp()
