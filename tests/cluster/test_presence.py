"""Presence among users of several nodes (RFC 6121 §3, §4)."""

from typing import ClassVar

from twisted.internet.defer import Deferred

from modules.mod_presence import rounds
from mongoosetw.cluster.sessions.feed import Feed
from mongoosetw.hooks.bus import Order
from mongoosetw.hooks.roster import SubscriptionLists
from mongoosetw.xmpp import ns
from tests.cluster.friends import FriendsCase

ROMEO, JULIET = "romeo@localhost", "juliet@localhost"
BIND = f"<iq type='set' id='b'><bind xmlns='{ns.BIND}'><resource>{{}}</resource></bind></iq>"


class PresenceTests(FriendsCase):
    """Romeo is at a, Juliet at b and c; they see each other."""

    def setUp(self) -> None:
        """Makes them friends."""
        super().setUp()
        self.befriend(ROMEO, JULIET)

    def test_initial(self) -> None:
        """§4.2: who comes is seen by the contacts and the user's own resources, and sees them."""
        romeo = self.log_in(f"{ROMEO}/orchard", "a")
        phone = self.connect(f"{JULIET}/phone", "b")
        phone.send("<presence><status>here</status></presence>")
        self.assertEqual(self.seen(romeo), ["available juliet/phone"])
        self.assertEqual(
            sorted(self.seen(phone)), ["available juliet/phone", "available romeo/orchard"]
        )
        laptop = self.connect(f"{JULIET}/laptop", "c")
        laptop.send("<presence/>")
        self.assertEqual(self.seen(romeo), ["available juliet/laptop"])
        self.assertEqual(self.seen(phone), ["available juliet/laptop"])
        self.assertEqual(
            sorted(self.seen(laptop)),
            ["available juliet/laptop", "available juliet/phone", "available romeo/orchard"],
        )

    def test_what_is_shown(self) -> None:
        """§4.3.2: who comes later is shown the whole of the last presence."""
        romeo = self.log_in(f"{ROMEO}/orchard", "a", "<presence><show>away</show></presence>")
        romeo.send("<presence><show>dnd</show><status>busy</status></presence>")
        self.forget(romeo)
        juliet = self.connect(f"{JULIET}/phone", "b")
        juliet.send("<presence/>")
        self.settled()
        shown = [s for s in juliet.received if str(s.from_) == f"{ROMEO}/orchard"]
        self.assertEqual([(s.inner, str(s.to)) for s in shown], [
            (b"<show>dnd</show><status>busy</status>", f"{JULIET}/phone")
        ])  # fmt: skip

    def _read_rosters_slowly(self) -> Deferred[None]:
        """From now on node a has no roster before what is returned fires."""
        read = Deferred[None]()

        async def slow(event: SubscriptionLists) -> None:
            await read

        hooks = self.host("a").hooks
        hooks.add(SubscriptionLists, Order.FIRST, "test", slow)
        hooks.publish()
        return read

    def test_replaced_while_the_roster_is_read(self) -> None:
        """§4.5: a session is not missed any more when the one in its place is available."""
        self.log_in(f"{ROMEO}/orchard", "a")
        juliet = self.log_in(f"{JULIET}/phone", "a")
        read = self._read_rosters_slowly()
        self.connect(f"{ROMEO}/orchard", "b").send("<presence/>")
        self.assertEqual(self.seen(juliet), ["available romeo/orchard"])
        read.callback(None)
        self.assertEqual(self.seen(juliet), [])

    def test_replaced_before_it_is_told(self) -> None:
        """§4.4: what a client said before it was replaced does not come behind the newer one's."""
        old = self.log_in(f"{ROMEO}/orchard", "a")
        juliet = self.log_in(f"{JULIET}/phone", "a")
        read = self._read_rosters_slowly()
        old.send("<presence><show>away</show></presence>")
        self.connect(f"{ROMEO}/orchard", "b").send("<presence/>")
        self.assertEqual(self.seen(juliet), ["available romeo/orchard"])
        read.callback(None)
        self.assertEqual(self.seen(juliet), [])

    def test_later_presence(self) -> None:
        """§4.4: a change is seen once, and so is the priority by all nodes."""
        romeo = self.log_in(f"{ROMEO}/orchard", "a")
        phone = self.log_in(f"{JULIET}/phone", "b", "<presence><priority>1</priority></presence>")
        laptop = self.log_in(f"{JULIET}/laptop", "c", "<presence><priority>5</priority></presence>")
        phone.send("<presence><priority>7</priority></presence>")
        self.forget(phone, laptop)
        self.assertEqual(
            self.seen(romeo, JULIET),
            ["available juliet/phone", "available juliet/laptop", "available juliet/phone"],
        )
        romeo.send(f"<message to='{JULIET}' type='chat'><body>hello</body></message>")
        self.settled()
        self.assertEqual((len(phone.received), len(laptop.received)), (1, 0))

    def test_unavailable(self) -> None:
        """§4.5: who goes, by a stanza, by closing or by losing the stream, is seen to go once."""
        romeo = self.log_in(f"{ROMEO}/orchard", "a")
        for resource, node in (("one", "b"), ("two", "c"), ("three", "b")):
            client = self.log_in(f"{JULIET}/{resource}", node)
            self.forget(romeo)
            if resource == "one":
                client.send("<presence type='unavailable'><status>night</status></presence>")
                client.send("</stream:stream>")
            elif resource == "two":
                client.send("</stream:stream>")
            else:
                client.lose()
            self.assertEqual(self.seen(romeo), [f"unavailable juliet/{resource}"])

    def test_directed(self) -> None:
        """§4.6: who got directed presence from a stranger is told of the end."""
        nurse = self.connect("nurse@localhost/room", "b")
        stranger = self.connect("stranger@localhost/street", "a")
        stranger.send("<presence to='nurse@localhost/room'/>")
        self.assertEqual(self.seen(nurse), ["available stranger/street"])
        stranger.lose()
        self.assertEqual(self.seen(nurse), ["unavailable stranger/street"])

    def test_probe(self) -> None:
        """§4.3: a client's own probe is answered by what is at all nodes."""
        self.log_in(f"{JULIET}/phone", "b")
        self.log_in(f"{JULIET}/laptop", "c")
        romeo = self.log_in(f"{ROMEO}/orchard", "a")
        romeo.send(f"<presence to='{JULIET}' type='probe'/>")
        self.assertEqual(
            sorted(self.seen(romeo)), ["available juliet/laptop", "available juliet/phone"]
        )
        stranger = self.log_in("stranger@localhost/street", "c")
        stranger.send(f"<presence to='{JULIET}' type='probe'/>")
        self.assertEqual(self.seen(stranger), [])

    def test_probe_of_nobody(self) -> None:
        """§4.3.2: without anybody there, the answer is that the contact is unavailable."""
        romeo = self.log_in(f"{ROMEO}/orchard", "a")
        romeo.send(f"<presence to='{JULIET}' type='probe'/>")
        self.assertEqual(self.seen(romeo), ["unavailable juliet"])

    def test_replaced(self) -> None:
        """A client that comes back at another node is seen there, whoever says goodbye late."""
        romeo = self.log_in(f"{ROMEO}/orchard", "a")
        old = self.log_in(f"{JULIET}/phone", "b")
        self.forget(romeo)
        new = self.connect(f"{JULIET}/phone", "c")
        new.send("<presence><status>again</status></presence>")
        self.assertEqual(self.seen(romeo)[-1], "available juliet/phone")
        self.assertIn(b"<conflict", old.output())
        self.assertEqual(self.node_of(new), "c")


