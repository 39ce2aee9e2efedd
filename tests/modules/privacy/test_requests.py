"""Requests for privacy lists (XEP-0016 §2.1 to §2.8): answers, pushes and errors."""

from mongoosetw.hooks.users import RemoveUser
from mongoosetw.testing.client import Client
from mongoosetw.xmpp import ns
from mongoosetw.xmpp.jid import JID
from tests.modules.privacy.case import DENY_ROMEO, PrivacyTestCase

PUSH = f"<iq type='set'><query xmlns='{ns.PRIVACY}'><list name='n'/></query></iq>"
DENY = DENY_ROMEO.format("")


class RequestTests(PrivacyTestCase):
    """Lists are stored, told, chosen and removed."""

    def names(self, client: Client | None = None) -> str:
        """All that is told of the lists."""
        return self.privacy(client or self.juliet, "get").inner.decode()

    def test_no_lists(self) -> None:
        """Who has no lists is told so."""
        self.assertEqual(self.names(), f"<query xmlns='{ns.PRIVACY}'></query>")

    def test_names(self) -> None:
        """Active and default list are told of before all lists (§2.3)."""
        for name in ("b", "a"):
            self.put(DENY, name)
        self.use("default", "a")
        self.use("active", "b")
        told = "<active name='b'/><default name='a'/><list name='a'/><list name='b'/>"
        self.assertIn(told, self.names())
        self.use("active", None)
        self.use("default", None)
        self.assertNotIn("active", self.names())
        self.assertNotIn("default", self.names())

    def test_one_list(self) -> None:
        """A list comes back as it was set, in the order of its items."""
        self.put(
            "<item action='allow' order='9'/>"
            "<item type='subscription' value='both' action='deny' order='2'>"
            "<iq/><message/><presence-in/><presence-out/></item>" + DENY
        )
        answer = self.privacy(self.juliet, "get", "<list name='n'/>")
        self.assertIn(
            b"<list name='n'>"
            b"<item type='jid' value='romeo@localhost' action='deny' order='1'></item>"
            b"<item type='subscription' value='both' action='deny' order='2'>"
            b"<iq/><message/><presence-in/><presence-out/></item>"
            b"<item action='allow' order='9'></item></list>",
            answer.inner,
        )

    def test_unknown_list(self) -> None:
        """A list that there is not can neither be told, nor chosen, nor removed."""
        for type, content in (
            ("get", "<list name='x'/>"),
            ("set", "<list name='x'/>"),
            ("set", "<active name='x'/>"),
            ("set", "<default name='x'/>"),
        ):
            self.refused(self.privacy(self.juliet, type, content), "item-not-found")

    def test_one_at_a_time(self) -> None:
        """A request concerns one list (§2.1, §2.3)."""
        for type, content in (
            ("get", "<list name='x'/><list name='y'/>"),
            ("get", "<active/>"),
            ("get", "<list/>"),
            ("set", "<list name='x'/><list name='y'/>"),
            ("set", "<active/><default/>"),
            ("set", ""),
            ("set", "<other/>"),
            ("set", f"<list>{DENY}</list>"),
        ):
            self.refused(self.privacy(self.juliet, type, content), "bad-request")

    def test_bad_items(self) -> None:
        """Items that break a rule of §2.1 are refused, and nothing is stored."""
        for items in (
            "<item action='deny'/>",
            "<item order='1'/>",
            "<item action='block' order='1'/>",
            "<item action='deny' order='-1'/>",
            "<item action='deny' order='4294967296'/>",
            "<item action='deny' order='one'/>",
            "<item action='deny' order='1'/><item action='allow' order='1'/>",
            "<item action='deny' order='1'/><item action='allow' order='01'/>",
            "<item action='deny' order='1' type='jid'/>",
            "<item action='deny' order='1' type='other' value='x'/>",
            "<item action='deny' order='1' type='subscription' value='x'/>",
            "<item action='deny' order='1'><presence/></item>",
            "<rule action='deny' order='1'/>",
        ):
            answer = self.privacy(self.juliet, "set", f"<list name='x'>{items}</list>")
            self.refused(answer, "bad-request")
        malformed = "<item action='deny' order='1' type='jid' value='@'/>"
        answer = self.privacy(self.juliet, "set", f"<list name='x'>{malformed}</list>")
        self.refused(answer, "jid-malformed")
        self.assertNotIn("<list", self.names())

    def test_unknown_group(self) -> None:
        """A group must be one of the roster's (§2.1)."""
        item = "<item type='group' value='Foes' action='deny' order='1'/>"
        answer = self.privacy(self.juliet, "set", f"<list name='x'>{item}</list>")
        self.refused(answer, "item-not-found")

    def test_pushed(self) -> None:
        """A list that is set or removed is pushed by its name to all of the user's clients."""
        phone = self.connect("juliet@localhost/phone")
        self.put(DENY)
        for client in (self.juliet, phone):
            client.receives(PUSH)
        self.privacy(self.juliet, "set", "<list name='n'/>")
        for client in (self.juliet, phone):
            client.receives(PUSH)
            client.nothing()
        self.romeo.nothing()

    def test_answer_to_push(self) -> None:
        """A client may answer the push, as it has to (§2.6)."""
        self.put(DENY)
        push = self.juliet.take()
        self.juliet.send(f"<iq type='result' id='{push.id}'/>")
        self.juliet.send(f"<iq type='result' id='{push.id}' to='juliet@localhost'/>")
        self.juliet.nothing()

    def test_choice_is_not_pushed(self) -> None:
        """Choosing a list changes none, so nothing is pushed."""
        self.put(DENY)
        self.clear()
        self.use("active")
        self.use("default")
        self.juliet.nothing()

    def test_someone_elses(self) -> None:
        """Another account's lists look as if there were no such account."""
        for to in ("juliet@localhost", "nobody@localhost"):
            asked = f"<iq type='get' id='p' to='{to}'><query xmlns='{ns.PRIVACY}'/></iq>"
            self.refused(self.romeo.request(asked), "service-unavailable")

    def test_own_address(self) -> None:
        """The own account may be named as the addressee."""
        asked = f"<iq type='get' id='p' to='romeo@localhost'><query xmlns='{ns.PRIVACY}'/></iq>"
        self.assertEqual(self.romeo.request(asked).type, "result")

    def test_disco(self) -> None:
        """The server announces privacy lists and blocking."""
        asked = f"<iq type='get' id='d' to='localhost'><query xmlns='{ns.DISCO_INFO}'/></iq>"
        answer = self.romeo.request(asked).inner
        self.assertIn(b"'jabber:iq:privacy'", answer)
        self.assertIn(b"'urn:xmpp:blocking'", answer)

    def test_removed_account(self) -> None:
        """An account's lists are gone with it, also from memory."""
        self.apply(DENY)
        self.await_(self.host.hooks.run(RemoveUser(JID.parse("juliet@localhost"))))
        self.assertNotIn("<list", self.names())
        self.says(self.romeo, "juliet@localhost/b")
        self.assertEqual(self.bodies(self.juliet), ["x"])


