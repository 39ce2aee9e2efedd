"""The blocking command (XEP-0191), and how it and privacy lists show in one another."""

from dataclasses import replace
from itertools import pairwise

from modules.mod_privacy import PrivacyOptions
from mongoosetw.config.load import ModuleConfig
from mongoosetw.loading import reload_modules, with_needs
from mongoosetw.testing.client import Client
from mongoosetw.xmpp import ns
from tests.modules.privacy.case import BLOCKING, DENY_ROMEO, PrivacyTestCase

ROMEO = "<item jid='romeo@localhost'/>"


def push(tag: str, items: str) -> str:
    """What a client is told of a change."""
    return f"<iq type='set'><{tag} xmlns='{ns.BLOCKING}'>{items}</{tag}></iq>"


class CommandTests(PrivacyTestCase):
    """Requests, answers and pushes (§3)."""

    def test_empty(self) -> None:
        """Who blocks nobody gets an empty list."""
        self.assertEqual(self.blocklist(), set())

    def test_block_and_unblock(self) -> None:
        """Addresses are blocked and unblocked, one or several at a time, over logins."""
        self.block("romeo@localhost")
        self.block("a@x/r", "x", "romeo@localhost", "muc.localhost/nick")
        everyone = {"romeo@localhost", "a@x/r", "x", "muc.localhost/nick"}
        self.assertEqual(self.blocklist(), everyone)
        self.unblock("x", "a@x/r", "unknown@x")
        self.juliet.lose()
        juliet = self.connect("juliet@localhost/b")
        self.assertEqual(self.blocklist(juliet), {"romeo@localhost", "muc.localhost/nick"})

    def test_unblock_all(self) -> None:
        """An empty command unblocks all (§3.5)."""
        self.unblock()
        self.block("romeo@localhost", "a@x")
        self.unblock()
        self.assertEqual(self.blocklist(), set())
        self.says(self.romeo, "juliet@localhost/b")
        self.assertEqual(self.bodies(self.juliet), ["x"])

    def test_white_space(self) -> None:
        """White space around an address does no harm, nor does its spelling."""
        self.block(" Romeo@LOCALHOST ")
        self.assertEqual(self.blocklist(), {"romeo@localhost"})

    def test_bad_requests(self) -> None:
        """A command without addresses, or with something else, is refused and does nothing."""
        for items, condition in (
            ("", "bad-request"),
            ("<item/>", "bad-request"),
            ("<jid/>", "bad-request"),
            (f"{ROMEO}<item jid='@'/>", "jid-malformed"),
            (f"{ROMEO}<item jid=''/>", "jid-malformed"),
        ):
            asked = BLOCKING.format("set", "block", items, "block")
            self.refused(self.juliet.request(asked), condition)
        self.assertEqual(self.blocklist(), set())

    def test_someone_elses(self) -> None:
        """Another account's blocklist looks as if there were no such account."""
        asked = BLOCKING.format("get", "blocklist", "", "blocklist")
        asked = asked.replace("<iq", "<iq to='juliet@localhost'")
        self.refused(self.romeo.request(asked), "service-unavailable")

    def test_pushes(self) -> None:
        """Clients that have asked for the list learn of changes, others do not."""
        phone = self.connect("juliet@localhost/phone")
        self.blocklist(phone)
        self.block("romeo@localhost", "a@x")
        phone.receives(push("block", f"{ROMEO}<item jid='a@x'/>"))
        self.unblock("romeo@localhost")
        phone.receives(push("unblock", ROMEO))
        self.unblock()
        empty = phone.receives(push("unblock", ""))
        assert empty.payload is not None
        self.assertEqual(list(empty.payload.elements()), [])
        phone.nothing()
        self.juliet.nothing()

    def test_answer_to_push(self) -> None:
        """A client may answer the push, as it has to."""
        self.blocklist()
        self.block("a@x")
        self.juliet.send(f"<iq type='result' id='{self.juliet.take().id}'/>")
        self.juliet.nothing()