class SlowPresenceTests(FriendsCase):
    """What is sent takes a while from node to node."""

    latency = (0.05, 0.05)

    def setUp(self) -> None:
        """Makes friends."""
        super().setUp()
        self.befriend(ROMEO, JULIET)

    def settled(self) -> None:
        """Lets all that was sent arrive."""
        self.run_for(0.5)

    def test_at_once(self) -> None:
        """Two who become available at the same instant at two nodes see each other, once."""
        romeo = self.connect(f"{ROMEO}/orchard", "a")
        juliet = self.connect(f"{JULIET}/balcony", "b")
        self.settled()
        romeo.send("<presence/>")
        juliet.send("<presence/>")
        self.settled()
        self.assertEqual(self.seen(romeo, JULIET), ["available juliet/balcony"])
        self.assertEqual(self.seen(juliet, ROMEO), ["available romeo/orchard"])

    def test_at_once_in_any_order(self) -> None:
        """However far apart they become available, each sees the other once."""
        for n in range(1, 12):
            romeo = self.connect(f"{ROMEO}/{n}", "a")
            juliet = self.connect(f"{JULIET}/{n}", "b")
            self.settled()
            romeo.send("<presence/>")
            self.run_for(n * 0.01)
            juliet.send("<presence/>")
            self.settled()
            self.assertEqual(self.seen(romeo, f"{JULIET}/"), [f"available juliet/{n}"])
            self.assertEqual(self.seen(juliet, f"{ROMEO}/"), [f"available romeo/{n}"])
            romeo.send("</stream:stream>")
            juliet.send("</stream:stream>")
            self.settled()

    def test_shown_to_an_earlier_one(self) -> None:
        """Who was shown to a client, and hides, is not shown to another one of its address."""
        romeo = self.log_in(f"{ROMEO}/orchard", "a")
        old = self.connect(f"{JULIET}/phone", "b")
        self.settled()
        self.cluster.network.wire("a", "b").slower = 0.3
        old.send("<presence/>")
        self.run_for(0.08)  # romeo is being shown
        new = self.connect(f"{JULIET}/phone", "b")
        self.run_for(0.12)
        romeo.send("<presence type='unavailable'/>")
        new.send("<presence/>")
        self.run_for(2)
        self.assertNotIn("available romeo/orchard", self.seen(new, ROMEO)[-1:])

    def test_replaced(self) -> None:
        """The old node's late goodbye does not hide the new session."""
        romeo = self.log_in(f"{ROMEO}/orchard", "a")
        self.log_in(f"{JULIET}/phone", "b")
        self.forget(romeo)
        self.cluster.network.wire("b", "a").slower = 0.2
        self.cluster.network.wire("c", "b").slower = 0.2
        new = self.connect(f"{JULIET}/phone", "c")
        new.send("<presence/>")
        self.run_for(1)
        self.assertEqual(self.seen(romeo)[-1], "available juliet/phone")


