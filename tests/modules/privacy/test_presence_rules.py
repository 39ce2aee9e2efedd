"""Presence that the server sends on its own, and what contacts see of a change."""

from mongoosetw.xmpp import ns
from tests.modules.privacy.case import DENY_ROMEO, PrivacyTestCase

EVERYBODY = "<item action='deny' order='1'>{}</item>"


class PresenceTests(PrivacyTestCase):
    """Presence that the server sends on its own, and what others see of a change."""

    def setUp(self) -> None:
        """Friends, and a third who is nobody's friend."""
        super().setUp()
        self.befriend()

    def visible(self) -> set[str]:
        """Whose presence a new client of romeo's sees, his own aside."""
        phone = self.connect("romeo@localhost/phone")
        phone.send("<presence/>")
        seen = {sender for sender, _ in self.presences(phone)}
        phone.send("<presence type='unavailable'/>")
        phone.lose()
        self.clear()
        return {sender for sender in seen if not sender.startswith("romeo")}

    def test_hidden(self) -> None:
        """Who is hidden from a contact leaves, is not seen, and comes back (§2.11)."""
        self.put(DENY_ROMEO.format("<presence-out/>"))
        self.use("active")
        self.assertEqual(self.presences(self.romeo), [("juliet@localhost/b", "unavailable")])
        self.assertEqual(self.visible(), set())
        self.juliet.send("<presence><show>away</show></presence>")
        self.romeo.nothing()
        self.romeo.send("<presence to='juliet@localhost' type='probe'/>")
        self.assertEqual(self.presences(self.romeo), [("juliet@localhost", "unavailable")])
        self.use("active", None)
        self.romeo.receives("<presence from='juliet@localhost/b'><show>away</show></presence>")
        self.assertEqual(self.visible(), {"juliet@localhost/b"})

    def test_leaves_unseen(self) -> None:
        """A hidden client goes without a word to those from whom it is hidden."""
        self.apply(DENY_ROMEO.format("<presence-out/>"))
        self.juliet.send("<presence type='unavailable'/>")
        self.romeo.nothing()
        self.juliet.send("<presence/>")
        self.juliet.lose()
        self.romeo.nothing()

    def test_unseen(self) -> None:
        """A contact whose presence is denied leaves, is not seen, and comes back (§2.10)."""
        self.put(DENY_ROMEO.format("<presence-in/>"))
        self.use("active")
        self.assertIn(("romeo@localhost/a", "unavailable"), self.presences(self.juliet))
        self.romeo.send("<presence><show>away</show></presence>")
        self.juliet.nothing()
        self.romeo.receives("<presence from='romeo@localhost/a'/>")  # he sees himself
        self.romeo.nothing()
        self.use("active", None)
        self.juliet.receives("<presence from='romeo@localhost/a'><show>away</show></presence>")

    def test_list_change(self) -> None:
        """Editing a list that is in use has the same effect as choosing it (§2.2, rule 8)."""
        self.put("<item action='allow' order='1'/>")
        self.use("default")
        self.clear()
        self.put(DENY_ROMEO.format("<presence-out/>"))
        self.assertEqual(self.presences(self.romeo), [("juliet@localhost/b", "unavailable")])
        self.put(DENY_ROMEO.format("<presence-out/><message/>"))
        self.romeo.nothing()

    def test_oneself(self) -> None:
        """The own clients see one another, whatever a list says."""
        phone = self.connect("juliet@localhost/phone")
        phone.send("<presence/>")
        self.apply(EVERYBODY.format(""))
        self.taken(phone)
        self.juliet.send("<presence><show>away</show></presence>")
        self.assertEqual(self.presences(phone), [("juliet@localhost/b", "")])

    def test_directed(self) -> None:
        """Who got directed presence sees the sender leave, and is told nothing later."""
        stranger = self.connect("tybalt@localhost/c")
        self.juliet.send("<presence to='tybalt@localhost/c'/>")
        self.taken(stranger)
        self.block("tybalt@localhost")
        self.assertEqual(self.presences(stranger), [("juliet@localhost/b", "unavailable")])
        self.juliet.lose()
        stranger.nothing()

    def test_directed_only(self) -> None:
        """That holds for a client that is available to nobody else as well."""
        stranger = self.connect("tybalt@localhost/c")
        self.juliet.send("<presence type='unavailable'/>")
        self.juliet.send("<presence to='tybalt@localhost/c'/>")
        self.taken(stranger)
        self.block("tybalt@localhost")
        self.assertEqual(self.presences(stranger), [("juliet@localhost/b", "unavailable")])

    def test_hidden_by_group(self) -> None:
        """A contact that comes into a denied group sees the user leave."""
        roster = f"<iq type='set' id='r'><query xmlns='{ns.ROSTER}'>{{}}</query></iq>"
        item = "<item jid='{}@localhost'><group>Foes</group></item>"
        self.juliet.request(roster.format(item.format("other")))
        self.apply("<item type='group' value='Foes' action='deny' order='1'/>")
        self.juliet.request(roster.format(item.format("romeo")))
        self.assertEqual(self.presences(self.romeo), [("juliet@localhost/b", "unavailable")])

    def test_approved_while_hidden(self) -> None:
        """A new subscriber does not see a user who hides from everybody."""
        self.apply(EVERYBODY.format("<presence-out/>"))
        stranger = self.connect("tybalt@localhost/c")
        stranger.send("<presence/>")
        stranger.send("<presence to='juliet@localhost' type='subscribe'/>")
        self.taken(stranger)
        self.juliet.send("<presence to='tybalt@localhost' type='subscribed'/>")
        self.assertEqual(self.presences(stranger), [("juliet@localhost", "subscribed")])
