"""mod_offline where the recipient's priority, connection or account changes."""

from collections.abc import Callable
from typing import Any

from twisted.internet.defer import Deferred

from mongoosetw.hooks.users import RemoveUser
from mongoosetw.testing.client import Client
from mongoosetw.testing.server import ServerTestCase
from mongoosetw.xmpp import ns
from mongoosetw.xmpp.jid import JID


def bodies(client: Client) -> list[str | None]:
    """The messages that have arrived."""
    return [stanza.body for stanza in client.received if stanza.kind == "message"]


class OfflineTestCase(ServerTestCase):
    """A sender, and an account that is away."""

    modules = {"mod_roster": {}, "mod_presence": {}, "mod_offline": {}}

    def setUp(self) -> None:
        """A sender, and an account that is away."""
        super().setUp()
        self.romeo = self.connect("romeo@localhost/a")
        self.register("juliet@localhost")

    def say(self, body: str, extra: str = "") -> None:
        """Sends to the account."""
        self.romeo.send(
            f"<message to='juliet@localhost' type='chat'><body>{body}</body>{extra}</message>"
        )

    def juliet(self, resource: str) -> Client:
        """The recipient comes."""
        client = self.connect(f"juliet@localhost/{resource}")
        client.send("<presence/>")
        return client


class OfflineMessageTests(OfflineTestCase):
    """Messages that wait (XEP-0160), in the database."""

    def test_priority_that_becomes_negative(self) -> None:
        """What comes while a client's priority is negative is delivered when it no longer is."""
        juliet = self.juliet("b")
        juliet.send("<presence><priority>-1</priority></presence>")
        self.say("x")
        self.assertEqual(bodies(juliet), [])
        juliet.send("<presence/>")
        self.assertEqual(bodies(juliet), ["x"])

    def test_not_for_archives(self) -> None:
        """A message that must not be archived waits nevertheless (XEP-0334 §4.1)."""
        self.say("x", f"<no-permanent-store xmlns='{ns.HINTS}'/>")
        self.romeo.nothing()
        self.assertEqual(bodies(self.juliet("b")), ["x"])

    def test_removed_account(self) -> None:
        """An account's messages are gone with it."""
        self.say("x")
        self.await_(self.host.hooks.run(RemoveUser(JID.parse("juliet@localhost"))))
        self.assertEqual(bodies(self.juliet("b")), [])


class MemoryTests(OfflineMessageTests):
    """The same with the store in memory."""

    modules = {"mod_roster": {}, "mod_presence": {}, "mod_offline": {"backend": "memory"}}


class SlowDatabaseTests(OfflineTestCase):
    """What happens while the messages are being read."""

    def read_slowly(self) -> Callable[[], None]:
        """Holds the module's calls of the database back until the answer is called."""
        gate: Deferred[None] = Deferred()
        database = self.server.db

        def later(call: Any) -> Any:
            def run(name: str, function: Any) -> Any:
                result: Deferred[Any] = Deferred()
                gate.addCallback(lambda _: call(name, function).chainDeferred(result))
                gate.addCallback(lambda _: None)
                return result if name.startswith("offline_") else call(name, function)

            return run

        self.patch(database, "run", later(database.run))
        self.patch(database, "read", later(database.read))
        return lambda: gate.callback(None)

    def test_connection_lost_meanwhile(self) -> None:
        """Messages are kept when the client goes before they have been read."""
        self.say("x")
        go_on = self.read_slowly()
        self.juliet("b").lose()
        go_on()
        self.assertEqual(bodies(self.juliet("c")), ["x"])

    def test_two_clients_at_once(self) -> None:
        """Of two clients that come at the same time one gets the messages."""
        self.say("x")
        go_on = self.read_slowly()
        clients = [self.juliet("b"), self.juliet("c")]
        go_on()
        self.assertEqual([body for client in clients for body in bodies(client)], ["x"])
