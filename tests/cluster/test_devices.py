"""A user's devices on several nodes, and what modules do for all of them."""

from typing import ClassVar

from mongoosetw.testing.client import Client
from mongoosetw.xmpp import ns
from mongoosetw.xmpp.jid import JID
from tests.cluster.friends import FriendsCase

ROMEO, JULIET = "romeo@localhost", "juliet@localhost"
BLOCK = "<iq type='set' id='b'><{0} xmlns='urn:xmpp:blocking'><item jid='{1}'/></{0}></iq>"
PRIVACY = "<iq type='set' id='p'><query xmlns='jabber:iq:privacy'>{}</query></iq>"


def bodies(client: Client) -> list[str]:
    """The texts of the messages that a client has got, and how: by itself or as a copy."""
    found = []
    for stanza in client.received:
        if stanza.kind == "message":
            copied = [tag for namespace, tag in stanza.children if namespace == ns.CARBONS]
            text = stanza.inner.decode().partition("<body>")[2].partition("</body>")[0]
            found.append(f"{copied[0]} {text}" if copied else text)
    client.events.clear()
    return found


class CarbonsTests(FriendsCase):
    """XEP-0280: each device gets each message once, whichever nodes they are at."""

    modules: ClassVar = {**FriendsCase.modules, "mod_carboncopy": {}}

    def devices(self, nodes: str, priorities: str = "000") -> list[Client]:
        """Juliet's devices, with carbons, at these nodes."""
        clients = []
        for n, (node, priority) in enumerate(zip(nodes, priorities, strict=True)):
            presence = f"<presence><priority>{priority}</priority></presence>"
            client = self.log_in(f"{JULIET}/{n}", node, presence)
            client.request(f"<iq type='set' id='c'><enable xmlns='{ns.CARBONS}'/></iq>")
            clients.append(client)
        self.forget(*clients)
        return clients

    def leave_all(self, clients: list[Client]) -> None:
        """The devices go."""
        for client in clients:
            client.send("</stream:stream>")
        self.settled()

    def test_copies(self) -> None:
        """What one device gets or sends the others see."""
        romeo = self.log_in(f"{ROMEO}/orchard", "a")
        for nodes in ("abc", "bbc", "cab", "bca", "bbb", "aab"):
            devices = self.devices(nodes)
            romeo.send(f"<message to='{JULIET}/0' type='chat'><body>full</body></message>")
            self.settled()
            got = [bodies(client) for client in devices]
            self.assertEqual(got, [["full"], ["received full"], ["received full"]], nodes)
            romeo.send(f"<message to='{JULIET}' type='chat'><body>bare</body></message>")
            self.settled()
            got = [bodies(client) for client in devices]
            self.assertEqual(got, [["bare"], ["bare"], ["bare"]], nodes)
            devices[1].send(
                f"<message to='{ROMEO}/orchard' type='chat'><body>sent</body></message>"
            )
            self.settled()
            got = [bodies(client) for client in devices]
            self.assertEqual(got, [["sent sent"], [], ["sent sent"]], nodes)
            self.leave_all(devices)

    def test_priorities(self) -> None:
        """A message for the account comes to the most available, the others get a copy."""
        romeo = self.log_in(f"{ROMEO}/orchard", "a")
        for nodes in ("abc", "bbc", "cab", "bca", "bab"):
            for priorities in ("551", "155", "100", "012"):
                devices = self.devices(nodes, priorities)
                romeo.send(f"<message to='{JULIET}' type='chat'><body>x</body></message>")
                self.settled()
                most = max(priorities)
                wanted = [["x"] if p == most else ["received x"] for p in priorities]
                got = [bodies(client) for client in devices]
                self.assertEqual(got, wanted, f"{nodes} {priorities}")
                self.leave_all(devices)

    def test_to_oneself(self) -> None:
        """What one device sends to another one of the user's is not doubled."""
        one, two, three = self.devices("abc")
        one.send(f"<message to='{JULIET}/1' type='chat'><body>note</body></message>")
        self.settled()
        got = [bodies(client) for client in (one, two, three)]
        self.assertEqual(got, [[], ["note"], ["received note"]])

    def test_switched_off(self) -> None:
        """A device that wants copies no longer gets none, from any node."""
        romeo = self.log_in(f"{ROMEO}/orchard", "a")
        one, two, _ = self.devices("abc")
        two.request(f"<iq type='set' id='c'><disable xmlns='{ns.CARBONS}'/></iq>")
        romeo.send(f"<message to='{JULIET}/0' type='chat'><body>x</body></message>")
        self.settled()
        self.assertEqual((bodies(one), bodies(two)), (["x"], []))


