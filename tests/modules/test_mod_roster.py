"""mod_roster and mod_presence: rosters, subscriptions, and who sees whom."""

from twisted.internet.defer import Deferred

from modules.mod_roster import rules
from mongoosetw.hooks.bus import Order
from mongoosetw.hooks.roster import RosterChanged, RosterGet
from mongoosetw.hooks.routing import FilterLocalPacket
from mongoosetw.testing.client import Client
from mongoosetw.testing.server import ServerTestCase
from mongoosetw.xmpp import ns

GET = f"<iq type='get' id='r'><query xmlns='{ns.ROSTER}'/></iq>"
SET = f"<iq type='set' id='s'><query xmlns='{ns.ROSTER}'>{{}}</query></iq>"


class RosterTestCase(ServerTestCase):
    """Two users who know nothing of one another."""

    modules = {"mod_roster": {}, "mod_presence": {}}

    def setUp(self) -> None:
        """Logs both in."""
        super().setUp()
        self.romeo = self.connect("romeo@localhost/a")
        self.juliet = self.connect("juliet@localhost/b")

    def befriend(self) -> None:
        """Both subscribe to one another, both are available, nothing is left unread."""
        for client in (self.romeo, self.juliet):
            client.send("<presence/>")
        self.romeo.send("<presence to='juliet@localhost' type='subscribe'/>")
        self.juliet.send("<presence to='romeo@localhost' type='subscribed'/>")
        self.juliet.send("<presence to='romeo@localhost' type='subscribe'/>")
        self.romeo.send("<presence to='juliet@localhost' type='subscribed'/>")
        for client in (self.romeo, self.juliet):
            client.pump()
            client.events.clear()

    def subscription(self, client: Client) -> str:
        """The roster items of a client as the server tells them."""
        return client.request(GET).inner.decode()


class AskedTests(RosterTestCase):
    """What other modules can ask for."""

    def test_roster(self) -> None:
        """A module gets a user's contacts, not those who only wait for an answer."""
        self.romeo.request(SET.format("<item jid='a@b' name='A'/>"))
        self.juliet.send("<presence to='romeo@localhost' type='subscribe'/>")
        event = RosterGet(self.romeo.jid.bare)
        self.await_(self.host.hooks.run(event))
        self.assertEqual([(str(item.jid), item.name) for item in event.items], [("a@b", "A")])

    def test_changes(self) -> None:
        """A module is told of each change of a roster, with the subscription as it is then."""
        told: list[tuple[str, str, str]] = []

        def note(event: RosterChanged) -> None:
            told.append((str(event.user), str(event.contact), event.subscription))

        self.host.hooks.add(RosterChanged, 50, "test", note)
        self.host.hooks.publish()
        self.befriend()
        self.romeo.request(SET.format("<item jid='juliet@localhost' subscription='remove'/>"))
        of_romeo = [said for user, _, said in told if user == "romeo@localhost"]
        self.assertEqual(of_romeo, ["none", "to", "to", "both", "remove"])


class MetricTests(RosterTestCase):
    """What is counted."""

    def count(self, name: str) -> float:
        """A series of the test's domain."""
        return self.metric(name, host_type="localhost")

    def test_requests(self) -> None:
        """Rosters that were asked for, changes and pushes are counted."""
        names = [f"mod_roster_{what}_count" for what in ("get", "set", "push")]
        before = [self.count(name) for name in names]
        self.romeo.request(GET)
        self.romeo.request(SET.format("<item jid='a@b'/>"))
        self.assertEqual([self.count(name) for name in names], [n + 1 for n in before])

    def test_subscriptions(self) -> None:
        """Subscriptions are counted when they begin and when they end, from either side."""
        begun = "sm_presence_subscription_subscription_count"
        ended = "sm_presence_subscription_unsubscription_count"
        before, gone = self.count(begun), self.count(ended)
        self.befriend()
        self.assertEqual(self.count(begun), before + 2)
        self.romeo.send("<presence to='juliet@localhost' type='subscribe'/>")
        self.assertEqual(self.count(begun), before + 2)
        self.romeo.send("<presence to='juliet@localhost' type='unsubscribe'/>")
        self.assertEqual(self.count(ended), gone + 1)
        self.juliet.request(SET.format("<item jid='romeo@localhost' subscription='remove'/>"))
        self.assertEqual(self.count(ended), gone + 2)


