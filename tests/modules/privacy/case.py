"""What the tests of privacy lists and blocking share: friends, and requests."""

from typing import ClassVar

from mongoosetw.testing.client import Client
from mongoosetw.testing.server import ServerTestCase
from mongoosetw.xmpp import ns
from mongoosetw.xmpp.stanza import Stanza

PRIVACY = f"<iq type='{{}}' id='p'><query xmlns='{ns.PRIVACY}'>{{}}</query></iq>"
BLOCKING = f"<iq type='{{}}' id='b'><{{}} xmlns='{ns.BLOCKING}'>{{}}</{{}}></iq>"
CHAT = "<message to='{}' type='chat' id='m'><body>{}</body></message>"
DENY_ROMEO = "<item type='jid' value='romeo@localhost' action='deny' order='1'>{}</item>"


class PrivacyTestCase(ServerTestCase):
    """Juliet has lists, romeo is the one she wants or does not want to hear of."""

    modules: ClassVar = {
        "mod_roster": {},
        "mod_presence": {},
        "mod_privacy": {},
        "mod_blocking": {},
        "mod_disco": {},
        "mod_offline": {},
        "mod_carboncopy": {},
        "mod_last": {},
    }

    def setUp(self) -> None:
        """Logs both in."""
        super().setUp()
        self.romeo = self.connect("romeo@localhost/a")
        self.juliet = self.connect("juliet@localhost/b")

    def clear(self) -> None:
        """Nobody has anything unread."""
        self.taken(self.romeo)
        self.taken(self.juliet)

    def taken(self, client: Client) -> list[Stanza]:
        """What has arrived; it is read then."""
        found = client.received
        client.events.clear()
        return found

    def befriend(self, *clients: Client) -> None:
        """All are available, and the first two see one another's presence."""
        one, other = clients or (self.romeo, self.juliet)
        for client in (one, other):
            client.send("<presence/>")
        for client, friend in ((one, other), (other, one)):
            client.send(f"<presence to='{friend.jid.bare}' type='subscribe'/>")
            friend.send(f"<presence to='{client.jid.bare}' type='subscribed'/>")
        self.clear()

    def privacy(self, client: Client, type: str, content: str = "") -> Stanza:
        """The answer to a request for privacy lists."""
        return client.request(PRIVACY.format(type, content))

    def refused(self, answer: Stanza, condition: str) -> None:
        """Asserts that a request was answered with this error."""
        self.assertEqual(answer.type, "error", answer.to_bytes())
        self.assertIn(f"<{condition} ".encode(), answer.inner)

    def put(self, items: str, name: str = "n", client: Client | None = None) -> None:
        """Stores a list."""
        answer = self.privacy(client or self.juliet, "set", f"<list name='{name}'>{items}</list>")
        self.assertEqual(answer.type, "result", answer.to_bytes())

    def use(self, what: str, name: str | None = "n", client: Client | None = None) -> None:
        """Makes a list the active or the default one, or declines it."""
        attribute = "" if name is None else f" name='{name}'"
        answer = self.privacy(client or self.juliet, "set", f"<{what}{attribute}/>")
        self.assertEqual(answer.type, "result", answer.to_bytes())

    def apply(self, items: str) -> None:
        """Has items as juliet's default list."""
        self.put(items)
        self.use("default")
        self.clear()

    def blocking(self, client: Client, tag: str, *addresses: str) -> Stanza:
        """The answer to a blocking command."""
        items = "".join(f"<item jid='{address}'/>" for address in addresses)
        return client.request(BLOCKING.format("set", tag, items, tag))

    def block(self, *addresses: str) -> None:
        """Juliet blocks."""
        self.assertEqual(self.blocking(self.juliet, "block", *addresses).type, "result")

    def unblock(self, *addresses: str) -> None:
        """Juliet unblocks."""
        self.assertEqual(self.blocking(self.juliet, "unblock", *addresses).type, "result")

    def blocklist(self, client: Client | None = None) -> set[str]:
        """The blocked addresses, as a client is told."""
        asked = BLOCKING.format("get", "blocklist", "", "blocklist")
        answer = (client or self.juliet).request(asked)
        assert answer.payload is not None
        return {item.getAttribute("jid") for item in answer.payload.elements()}

    def says(self, client: Client, to: str, body: str = "x") -> None:
        """Sends a chat message."""
        client.send(CHAT.format(to, body))

    def bodies(self, client: Client) -> list[str | None]:
        """The bodies of the messages that have arrived; everything is read then."""
        return [s.body for s in self.taken(client) if s.kind == "message" and s.type != "error"]

    def presences(self, client: Client) -> list[tuple[str, str]]:
        """Senders and types of the presence that has arrived; everything is read then."""
        found = self.taken(client)
        return [(str(s.from_), s.type) for s in found if s.kind == "presence"]

    def errors(self, client: Client) -> list[bytes]:
        """The errors that have arrived; everything is read then."""
        return [s.inner for s in self.taken(client) if s.type == "error"]