class BlockingTests(FriendsCase):
    """XEP-0191, XEP-0016: what a user blocks at one node is blocked at all."""

    modules: ClassVar = {
        **FriendsCase.modules, "mod_privacy": {}, "mod_blocking": {}, "mod_carboncopy": {},
    }  # fmt: skip

    def setUp(self) -> None:
        """Romeo at a, Juliet at b and c, friends; Juliet's clients know of blocking."""
        super().setUp()
        self.befriend(ROMEO, JULIET)
        self.romeo = self.log_in(f"{ROMEO}/orchard", "a")
        self.juliet = [self.log_in(f"{JULIET}/{node}", node) for node in "bc"]
        for client in self.juliet:
            client.request("<iq type='get' id='l'><blocklist xmlns='urn:xmpp:blocking'/></iq>")
        self.forget(self.romeo, *self.juliet)

    def test_blocked_at_once(self) -> None:
        """Messages to any device are refused, and all devices are pushed the change."""
        self.juliet[0].request(BLOCK.format("block", ROMEO))
        for client in self.juliet:
            pushes = [s for s in client.received if s.kind == "iq" and s.type == "set"]
            self.assertEqual(len([s for s in pushes if s.has("urn:xmpp:blocking", "block")]), 1)
            client.events.clear()
        for node in "bc":
            self.forget(self.romeo)
            self.romeo.send(f"<message to='{JULIET}/{node}' type='chat'><body>x</body></message>")
            self.assertIn(b"<service-unavailable", self.romeo.take().inner)
        self.juliet[1].send(f"<message to='{ROMEO}' type='chat'><body>x</body></message>")
        self.assertIn(b"<not-acceptable", self.juliet[1].take().inner)

    def test_presence(self) -> None:
        """§3.3, §3.4: the blocked contact sees all devices go and, unblocked, come back, once."""
        self.juliet[0].request(BLOCK.format("block", ROMEO))
        self.assertEqual(
            sorted(self.seen(self.romeo)), ["unavailable juliet/b", "unavailable juliet/c"]
        )
        for client in self.juliet:
            self.assertEqual(self.seen(client), ["unavailable romeo/orchard"])
        self.juliet[1].send("<presence><show>away</show></presence>")
        self.romeo.send("<presence><show>away</show></presence>")
        self.romeo.send(f"<presence to='{JULIET}' type='probe'/>")
        self.forget(*self.juliet)
        self.assertEqual([s for s in self.seen(self.romeo, JULIET) if "/" in s], [])
        self.juliet[1].request(BLOCK.format("unblock", ROMEO))
        self.assertEqual(
            sorted(self.seen(self.romeo)), ["available juliet/b", "available juliet/c"]
        )
        for client in self.juliet:
            self.assertEqual(self.seen(client), ["available romeo/orchard"])

    def test_new_session_of_a_blocked_contact(self) -> None:
        """Who is blocked and logs in at another node sees nobody, and is seen by nobody."""
        self.juliet[0].request(BLOCK.format("block", ROMEO))
        self.forget(*self.juliet)
        again = self.connect(f"{ROMEO}/again", "c")
        again.send("<presence/>")
        self.assertEqual(self.seen(again, JULIET), [])
        self.assertEqual([self.seen(client) for client in self.juliet], [[], []])

    def test_active_list(self) -> None:
        """An active list of one device hides that one alone, whatever node looks."""
        items = "<item action='deny' order='1'><presence-out/><message/></item>"
        self.juliet[0].request(PRIVACY.format(f"<list name='away'>{items}</list>"))
        self.juliet[0].request(PRIVACY.format("<active name='away'/>"))
        self.assertEqual(self.seen(self.romeo), ["unavailable juliet/b"])
        self.forget(*self.juliet)
        self.romeo.send(f"<message to='{JULIET}/c' type='chat'><body>x</body></message>")
        self.settled()
        self.assertEqual(bodies(self.juliet[1]), ["x"])
        self.romeo.send(f"<message to='{JULIET}/b' type='chat'><body>x</body></message>")
        self.assertIn(b"<service-unavailable", self.romeo.take().inner)
        self.romeo.send(f"<presence to='{JULIET}' type='probe'/>")
        self.assertEqual(self.seen(self.romeo), ["available juliet/c"])

    def test_active_list_that_allows(self) -> None:
        """A device's own list counts for it, also where the default denies."""
        self.juliet[0].request(BLOCK.format("block", ROMEO))
        items = "<item action='allow' order='1'/>"
        self.juliet[1].request(PRIVACY.format(f"<list name='open'>{items}</list>"))
        self.juliet[1].request(PRIVACY.format("<active name='open'/>"))
        self.forget(self.romeo, *self.juliet)
        self.romeo.send(f"<message to='{JULIET}/c' type='chat'><body>x</body></message>")
        self.settled()
        self.assertEqual(bodies(self.juliet[1]), ["x"])

    def test_list_in_use_elsewhere(self) -> None:
        """XEP-0016 §2.8: a list that a device at another node uses is not removed."""
        items = "<item action='deny' order='1'/>"
        self.juliet[0].request(PRIVACY.format(f"<list name='l'>{items}</list>"))
        self.juliet[0].request(PRIVACY.format("<active name='l'/>"))
        answer = self.juliet[1].request(PRIVACY.format("<list name='l'/>"))
        self.assertIn(b"<conflict", answer.inner)