class LossTests(FriendsCase):
    """A node is lost, or the net splits."""

    modules: ClassVar = {**FriendsCase.modules, "mod_privacy": {}, "mod_blocking": {}}

    def setUp(self) -> None:
        """Romeo at a and c, Juliet at b and c."""
        super().setUp()
        self.befriend(ROMEO, JULIET)
        self.romeo = self.log_in(f"{ROMEO}/orchard", "a")
        self.romeo2 = self.log_in(f"{ROMEO}/street", "c")
        self.juliet = self.log_in(f"{JULIET}/balcony", "b")
        self.juliet2 = self.log_in(f"{JULIET}/hall", "c")
        self.stranger = self.log_in("stranger@localhost/street", "a")
        self.forget(self.romeo, self.romeo2, self.juliet, self.juliet2)

    def test_killed(self) -> None:
        """Each contact, and the user's other resource, sees the lost client go once."""
        self.kill("b")
        self.assertEqual(self.seen(self.romeo), ["unavailable juliet/balcony"])
        self.assertEqual(self.seen(self.romeo2), ["unavailable juliet/balcony"])
        self.assertEqual(self.seen(self.juliet2), ["unavailable juliet/balcony"])
        self.assertEqual(self.seen(self.stranger), [])

    def test_split_and_healed(self) -> None:
        """After a netsplit all see one another again, once."""
        self.cut("a", "b")
        self.run_for(12)
        self.assertEqual(self.seen(self.romeo), ["unavailable juliet/balcony"])
        self.assertEqual(self.seen(self.juliet), ["unavailable romeo/orchard"])
        self.assertEqual(self.seen(self.romeo2), [])
        self.heal()
        self.run_for(12)
        self.assertEqual(self.seen(self.romeo), ["available juliet/balcony"])
        self.assertEqual(self.seen(self.juliet), ["available romeo/orchard"])
        self.assertEqual(self.seen(self.romeo2), [])
        self.assertEqual(self.seen(self.stranger), [])

    def test_many(self) -> None:
        """All are told, with pauses after some of them, and of what happened first first."""
        self.patch(rounds, "PORTION", 1)
        romeos = [self.log_in(f"{ROMEO}/{number}", "a") for number in range(5)]
        self.forget(self.romeo, *romeos)
        self.cut("a", "b")
        self.run_for(12)
        self.heal()
        self.run_for(12)
        told = ["unavailable juliet/balcony", "available juliet/balcony"]
        for client in (self.romeo, *romeos):
            self.assertEqual(self.seen(client, JULIET), told)

    def test_unknown_to_the_other(self) -> None:
        """Clients of a node whose sessions another one does not know yet see those of that one go,
        whom they have seen elsewhere before."""
        self.cut("a", "b")
        self.run_for(12)
        self.patch(Feed, "pump", lambda feed: None)
        self.heal()
        self.run_for(5)
        self.assertIn("b", self.servers["a"].mesh.peers)
        again = self.log_in(f"{JULIET}/hall", "b")
        self.forget(self.romeo)
        again.send("</stream:stream>")
        self.assertEqual(self.seen(self.romeo), ["unavailable juliet/hall"])

    def test_about_to_be_replaced(self) -> None:
        """A client whose address is wanted elsewhere is told of its contacts until then."""
        self.freeze("b")
        again = self.connect(f"{JULIET}/balcony", "c", bind=False)
        again.send(BIND.format("balcony"))
        self.settled()
        self.romeo2.send("<presence type='unavailable'/>")
        self.settled()
        self.thaw("b")
        self.settled()
        self.assertEqual(self.seen(self.juliet, ROMEO), ["unavailable romeo/street"])

    def test_replaced_and_lost(self) -> None:
        """Who is replaced by a client that is not available, and is lost before it could say
        goodbye, is seen to go."""
        self.cut("b", "a")
        self.connect(f"{JULIET}/balcony", "c")
        self.settled()
        self.assertEqual(self.seen(self.romeo2), ["unavailable juliet/balcony"])
        self.assertEqual(self.seen(self.romeo), [])
        self.run_for(12)
        self.assertEqual(self.seen(self.romeo), ["unavailable juliet/balcony"])

    def test_hidden(self) -> None:
        """Whom a lost client has hidden from does not learn that it was there."""
        self.juliet.request(
            "<iq type='set' id='b'><block xmlns='urn:xmpp:blocking'>"
            f"<item jid='{ROMEO}'/></block></iq>"
        )
        self.forget(self.romeo, self.romeo2, self.juliet2)
        self.kill("b")
        self.assertEqual(self.seen(self.romeo), [])
        self.assertEqual(self.seen(self.juliet2), ["unavailable juliet/balcony"])

    def test_directed(self) -> None:
        """§4.6: who got directed presence from a client of a lost node sees it go, even if that had
        not said to all that it was there; not if it had taken it back."""
        silent = self.connect("silent@localhost/phone", "b")
        for client in (silent, self.juliet):
            client.send(f"<presence to='{self.stranger.jid}'/>")
        silent.send(f"<presence to='{self.juliet2.jid}'/>")
        silent.send(f"<presence to='{self.juliet2.jid}' type='unavailable'/>")
        self.forget(self.stranger, self.juliet2)
        self.kill("b")
        told = ["unavailable juliet/balcony", "unavailable silent/phone"]
        self.assertEqual(sorted(self.seen(self.stranger)), told)
        self.assertEqual(self.seen(self.juliet2), ["unavailable juliet/balcony"])

    def test_left(self) -> None:
        """Clients of a node that leaves say goodbye themselves, once."""
        self.leave("b")
        self.assertEqual(self.seen(self.romeo), ["unavailable juliet/balcony"])