class EffectTests(PrivacyTestCase):
    """What a blocked contact, and who blocks, get to see (§3.3, §3.4)."""

    def test_presence(self) -> None:
        """Both see the other leave, and come back when the contact is unblocked."""
        self.befriend()
        self.block("romeo@localhost")
        self.assertEqual(self.presences(self.romeo), [("juliet@localhost/b", "unavailable")])
        self.assertEqual(self.presences(self.juliet), [("romeo@localhost/a", "unavailable")])
        self.block("romeo@localhost")
        self.romeo.nothing()
        self.juliet.nothing()
        self.unblock("romeo@localhost")
        self.assertEqual(self.presences(self.romeo), [("juliet@localhost/b", "")])
        self.assertEqual(self.presences(self.juliet), [("romeo@localhost/a", "")])

    def test_strangers(self) -> None:
        """Who may not see the user's presence learns nothing from being blocked or unblocked."""
        self.juliet.send("<presence/>")
        self.romeo.send("<presence/>")
        self.clear()
        self.block("romeo@localhost")
        self.unblock("romeo@localhost")
        self.romeo.nothing()

    def test_of_all_clients(self) -> None:
        """All of the user's clients leave, and are told that the contact has left."""
        phone = self.connect("juliet@localhost/phone")
        phone.send("<presence/>")
        self.befriend()
        self.taken(phone)
        self.block("romeo@localhost")
        left = {("juliet@localhost/b", "unavailable"), ("juliet@localhost/phone", "unavailable")}
        self.assertEqual(set(self.presences(self.romeo)), left)
        self.assertEqual(self.presences(phone), [("romeo@localhost/a", "unavailable")])

    def test_subscriptions_stay(self) -> None:
        """Blocking is polite: subscriptions are as before."""
        self.befriend()
        self.block("romeo@localhost")
        roster = f"<iq type='get' id='r'><query xmlns='{ns.ROSTER}'/></iq>"
        for client in (self.romeo, self.juliet):
            self.assertIn(b"subscription='both'", client.request(roster).inner)

    def test_both_directions(self) -> None:
        """Nothing passes either way, with the errors of §3.3."""
        self.block("romeo@localhost")
        self.says(self.romeo, "juliet@localhost/b")
        self.assertIn(b"<service-unavailable", self.errors(self.romeo)[0])
        self.says(self.juliet, "romeo@localhost/a")
        error = self.errors(self.juliet)[0]
        self.assertIn(b"<not-acceptable", error)
        self.assertIn(b"<blocked xmlns='urn:xmpp:blocking:errors'/>", error)
        self.romeo.nothing()
        self.juliet.nothing()

    def test_one_participant_of_a_room(self) -> None:
        """A domain with a resource is a participant of any room of a chat service."""
        self.block("localhost/spammer")
        spammer = self.connect("room@localhost/spammer")
        other = self.connect("room@localhost/other")
        self.says(spammer, "juliet@localhost/b", "spam")
        self.says(other, "juliet@localhost/b", "fine")
        self.assertEqual(self.bodies(self.juliet), ["fine"])

    def test_active_list(self) -> None:
        """A client whose active list says otherwise is not concerned (§5)."""
        self.put("<item action='allow' order='1'/>", "all")
        self.use("active", "all")
        self.block("romeo@localhost")
        self.clear()
        self.says(self.romeo, "juliet@localhost/b")
        self.assertEqual(self.bodies(self.juliet), ["x"])


