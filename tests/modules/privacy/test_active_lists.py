"""Lists that hold for one client of several, and copies of messages."""

from mongoosetw.hooks.privacy import PrivacyCheck
from mongoosetw.xmpp import ns
from mongoosetw.xmpp.jid import JID
from mongoosetw.xmpp.stanza import Stanza
from tests.modules.privacy.case import DENY_ROMEO, PrivacyTestCase

DENY = DENY_ROMEO.format("")
LAST = "<iq type='{}' id='q' to='{}'><query xmlns='jabber:iq:last'/></iq>"


class ActiveListTests(PrivacyTestCase):
    """Lists of one client (§2.2, rules 1 and 2)."""

    def setUp(self) -> None:
        """A second client of juliet's."""
        super().setUp()
        self.phone = self.connect("juliet@localhost/phone")
        self.put(DENY)
        self.put("<item action='allow' order='1'/>", "all")
        for client in (self.juliet, self.phone):
            client.send("<presence/>")
        self.clear()
        self.taken(self.phone)

    def test_only_its_client(self) -> None:
        """An active list concerns one client; another one gets the message."""
        self.use("active")
        self.says(self.romeo, "juliet@localhost/b", "full")
        self.assertEqual(len(self.errors(self.romeo)), 1)
        self.says(self.romeo, "juliet@localhost", "bare")
        self.says(self.romeo, "juliet@localhost/phone", "phone")
        self.assertEqual(self.bodies(self.juliet), [])
        self.assertEqual(self.bodies(self.phone), ["bare", "phone"])
        self.romeo.nothing()

    def test_instead_of_default(self) -> None:
        """An active list holds instead of the default one, for this client alone."""
        self.use("default")
        self.use("active", "all")
        self.says(self.romeo, "juliet@localhost", "bare")
        self.assertEqual(self.bodies(self.juliet), ["bare"])
        self.assertEqual(self.bodies(self.phone), [])
        self.says(self.juliet, "romeo@localhost/a")
        self.says(self.phone, "romeo@localhost/a")
        self.assertEqual(self.bodies(self.romeo), ["x"])
        self.assertEqual(len(self.errors(self.phone)), 1)

    def test_all_deny(self) -> None:
        """A message that every client denies comes back."""
        for client in (self.juliet, self.phone):
            self.use("active", client=client)
        self.says(self.romeo, "juliet@localhost")
        self.assertIn(b"<service-unavailable", self.errors(self.romeo)[0])

    def test_request(self) -> None:
        """A request to the client that denies it comes back, one to the other is delivered."""
        self.use("active")
        asked = LAST.format("get", "juliet@localhost/b")
        self.refused(self.romeo.request(asked), "service-unavailable")
        self.romeo.send(LAST.format("get", "juliet@localhost/phone"))
        self.assertEqual(self.taken(self.phone)[0].kind, "iq")

    def test_ends_with_its_session(self) -> None:
        """The next session of the same address has no active list."""
        self.use("active")
        self.juliet.lose()
        self.juliet = self.connect("juliet@localhost/b")
        self.says(self.romeo, "juliet@localhost/b")
        self.assertEqual(self.bodies(self.juliet), ["x"])

    def test_edited(self) -> None:
        """A changed list holds at once where it is active (§2.2, rule 8)."""
        self.use("active")
        self.put("<item action='allow' order='1'/>", client=self.phone)
        self.clear()
        self.says(self.romeo, "juliet@localhost/b")
        self.assertEqual(self.bodies(self.juliet), ["x"])

    def test_no_copies(self) -> None:
        """No copy of a message reaches the client that denies the message (XEP-0280)."""
        enable = f"<iq type='set' id='c'><enable xmlns='{ns.CARBONS}'/></iq>"
        for client in (self.juliet, self.phone):
            client.request(enable)
        self.use("active")
        self.says(self.romeo, "juliet@localhost/phone", "phone")
        self.says(self.romeo, "juliet@localhost", "bare")
        self.assertEqual(self.bodies(self.phone), ["phone", "bare"])
        self.juliet.nothing()
        self.use("active", "all")
        self.says(self.romeo, "juliet@localhost/phone", "phone")
        self.assertTrue(self.juliet.take().has(ns.CARBONS, "received"))

    def test_copies_for_the_rest(self) -> None:
        """That the first client denies a message keeps no copy from a client that does not."""
        tablet = self.connect("juliet@localhost/tablet")
        tablet.request(f"<iq type='set' id='c'><enable xmlns='{ns.CARBONS}'/></iq>")
        self.use("active")
        self.says(self.romeo, "juliet@localhost", "bare")
        self.assertEqual(self.bodies(self.phone), ["bare"])
        self.assertTrue(tablet.take().has(ns.CARBONS, "received"))
        tablet.nothing()

    def test_no_copies_of_denied(self) -> None:
        """Of a denied message there is no copy, neither received nor sent."""
        self.phone.request(f"<iq type='set' id='c'><enable xmlns='{ns.CARBONS}'/></iq>")
        self.use("active")
        self.says(self.romeo, "juliet@localhost/b")
        self.says(self.juliet, "romeo@localhost/a")
        self.phone.nothing()

    def test_asked_by_other_modules(self) -> None:
        """Other modules learn what holds for a client, and what for the account."""
        self.use("active")
        stanza = Stanza.make("message", from_=self.romeo.jid, to=self.juliet.jid)
        for user, allowed in (("juliet@localhost/b", False), ("juliet@localhost", True)):
            check = PrivacyCheck(JID.parse(user), stanza, "in")
            self.await_(self.host.hooks.run(check))
            self.assertEqual(check.allowed, allowed)