class OtherModulesTests(FriendsCase):
    """What else looks at the sessions of other nodes."""

    modules: ClassVar = {
        **FriendsCase.modules,
        "mod_last": {}, "mod_csi": {}, "mod_register": {}, "mod_mam": {},
        "mod_ping": {"send_pings": True, "ping_interval": 60.0, "ping_req_timeout": 30.0},
    }  # fmt: skip

    def test_roster_push(self) -> None:
        """RFC 6121 §2.1.6: all interested devices are pushed a change, no other one is."""
        clients = [self.log_in(f"{JULIET}/{node}", node) for node in "abc"]
        for client in clients[:2]:
            client.request(f"<iq type='get' id='r'><query xmlns='{ns.ROSTER}'/></iq>")
        self.forget(*clients)
        item = "<item jid='nurse@localhost' name='Nurse'/>"
        clients[1].request(f"<iq type='set' id='s'><query xmlns='{ns.ROSTER}'>{item}</query></iq>")
        self.settled()
        pushes = [[s for s in client.received if s.kind == "iq"] for client in clients]
        self.assertEqual([len(some) for some in pushes], [1, 1, 0])
        self.assertIn(b"name='Nurse'", pushes[0][0].inner)
        self.assertEqual(str(pushes[0][0].to), f"{JULIET}/a")

    def test_last_activity(self) -> None:
        """XEP-0012 §4: who is available at another node is there now."""
        self.befriend(ROMEO, JULIET)
        romeo = self.log_in(f"{ROMEO}/orchard", "a")
        juliet = self.log_in(f"{JULIET}/balcony", "b")
        ask = f"<iq to='{JULIET}' type='get' id='l'><query xmlns='jabber:iq:last'/></iq>"
        self.assertIn(b"seconds='0'", romeo.request(ask).inner)
        juliet.send("<presence type='unavailable'><status>night</status></presence>")
        self.settled()
        self.assertIn(b"night", romeo.request(ask).inner)

    def test_inactive_client(self) -> None:
        """XEP-0352: presence from another node waits until it is wanted, a message does not."""
        self.befriend(ROMEO, JULIET)
        juliet = self.log_in(f"{JULIET}/balcony", "b")
        juliet.send(f"<inactive xmlns='{ns.CSI}'/>")
        romeo = self.log_in(f"{ROMEO}/orchard", "a")
        self.assertEqual(juliet.received, [])
        romeo.send(f"<message to='{JULIET}/balcony' type='chat'><body>x</body></message>")
        self.settled()
        self.assertEqual([s.kind for s in juliet.received], ["presence", "message"])

    def test_removed_account(self) -> None:
        """XEP-0077 §3.2: when an account is cancelled its sessions end at all nodes."""
        one, two = (self.log_in(f"{JULIET}/{node}", node) for node in "ab")
        one.request(f"<iq type='set' id='r'><query xmlns='{ns.REGISTER}'><remove/></query></iq>")
        self.run_for(1)
        for client in (one, two):
            self.assertIn(b"<not-authorized", client.output())
        self.assertEqual(self.host("c").sessions.of(JID.parse(JULIET)), ())

    def test_archive_preferences(self) -> None:
        """XEP-0441: preferences that are set at one node count at the others at once."""
        romeo = self.log_in(f"{ROMEO}/orchard", "a")
        juliet = self.log_in(f"{JULIET}/balcony", "b")
        hello = f"<message to='{JULIET}/balcony' type='chat'><body>{{}}</body></message>"
        romeo.send(hello.format("first"))  # node a remembers that Juliet has no preferences
        never = f"<never><jid>{ROMEO}</jid></never>"
        juliet.request(
            f"<iq type='set' id='p'><prefs xmlns='{ns.MAM}' default='always'>{never}</prefs></iq>"
        )
        romeo.send(hello.format("second"))
        self.forget(juliet)
        juliet.send(f"<iq type='set' id='q'><query xmlns='{ns.MAM}'/></iq>")
        self.settled()
        found = b"".join(stanza.inner for stanza in juliet.received)
        self.assertEqual((b"first" in found, b"second" in found), (True, False))

    def test_pings(self) -> None:
        """XEP-0199: a client is pinged by its own node alone, and may ping one of another node."""
        romeo = self.log_in(f"{ROMEO}/orchard", "a")
        juliet = self.log_in(f"{JULIET}/balcony", "b")
        self.run_for(61)
        self.assertEqual([len(client.received) for client in (romeo, juliet)], [1, 1])
        self.forget(romeo, juliet)
        romeo.send(f"<iq to='{JULIET}/balcony' type='get' id='1'><ping xmlns='{ns.PING}'/></iq>")
        juliet.receives(f"<iq from='{ROMEO}/orchard' type='get' id='1'/>")
        juliet.send(f"<iq to='{ROMEO}/orchard' type='result' id='1'/>")
        romeo.receives("<iq type='result' id='1'/>")
        romeo.send(f"<iq to='{JULIET}' type='get' id='2'><ping xmlns='{ns.PING}'/></iq>")
        romeo.receives("<iq type='result' id='2'/>")