class TogetherTests(PrivacyTestCase):
    """One list for both protocols (§5)."""

    def item(self, name: str) -> str:
        """A list as privacy lists tell it."""
        return self.privacy(self.juliet, "get", f"<list name='{name}'/>").inner.decode()

    def test_blocked_is_a_list(self) -> None:
        """The first blocked address makes the list named blocking the default one."""
        self.block("romeo@localhost")
        self.assertIn("<default name='blocking'/>", self.privacy(self.juliet, "get").inner.decode())
        self.assertIn("value='romeo@localhost' action='deny'", self.item("blocking"))

    def test_default_list_is_used(self) -> None:
        """Where there is a default list, blocked addresses come first in it."""
        rest = "<item action='allow' order='0'><message/></item>"
        self.apply(rest)
        self.block("romeo@localhost")
        self.assertIn(
            "<list name='n'><item type='jid' value='romeo@localhost' action='deny' order='0'>"
            "</item><item action='allow' order='1'><message/></item>",
            self.item("n"),
        )
        self.unblock()
        self.assertNotIn("romeo", self.item("n"))
        self.assertIn("<message/>", self.item("n"))

    def watching(self) -> Client:
        """A client that has asked for the blocklist."""
        phone = self.connect("juliet@localhost/phone")
        self.blocklist(phone)
        self.use("active", None, phone)
        return phone

    def test_changed_list_is_pushed(self) -> None:
        """What privacy lists do to the blocklist is pushed to who has asked for it."""
        self.put(DENY_ROMEO.format(""))
        phone = self.watching()
        self.use("default")
        phone.receives(push("block", ROMEO))
        self.assertEqual(self.blocklist(), {"romeo@localhost"})
        self.put("<item type='jid' value='a@x' action='deny' order='1'/>")
        phone.receives(push("block", "<item jid='a@x'/>"))
        phone.receives(push("unblock", ROMEO))
        self.put(DENY_ROMEO.format("<message/>"))  # not blocked altogether
        self.assertEqual(self.blocklist(), set())

    def test_blocking_is_pushed_as_a_list(self) -> None:
        """Clients that have asked for privacy lists learn that one was changed."""
        self.privacy(self.juliet, "get")
        phone = self.connect("juliet@localhost/phone")
        self.block("romeo@localhost")
        self.juliet.receives(
            f"<iq type='set'><query xmlns='{ns.PRIVACY}'><list name='blocking'/></query></iq>"
        )
        phone.nothing()


class AloneTests(PrivacyTestCase):
    """mod_blocking configured without mod_privacy."""

    modules = {"mod_blocking": {"backend": "memory"}}

    def test_started_with_it(self) -> None:
        """It starts mod_privacy with its own options, and blocks."""
        self.assertEqual(self.host.modules["mod_privacy"].options.backend, "memory")
        self.block("romeo@localhost")
        self.says(self.romeo, "juliet@localhost/b")
        self.assertEqual(self.bodies(self.juliet), [])

    def test_reloaded(self) -> None:
        """Its options may change, with or without those of mod_privacy, and it may go."""
        blocking = self.host.config.modules["mod_blocking"]
        stored = replace(blocking, options=PrivacyOptions())
        privacy = ModuleConfig("mod_privacy", blocking.options)
        configurations = (
            {"mod_blocking": blocking},
            {"mod_blocking": stored},
            {"mod_blocking": stored, "mod_privacy": privacy},
            {"mod_blocking": blocking, "mod_privacy": privacy},
            {},
        )
        backends = []
        for old, new in pairwise(configurations):
            self.await_(reload_modules(self.host, old, new))
            running = self.host.modules
            self.assertEqual({*running} & {"mod_blocking", "mod_privacy"}, {*with_needs(new)})
            backends += [running["mod_privacy"].options.backend] if running else []
        self.assertEqual(backends, ["rdbms", "memory", "memory"])