class RosterTests(RosterTestCase):
    """Requests (RFC 6121 §2)."""

    def test_add_push_and_get(self) -> None:
        """A new contact is pushed to interested resources, and is in the roster."""
        self.romeo.request(GET)
        item = "<item jid='a@b' name='A &amp; B'><group>X</group></item>"
        self.romeo.send(SET.format(item))
        self.romeo.receives(
            f"<iq type='set'><query xmlns='{ns.ROSTER}'>"
            "<item jid='a@b' name='A &amp; B' subscription='none'><group>X</group></item>"
            "</query></iq>"
        )
        self.romeo.receives("<iq type='result' id='s'/>")
        self.assertIn("jid='a@b'", self.subscription(self.romeo))

    def test_stored(self) -> None:
        """The roster comes back from the database."""
        self.romeo.request(SET.format("<item jid='a@b'><group>X</group></item>"))
        roster = self.host.modules["mod_roster"]
        roster.rosters.forget(self.romeo.jid.bare)  # type: ignore[attr-defined]
        self.assertIn("<group>X</group>", self.subscription(self.romeo))

    def test_remove(self) -> None:
        """A removed contact is gone; an unknown one is item-not-found."""
        remove = SET.format("<item jid='a@b' subscription='remove'/>")
        self.assertIn(b"item-not-found", self.romeo.request(remove).inner)
        self.romeo.request(SET.format("<item jid='a@b'/>"))
        self.assertEqual(self.romeo.request(remove).type, "result")
        self.assertNotIn("a@b", self.subscription(self.romeo))

    def test_bad_requests(self) -> None:
        """Wrong items get the errors of §2.3.3."""
        cases = {
            "<item jid='a@b'/><item jid='c@d'/>": b"bad-request",
            "<item/>": b"bad-request",
            "<item jid='@'/>": b"jid-malformed",
            "<item jid='a@b'><group/></item>": b"not-acceptable",
            "<item jid='a@b'><group>x</group><group>x</group></item>": b"bad-request",
        }
        for item, condition in cases.items():
            self.assertIn(condition, self.romeo.request(SET.format(item)).inner)

    def test_someone_elses(self) -> None:
        """Another user's roster is forbidden."""
        query = f"<iq type='get' id='r' to='juliet@localhost'><query xmlns='{ns.ROSTER}'/></iq>"
        self.assertIn(b"forbidden", self.romeo.request(query).inner)


class SubscriptionTests(RosterTestCase):
    """Subscriptions (RFC 6121 §3) and what they let through (§4)."""

    def test_subscribe_and_approve(self) -> None:
        """A request is shown, approved, and both rosters say so; presence follows."""
        self.romeo.send("<presence/>")
        self.juliet.send("<presence/>")
        self.juliet.take()
        self.romeo.take()
        self.romeo.send("<presence to='juliet@localhost/any' type='subscribe'/>")
        self.assertIn("ask='subscribe'", self.subscription(self.romeo))
        self.juliet.receives(
            "<presence type='subscribe' from='romeo@localhost' to='juliet@localhost'/>"
        )
        self.juliet.send("<presence to='romeo@localhost' type='subscribed'/>")
        self.assertIn("subscription='to'", self.subscription(self.romeo))
        self.assertIn("subscription='from'", self.subscription(self.juliet))
        kinds = [(s.kind, s.type, str(s.from_)) for s in self.romeo.received]
        self.assertIn(("presence", "subscribed", "juliet@localhost"), kinds)
        self.assertIn(("presence", "", "juliet@localhost/b"), kinds)

    def test_presence_behind_the_approval(self) -> None:
        """Presence comes behind the approval that lets it through, however long that takes."""
        waiting: list[Deferred[None]] = []

        def wait(event: FilterLocalPacket) -> Deferred[None] | None:
            if event.stanza.type != "subscribed":
                return None
            waiting.append(Deferred())
            return waiting[-1]

        self.host.hooks.add(FilterLocalPacket, Order.FIRST, "test", wait)
        self.host.hooks.publish()
        for client in (self.romeo, self.juliet):
            client.send("<presence/>")
        self.romeo.send("<presence to='juliet@localhost' type='subscribe'/>")
        self.romeo.pump()
        self.romeo.events.clear()
        self.juliet.send("<presence to='romeo@localhost' type='subscribed'/>")
        self.romeo.nothing()
        waiting.pop().callback(None)
        seen = [(stanza.type, str(stanza.from_)) for stanza in self.romeo.received]
        self.assertEqual(seen, [("subscribed", "juliet@localhost"), ("", "juliet@localhost/b")])

    def test_request_waits_for_login(self) -> None:
        """A request to somebody who is away is shown when they become available."""
        self.romeo.send("<presence to='juliet@localhost' type='subscribe'/>")
        self.juliet.nothing()
        self.juliet.send("<presence/>")
        kinds = [s.type for s in self.juliet.received]
        self.assertIn("subscribe", kinds)

    def test_unknown_user_refuses(self) -> None:
        """A request to nobody is answered with unsubscribed."""
        self.romeo.send("<presence/>")
        self.romeo.take()
        self.romeo.send("<presence to='nobody@localhost' type='subscribe'/>")
        self.assertNotIn("ask", self.subscription(self.romeo))

    def test_unsubscribe(self) -> None:
        """Who unsubscribes sees the contact leave."""
        self.befriend()
        self.romeo.send("<presence to='juliet@localhost' type='unsubscribe'/>")
        self.assertIn("subscription='from'", self.subscription(self.romeo))
        self.assertIn("subscription='to'", self.subscription(self.juliet))
        self.assertIn("unavailable", [s.type for s in self.romeo.received])

    def test_contact_removed(self) -> None:
        """Who removes a contact from the roster is seen to leave by it, once (§2.5.2, §3.2.2)."""
        self.befriend()
        phone = self.connect("romeo@localhost/phone")
        phone.send("<presence><priority>-1</priority></presence>")
        self.juliet.take()
        self.romeo.request(SET.format("<item jid='juliet@localhost' subscription='remove'/>"))
        kinds = {stanza.type for stanza in self.juliet.received}
        gone = [str(s.from_) for s in self.juliet.received if s.type == "unavailable"]
        self.assertEqual(kinds, {"unsubscribe", "unsubscribed", "unavailable"})
        self.assertEqual(gone, ["romeo@localhost/a", "romeo@localhost/phone"])
        self.assertIn("unavailable", [s.type for s in self.romeo.received])

    def test_account_removed(self) -> None:
        """Whose account is removed is seen to leave by the contacts, once (XEP-0077 §3.2)."""
        self.befriend()
        self.await_(self.host.accounts.remove(self.romeo.jid.bare))
        self.romeo.send("</stream:stream>")
        gone = [str(s.from_) for s in self.juliet.received if s.type == "unavailable"]
        self.assertEqual(gone, ["romeo@localhost/a"])

    def test_pre_approval(self) -> None:
        """A subscription approved beforehand is granted at once (§3.4)."""
        self.juliet.send("<presence to='romeo@localhost' type='subscribed'/>")
        self.assertIn("approved='true'", self.subscription(self.juliet))
        self.romeo.send("<presence to='juliet@localhost' type='subscribe'/>")
        self.assertIn("subscription='to'", self.subscription(self.romeo))