class SubscriptionTests(FriendsCase):
    """§3: sender and recipient at different nodes, both with several resources."""

    def setUp(self) -> None:
        """Connects all; each asks for the roster."""
        super().setUp()
        self.romeo = [self.log_in(f"{ROMEO}/{n}", n) for n in "ab"]
        self.juliet = [self.log_in(f"{JULIET}/{n}", n) for n in "bc"]
        for client in (*self.romeo, *self.juliet):
            client.request(f"<iq type='get' id='r'><query xmlns='{ns.ROSTER}'/></iq>")
        self.forget(*self.romeo, *self.juliet)

    def pushed(self, *clients: object) -> list[bytes]:
        """What all clients were pushed since the last time; each has to get the same."""
        self.settled()
        found = []
        for client in clients:
            found.append(b"".join(s.inner for s in client.received if s.kind == "iq"))  # type: ignore[attr-defined]
        self.assertEqual(len(set(found)), 1, found)
        return found

    def test_handshake(self) -> None:
        """Request, approval and presence reach all resources, wherever they are, once."""
        self.romeo[0].send(f"<presence to='{JULIET}' type='subscribe'/>")
        self.assertIn(b"ask='subscribe'", self.pushed(*self.romeo)[0])
        for client in self.juliet:
            self.assertEqual(self.seen(client), ["subscribe romeo"])
        self.forget(*self.romeo)
        self.juliet[1].send(f"<presence to='{ROMEO}' type='subscribed'/>")
        self.assertIn(b"subscription='from'", self.pushed(*self.juliet)[0])
        self.assertIn(b"subscription='to'", self.pushed(*self.romeo)[0])
        for client in self.romeo:
            self.assertEqual(
                sorted(self.seen(client)),
                ["available juliet/b", "available juliet/c", "subscribed juliet"],
            )
        self.assertEqual([self.seen(client) for client in self.juliet], [[], []])

    def test_cancelled(self) -> None:
        """§3.2: whose subscription is cancelled sees all resources go."""
        self.test_handshake()
        self.forget(*self.romeo, *self.juliet)
        self.juliet[0].send(f"<presence to='{ROMEO}' type='unsubscribed'/>")
        for client in self.romeo:
            self.assertEqual(
                sorted(self.seen(client)),
                ["unavailable juliet/b", "unavailable juliet/c", "unsubscribed juliet"],
            )

    def test_unsubscribed(self) -> None:
        """§3.3: who cancels the subscription to a contact sees the contact no longer."""
        self.test_handshake()
        self.forget(*self.romeo, *self.juliet)
        self.romeo[1].send(f"<presence to='{JULIET}' type='unsubscribe'/>")
        for client in self.romeo:
            self.assertEqual(
                sorted(self.seen(client)), ["unavailable juliet/b", "unavailable juliet/c"]
            )
        for client in self.juliet:
            self.assertEqual(self.seen(client), ["unsubscribe romeo"])
        self.juliet[0].send("<presence><show>away</show></presence>")
        self.assertEqual([self.seen(client) for client in self.romeo], [[], []])

    def test_removed(self) -> None:
        """§2.5.2: whom a contact removes from the roster sees all resources go, once."""
        self.test_handshake()
        self.forget(*self.romeo, *self.juliet)
        item = f"<item jid='{ROMEO}' subscription='remove'/>"
        self.juliet[1].send(f"<iq type='set' id='s'><query xmlns='{ns.ROSTER}'>{item}</query></iq>")
        for client in self.romeo:
            seen = [line for line in self.seen(client) if line.startswith("unavailable")]
            self.assertEqual(sorted(seen), ["unavailable juliet/b", "unavailable juliet/c"])

    def test_request_waits(self) -> None:
        """§3.1.3: a request is shown at the next login, at whatever node."""
        self.connect("nurse@localhost/x", "c").send(f"<presence to='{JULIET}' type='subscribe'/>")
        again = self.connect(f"{JULIET}/again", "a")
        again.send("<presence/>")
        self.assertIn("subscribe nurse", self.seen(again))
