"""What lists do to the stanzas that a user gets and sends."""

from modules.mod_privacy.module import Privacy
from mongoosetw.xmpp import ns
from mongoosetw.xmpp.jid import JID
from tests.modules.privacy.case import DENY_ROMEO, PrivacyTestCase

DENY = DENY_ROMEO.format("")
EVERYBODY = "<item action='deny' order='1'>{}</item>"
LAST = "<iq type='{}' id='q' to='{}'><query xmlns='jabber:iq:last'/></iq>"


class IncomingTests(PrivacyTestCase):
    """Stanzas for a user who denies them (§2.14)."""

    def test_message(self) -> None:
        """Messages come back as from somebody who is offline, whatever the address."""
        self.apply(DENY)
        for to in ("juliet@localhost/b", "juliet@localhost", "juliet@localhost/gone"):
            self.says(self.romeo, to)
            error = self.romeo.take()
            self.assertEqual((error.type, str(error.from_)), ("error", to))
            self.assertIn(b"<error type='cancel'><service-unavailable", error.inner)
        self.juliet.nothing()

    def test_silent_messages(self) -> None:
        """Errors and messages of a room are dropped without an answer."""
        self.apply(DENY)
        for type in ("error", "groupchat"):
            message = f"<message to='juliet@localhost/b' type='{type}'><body>x</body></message>"
            self.romeo.send(message)
        self.juliet.nothing()
        self.romeo.nothing()

    def test_iq(self) -> None:
        """Requests come back as from somebody who is offline, answers are dropped."""
        self.befriend()
        for to in ("juliet@localhost", "juliet@localhost/b"):
            self.romeo.send(LAST.format("get", to))
        self.assertEqual(len(self.taken(self.romeo) + self.taken(self.juliet)), 2)
        self.apply(DENY)
        self.clear()
        for to in ("juliet@localhost", "juliet@localhost/b"):
            self.refused(self.romeo.request(LAST.format("get", to)), "service-unavailable")
            self.romeo.send(f"<iq type='result' id='q' to='{to}'/>")
        self.juliet.nothing()
        self.romeo.nothing()

    def test_presence(self) -> None:
        """Presence, subscriptions and probes are dropped without an answer."""
        self.apply(DENY)
        for type in ("", "unavailable", "subscribe", "subscribed", "unsubscribe", "probe"):
            attribute = f" type='{type}'" if type else ""
            self.romeo.send(f"<presence to='juliet@localhost'{attribute}/>")
        self.taken(self.romeo)  # pushes of his own roster
        self.juliet.send("<presence/>")
        self.assertEqual(self.presences(self.juliet), [("juliet@localhost/b", "")])
        roster = self.juliet.request(f"<iq type='get' id='r'><query xmlns='{ns.ROSTER}'/></iq>")
        self.assertNotIn(b"romeo", roster.inner)
        self.romeo.nothing()

    def test_kinds(self) -> None:
        """An item that names a kind of stanza lets all others pass."""
        self.befriend()
        self.apply(DENY_ROMEO.format("<message/>"))
        self.says(self.romeo, "juliet@localhost/b")
        self.romeo.send("<presence><status>here</status></presence>")
        self.romeo.send(LAST.format("get", "juliet@localhost/b"))
        self.assertEqual([s.kind for s in self.taken(self.juliet)], ["presence", "iq"])
        self.apply(DENY_ROMEO.format("<iq/>"))
        self.says(self.romeo, "juliet@localhost/b")
        self.romeo.send(LAST.format("get", "juliet@localhost/b"))
        self.assertEqual([s.kind for s in self.taken(self.juliet)], ["message"])

    def test_group(self) -> None:
        """Members of a roster group are denied from the moment when they belong to it (§2.2)."""
        roster = f"<iq type='set' id='r'><query xmlns='{ns.ROSTER}'>{{}}</query></iq>"
        other = "<item jid='other@localhost'><group>Foes</group></item>"
        foe = "<item jid='romeo@localhost'><group>Foes</group></item>"
        self.juliet.request(roster.format(other))
        self.apply("<item type='group' value='Foes' action='deny' order='1'/>")
        self.says(self.romeo, "juliet@localhost/b", "before")
        self.juliet.request(roster.format(foe))
        self.says(self.romeo, "juliet@localhost/b", "member")
        self.juliet.request(roster.format("<item jid='romeo@localhost'/>"))
        self.says(self.romeo, "juliet@localhost/b", "after")
        self.assertEqual(self.bodies(self.juliet), ["before", "after"])

    def test_subscription(self) -> None:
        """Strangers are denied until they are subscribed; more than one rule applies in order."""
        self.apply(
            "<item type='subscription' value='both' action='allow' order='1'/>"
            "<item action='deny' order='2'><message/></item>"
        )
        self.says(self.romeo, "juliet@localhost/b", "stranger")
        self.befriend()
        self.says(self.romeo, "juliet@localhost/b", "friend")
        self.juliet.send("<presence to='romeo@localhost' type='unsubscribed'/>")
        self.says(self.romeo, "juliet@localhost/b", "stranger")
        self.assertEqual(self.bodies(self.juliet), ["friend"])

    def test_nobody_of_a_domain(self) -> None:
        """A rule for a domain concerns all of it, but never the own server or account (§2.1)."""
        self.apply("<item type='jid' value='localhost' action='deny' order='1'/>")
        phone = self.connect("juliet@localhost/phone")
        self.says(self.romeo, "juliet@localhost/b", "romeo")
        self.says(phone, "juliet@localhost/b", "phone")
        self.assertEqual(self.bodies(self.juliet), ["phone"])
        asked = f"<iq type='get' id='d' to='localhost'><query xmlns='{ns.DISCO_INFO}'/></iq>"
        self.assertEqual(self.juliet.request(asked).type, "result")

    def test_offline(self) -> None:
        """The default list holds while nobody is there: nothing is kept for later (§2.2)."""
        self.apply(DENY)
        self.juliet.lose()
        self.forget("juliet@localhost")
        self.says(self.romeo, "juliet@localhost", "x")
        self.assertIn(b"<service-unavailable", self.errors(self.romeo)[0])
        juliet = self.connect("juliet@localhost/b")
        juliet.send("<presence/>")
        self.assertEqual(self.bodies(juliet), [])

    def test_kept_before(self) -> None:
        """What was kept before its sender was denied is not delivered after, and not bounced."""
        self.juliet.lose()
        self.says(self.romeo, "juliet@localhost", "x")
        juliet = self.connect("juliet@localhost/b")
        self.put(DENY, client=juliet)
        self.use("default", client=juliet)
        juliet.send("<presence/>")
        self.assertEqual(self.bodies(juliet), [])
        self.romeo.nothing()

    def forget(self, user: str) -> None:
        """What another node of a cluster would tell."""
        privacy = self.host.modules["mod_privacy"]
        assert isinstance(privacy, Privacy)
        privacy.forget(JID.parse(user))


