"""Roster versioning (RFC 6121 §2.6)."""

from dataclasses import replace

from mongoosetw.config.load import ModuleConfig
from mongoosetw.loading import reload_modules
from mongoosetw.testing.server import ServerTestCase
from mongoosetw.xmpp import ns

SET = f"<iq type='set' id='s'><query xmlns='{ns.ROSTER}'>{{}}</query></iq>"


class VersionTests(ServerTestCase):
    """What a client that knows a version gets."""

    modules = {"mod_roster": {"versioning": True}}

    def setUp(self) -> None:
        """Logs in with one contact."""
        super().setUp()
        self.romeo = self.connect("romeo@localhost/a")
        self.change("a@b", "A")

    def change(self, contact: str, name: str) -> None:
        """Adds a contact or gives it another name."""
        self.romeo.request(SET.format(f"<item jid='{contact}' name='{name}'/>"))

    def get(self, known: str = "") -> tuple[bool, str]:
        """Asks for the roster; whether it was sent, and the version that it has."""
        query = f"<query xmlns='{ns.ROSTER}' ver='{known}'/>"
        answer = self.romeo.request(f"<iq type='get' id='g'>{query}</iq>")
        payload = answer.payload
        return payload is not None, "" if payload is None else payload.getAttribute("ver")

    def version(self) -> str:
        """The roster's version."""
        sent, version = self.get()
        self.assertTrue(sent and version)
        return version

    def test_announced(self) -> None:
        """The feature is announced after the login."""
        self.assertIn(ns.ROSTER_VERSIONING.encode(), self.romeo.output())

    def test_known(self) -> None:
        """A client that knows the version gets nothing; after a change it gets the roster."""
        version = self.version()
        self.assertEqual(self.get(version), (False, ""))
        self.change("a@b", "B")
        sent, other = self.get(version)
        self.assertTrue(sent)
        self.assertNotEqual(other, version)

    def test_pushed(self) -> None:
        """A push carries the version that the roster has after the change."""
        self.version()
        self.romeo.events.clear()
        self.romeo.send(SET.format("<item jid='c@d'/>"))
        (push,) = [s for s in self.romeo.received if s.type == "set"]
        assert push.payload is not None
        pushed = push.payload.getAttribute("ver")
        self.romeo.events.clear()
        self.assertEqual(self.get(pushed), (False, ""))

    def test_removed(self) -> None:
        """A removal makes another version, too."""
        version = self.version()
        self.romeo.request(SET.format("<item jid='a@b' subscription='remove'/>"))
        self.assertTrue(self.get(version)[0])

    def test_restart(self) -> None:
        """A version is still good after a restart."""
        version = self.version()
        options = self.host.config.modules["mod_roster"]
        new = {"mod_roster": ModuleConfig("mod_roster", replace(options.options, max_items=9))}
        self.await_(reload_modules(self.host, {"mod_roster": options}, new))
        self.assertEqual(self.get(version), (False, ""))


class StoredVersionTests(VersionTests):
    """The same where MongooseIM would store versions."""

    modules = {"mod_roster": {"versioning": True, "store_current_id": True}}


class UnversionedTests(ServerTestCase):
    """Versioning that is off."""

    modules = {"mod_roster": {}}

    def test_off(self) -> None:
        """The roster has no version, and is sent whatever the client says that it knows."""
        romeo = self.connect("romeo@localhost/a")
        self.assertNotIn(ns.ROSTER_VERSIONING.encode(), romeo.output())
        query = f"<query xmlns='{ns.ROSTER}' ver=''/>"
        answer = romeo.request(f"<iq type='get' id='g'>{query}</iq>")
        assert answer.payload is not None
        self.assertFalse(answer.payload.hasAttribute("ver"))
