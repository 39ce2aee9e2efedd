"""mod_roster's memory: loading and changing rosters while others do the same."""

from typing import Any

from twisted.internet.defer import Deferred

from modules.mod_roster.contacts import Contacts, Rosters
from modules.mod_roster.store import Item
from mongoosetw.testing.server import ServerTestCase
from mongoosetw.xmpp import ns
from mongoosetw.xmpp.jid import JID
from mongoosetw.xmpp.stanza import Stanza

ROMEO = JID.parse("romeo@localhost")
JULIET = JID.parse("juliet@localhost")


class SlowStore:
    """A store whose answers come when the test says so."""

    def __init__(self) -> None:
        self.loads: list[Deferred[dict[JID, Item]]] = []

    def load(self, user: JID) -> Deferred[dict[JID, Item]]:
        """Asks for a roster."""
        self.loads.append(Deferred())
        return self.loads[-1]


class RostersTests(ServerTestCase):
    """Rosters that are loaded when asked for."""

    def setUp(self) -> None:
        """Makes an empty memory for two rosters."""
        super().setUp()
        self.store = SlowStore()
        self.rosters = Rosters(self.store, 2)  # type: ignore[arg-type]

    def get(self, user: JID) -> Deferred[Contacts]:
        """Asks for a user's contacts."""
        return Deferred.fromCoroutine(self.rosters.get(user))

    def test_loaded_once(self) -> None:
        """Who asks while a roster is loaded gets the same, and so does who asks later."""
        first, second = self.get(ROMEO), self.get(ROMEO)
        self.store.loads.pop().callback({JULIET: Item(JULIET)})
        contacts = self.successResultOf(first)
        self.assertIs(self.successResultOf(second), contacts)
        self.assertIs(self.successResultOf(self.get(ROMEO)), contacts)
        self.assertEqual(self.store.loads, [])

    def test_empty_roster_is_loaded_once(self) -> None:
        """A user without contacts is remembered like any other."""
        self.get(ROMEO)
        self.store.loads.pop().callback({})
        self.successResultOf(self.get(ROMEO))
        self.assertEqual(self.store.loads, [])

    def test_failure_is_not_remembered(self) -> None:
        """After a failed load the next one tries again."""
        failed, second = self.get(ROMEO), self.get(ROMEO)
        self.store.loads.pop().errback(OSError("gone"))
        self.failureResultOf(failed, OSError)
        self.store.loads.pop().callback({})
        self.successResultOf(second)

    def test_bound(self) -> None:
        """No more rosters are kept than asked for; the oldest goes first."""
        for local in "abc":
            self.get(JID.of(local, "localhost"))
            self.store.loads.pop().callback({})
        self.assertIsNone(self.rosters.known(JID.of("a", "localhost")))
        self.assertIsNotNone(self.rosters.known(JID.of("c", "localhost")))


class MeetingTests(ServerTestCase):
    """Two users who act at the same moment."""

    modules = {"mod_roster": {}, "mod_presence": {}}

    def slow_down(self) -> list[tuple[Any, Any, Deferred[None]]]:
        """Has every change of a roster wait; the list gets what is to be stored."""
        waiting: list[tuple[Any, Any, Deferred[None]]] = []
        store = self.host.modules["mod_roster"]._store  # type: ignore[attr-defined]
        save = store.save

        async def slow(user: JID, item: Item, before: Item | None) -> bool:
            waiting.append((user, item, Deferred()))
            await waiting[-1][2]
            stored: bool = await save(user, item, before)
            return stored

        self.patch(store, "save", slow)
        return waiting

    def test_both_ask(self) -> None:
        """Two who ask for each other's presence at once both have asked, and both are asked."""
        romeo, juliet = self.connect("romeo@localhost/a"), self.connect("juliet@localhost/b")
        waiting = self.slow_down()
        romeo.send("<presence to='juliet@localhost' type='subscribe'/>")
        juliet.send("<presence to='romeo@localhost' type='subscribe'/>")
        while waiting:
            waiting.pop(0)[2].callback(None)
        for client in (romeo, juliet):
            client.send("<presence/>")
            self.assertIn("subscribe", [stanza.type for stanza in client.received])
            roster = client.request(f"<iq type='get' id='r'><query xmlns='{ns.ROSTER}'/></iq>")
            self.assertIn(b"ask='subscribe'", roster.inner)


class NothingWaitsTests(ServerTestCase):
    """Stanzas that are none of the modules' business."""

    modules = {"mod_roster": {}, "mod_presence": {}}

    def test_message_passes_at_once(self) -> None:
        """A message, and a later presence, are through before anything else can happen."""
        romeo = self.connect("romeo@localhost/a")
        session = self.host.sessions.get(romeo.jid)
        assert session is not None
        romeo.send("<presence/>")
        for xml in ("<message to='romeo@localhost/a'/>", "<presence><show>dnd</show></presence>"):
            self.assertIsNone(session.receive(Stanza.parse(xml)))  # type: ignore[attr-defined]