class OutgoingTests(PrivacyTestCase):
    """Stanzas to somebody whom their sender denies (§2.14)."""

    def test_refused(self) -> None:
        """All that goes to a denied contact comes back with not-acceptable."""
        self.apply(DENY)
        for stanza in (
            "<message to='romeo@localhost' type='chat'/>",
            "<presence to='romeo@localhost'/>",
            "<presence to='romeo@localhost' type='subscribe'/>",
            LAST.format("get", "romeo@localhost/a"),
        ):
            self.juliet.send(stanza)
            error = self.juliet.take()
            self.assertEqual(error.type, "error")
            self.assertIn(b"<error type='cancel'><not-acceptable", error.inner)
            self.assertIn(b"<blocked xmlns='urn:xmpp:blocking:errors'/>", error.inner)
        self.romeo.nothing()

    def test_not_blocked(self) -> None:
        """Only an address of the blocklist is called blocked."""
        self.apply(EVERYBODY.format(""))
        self.says(self.juliet, "romeo@localhost")
        error = self.juliet.take().inner
        self.assertIn(b"<not-acceptable", error)
        self.assertNotIn(b"blocked", error)

    def test_answers_are_dropped(self) -> None:
        """Answers to a denied contact are dropped."""
        self.apply(DENY)
        self.juliet.send("<iq type='result' id='q' to='romeo@localhost/a'/>")
        self.juliet.send("<message type='error' to='romeo@localhost/a'/>")
        self.juliet.nothing()
        self.romeo.nothing()

    def test_limited_items(self) -> None:
        """Items for messages and iqs concern only incoming ones (§2.1)."""
        self.apply(DENY_ROMEO.format("<message/><iq/><presence-in/>"))
        self.says(self.juliet, "romeo@localhost/a")
        self.juliet.send("<presence to='romeo@localhost/a'/>")
        self.assertEqual([s.kind for s in self.taken(self.romeo)], ["message", "presence"])

    def test_presence_out(self) -> None:
        """An item for outgoing presence concerns notifications, not subscriptions (§2.11)."""
        self.apply(DENY_ROMEO.format("<presence-out/>"))
        self.romeo.send("<presence/>")
        self.clear()
        self.juliet.send("<presence to='romeo@localhost/a'/>")
        self.assertIn(b"<not-acceptable", self.juliet.take().inner)
        self.juliet.send("<presence to='romeo@localhost' type='subscribe'/>")
        self.assertEqual(self.presences(self.romeo), [("juliet@localhost", "subscribe")])