class ConflictTests(PrivacyTestCase):
    """Lists that apply to another client (§2.2, rule 11)."""

    def setUp(self) -> None:
        """Two lists, two clients."""
        super().setUp()
        self.phone = self.connect("juliet@localhost/phone")
        self.put(DENY)
        self.put(DENY, "other")

    def test_default(self) -> None:
        """The default list is neither changed nor declined while it applies to another client."""
        self.use("default")
        for content in ("<default name='other'/>", "<default/>"):
            self.refused(self.privacy(self.phone, "set", content), "conflict")
        self.use("default", client=self.phone)  # it stays what it is
        self.use("active", "other", self.juliet)
        self.use("default", "other", self.phone)

    def test_first_default(self) -> None:
        """Where there was no default list, there is no conflict."""
        self.use("default", None)
        self.use("default", "other")

    def test_remove(self) -> None:
        """A list is not removed while it is another client's active or default one."""
        remove = "<list name='n'/>"
        self.use("active")
        self.refused(self.privacy(self.phone, "set", remove), "conflict")
        self.use("active", None)
        self.use("default")
        self.refused(self.privacy(self.phone, "set", remove), "conflict")
        self.phone.lose()
        self.assertEqual(self.privacy(self.juliet, "set", remove).type, "result")

    def test_remove_own_active_list(self) -> None:
        """A client may remove the list that is active for itself; then none is."""
        self.use("active", client=self.phone)
        self.assertEqual(self.privacy(self.phone, "set", "<list name='n'/>").type, "result")
        self.assertNotIn(b"active", self.privacy(self.phone, "get").inner)
        self.says(self.romeo, "juliet@localhost/phone")
        self.assertEqual(self.bodies(self.phone), ["x"])

    def test_edit(self) -> None:
        """A list may be edited while it applies to another client."""
        self.use("active")
        self.put("<item action='allow' order='1'/>", client=self.phone)
        self.clear()
        self.says(self.romeo, "juliet@localhost/b")
        self.assertEqual(self.bodies(self.juliet), ["x"])


class LimitTests(PrivacyTestCase):
    """What one user can fill the database with."""

    modules = {**PrivacyTestCase.modules, "mod_privacy": {"max_lists": 1, "max_items": 2}}

    def test_lists(self) -> None:
        """No more lists than the option says."""
        self.put(DENY)
        self.put(DENY)
        answer = self.privacy(self.juliet, "set", f"<list name='x'>{DENY}</list>")
        self.refused(answer, "policy-violation")

    def test_items(self) -> None:
        """No more items than the option says, set or blocked."""
        items = "".join(f"<item action='deny' order='{order}'/>" for order in range(3))
        answer = self.privacy(self.juliet, "set", f"<list name='x'>{items}</list>")
        self.refused(answer, "policy-violation")
        self.block("a@x", "b@x")
        self.refused(self.blocking(self.juliet, "block", "c@x"), "policy-violation")
        self.assertEqual(self.blocklist(), {"a@x", "b@x"})


class WithoutRosterTests(PrivacyTestCase):
    """Privacy lists where nobody keeps rosters."""

    modules = {"mod_privacy": {"backend": "memory"}}

    def test_strangers(self) -> None:
        """Everybody is a stranger without groups."""
        group = "<item type='group' value='Friends' action='deny' order='1'/>"
        self.apply(group)
        self.says(self.romeo, "juliet@localhost/b")
        self.assertEqual(self.bodies(self.juliet), ["x"])
        self.apply("<item type='subscription' value='none' action='deny' order='1'/>")
        self.says(self.romeo, "juliet@localhost/b")
        self.assertEqual(self.bodies(self.juliet), [])