class PresenceTests(RosterTestCase):
    """Presence between friends (RFC 6121 §4)."""

    def setUp(self) -> None:
        """Makes friends of the two."""
        super().setUp()
        self.befriend()

    def test_later_presence(self) -> None:
        """A change of status reaches the friend, from the full JID."""
        self.romeo.send("<presence><show>away</show></presence>")
        self.juliet.receives("<presence from='romeo@localhost/a'><show>away</show></presence>")

    def test_unavailable(self) -> None:
        """Going away is told to the friend."""
        self.romeo.send("<presence type='unavailable'><status>bye</status></presence>")
        self.juliet.receives("<presence type='unavailable' from='romeo@localhost/a'/>")

    def test_lost_connection(self) -> None:
        """The server says goodbye for a client whose connection broke."""
        self.romeo.lose()
        self.juliet.receives("<presence type='unavailable' from='romeo@localhost/a'/>")
        self.juliet.nothing()

    def test_new_resource_sees_friends(self) -> None:
        """Who comes in learns who is there."""
        phone = self.connect("romeo@localhost/phone")
        phone.send("<presence/>")
        seen = {str(s.from_) for s in phone.received}
        self.assertEqual(
            seen, {"romeo@localhost/phone", "romeo@localhost/a", "juliet@localhost/b"}
        )

    def test_directed_presence_ends(self) -> None:
        """Who got directed presence is told of the end, though no friend."""
        stranger = self.connect("tybalt@localhost/c")
        self.romeo.send("<presence to='tybalt@localhost/c'/>")
        stranger.receives("<presence from='romeo@localhost/a'/>")
        self.romeo.lose()
        stranger.receives("<presence type='unavailable' from='romeo@localhost/a'/>")

    def test_bad_priority(self) -> None:
        """A priority out of bounds is bad-request."""
        self.romeo.send("<presence id='1'><priority>200</priority></presence>")
        self.assertIn(b"bad-request", self.romeo.take().inner)

    def test_probe(self) -> None:
        """A probe is answered for a friend; a stranger learns nothing."""
        self.romeo.send("<presence to='juliet@localhost' type='probe'/>")
        self.romeo.receives("<presence from='juliet@localhost/b'/>")
        stranger = self.connect("tybalt@localhost/c")
        stranger.send("<presence to='juliet@localhost' type='probe'/>")
        stranger.nothing()


class RulesTests(ServerTestCase):
    """The table of RFC 6121 appendix A."""

    def test_unasked_answers_change_nothing(self) -> None:
        """Answers that nobody asked for change nothing and are not shown (§A.3)."""
        for kind in ("subscribed", "unsubscribed", "unsubscribe"):
            self.assertEqual(rules.inbound(rules.NONE, kind), (rules.NONE, False, ""))

    def test_repeated_request_is_shown_once(self) -> None:
        """A request that is already waiting is not shown again (§A.3.1)."""
        state, shown, _ = rules.inbound(rules.NONE, "subscribe")
        self.assertTrue(shown)
        self.assertFalse(rules.inbound(state, "subscribe")[1])