class BlockingStory(PrivacyTestCase):
    """Juliet, her nurse and an admirer too many."""

    def test_story(self) -> None:
        """Paris is blocked on one device, stays so on all and over logins, until he is forgiven."""
        phone = self.connect("juliet@localhost/phone")
        paris = self.connect("paris@localhost/p")
        self.befriend(self.juliet, paris)
        phone.send("<presence/>")
        for client in (phone, paris):
            self.taken(client)
        self.blocklist(phone)
        for client in (self.juliet, phone):
            client.request(f"<iq type='set' id='c'><enable xmlns='{ns.CARBONS}'/></iq>")

        self.says(paris, "juliet@localhost/b", "marry me")
        self.assertEqual(self.bodies(self.juliet), ["marry me"])
        self.assertTrue(phone.take().has(ns.CARBONS, "received"))
        self.taken(phone)

        self.block("paris@localhost")
        phone.receives("<presence from='paris@localhost/p' type='unavailable'/>")
        phone.receives(push("block", "<item jid='paris@localhost'/>"))
        self.assertEqual(len(self.presences(paris)), 2)
        self.says(paris, "juliet@localhost", "are you there?")
        self.says(paris, "juliet@localhost/phone", "or there?")
        self.assertEqual(len(self.errors(paris)), 2)
        self.assertEqual(self.bodies(phone), [])

        for client in (self.juliet, phone):
            client.send("</stream:stream>")
        self.says(paris, "juliet@localhost", "gone?")
        self.assertEqual(len(self.errors(paris)), 1)
        self.juliet = self.connect("juliet@localhost/b")
        self.juliet.send("<presence/>")
        self.assertEqual(self.presences(self.juliet), [("juliet@localhost/b", "")])
        paris.nothing()
        self.assertEqual(self.blocklist(), {"paris@localhost"})

        self.unblock()
        self.juliet.receives("<presence from='paris@localhost/p'/>")
        self.juliet.receives(push("unblock", ""))
        self.assertEqual(self.presences(paris), [("juliet@localhost/b", "")])
        self.says(paris, "juliet@localhost", "forgiven?")
        self.assertEqual(self.bodies(self.juliet), ["forgiven?"])
        paris.nothing()


class InvisibilityStory(PrivacyTestCase):
    """Bilbo's ring (XEP-0126): invisible, then visible to some, then to all."""

    modules = {"mod_roster": {}, "mod_presence": {}, "mod_privacy": {}}

    def test_story(self) -> None:
        """Contacts see exactly what the active list lets them see, at every step."""
        bilbo, frodo, gandalf = (
            self.connect(f"{name}@localhost/shire") for name in ("bilbo", "frodo", "gandalf")
        )
        self.befriend(bilbo, frodo)
        self.befriend(bilbo, gandalf)
        bilbo.send("</stream:stream>")
        for friend in (frodo, gandalf):
            self.taken(friend)

        # log in as globally invisible
        bilbo = self.connect("bilbo@localhost/shire")
        nobody = "<item action='deny' order='{}'><presence-out/></item>"
        self.put(nobody.format(1), "invisible", bilbo)
        self.use("active", "invisible", bilbo)
        bilbo.send("<presence><status>I'm not really here</status></presence>")
        frodo.nothing()
        gandalf.nothing()
        seen = {sender for sender, _ in self.presences(bilbo)}
        self.assertLessEqual({"frodo@localhost/shire", "gandalf@localhost/shire"}, seen)

        # become visible to one contact, who is told at once
        frodo_only = (
            "<item type='jid' value='frodo@localhost' action='allow' order='1'>"
            "<presence-out/></item>"
        )
        self.put(frodo_only + nobody.format(2), "visible-to-frodo", bilbo)
        self.use("active", "visible-to-frodo", bilbo)
        self.assertEqual(self.presences(frodo), [("bilbo@localhost/shire", "")])
        gandalf.nothing()

        # chat goes on whoever sees whom
        self.says(gandalf, "bilbo@localhost", "where are you?")
        self.assertIn("where are you?", self.bodies(bilbo))

        # become visible to all, then invisible to all
        self.use("active", None, bilbo)
        self.assertEqual(self.presences(gandalf), [("bilbo@localhost/shire", "")])
        frodo.nothing()
        self.use("active", "invisible", bilbo)
        for friend in (frodo, gandalf):
            self.assertEqual(self.presences(friend), [("bilbo@localhost/shire", "unavailable")])
        bilbo.send("</stream:stream>")
        frodo.nothing()
