"""Users of several nodes who know one another."""

from mongoosetw.testing.client import Client
from mongoosetw.testing.cluster import ClusterTestCase
from mongoosetw.xmpp.jid import JID
from mongoosetw.xmpp.stanza import Stanza


class FriendsCase(ClusterTestCase):
    """Starts three nodes."""

    nodes = ("a", "b", "c")
    modules = {"mod_roster": {}, "mod_presence": {}}

    def befriend(self, one: str, other: str) -> None:
        """Two users (bare JIDs) see each other's presence from now on."""
        first = self.connect(f"{one}/subscribing", "a")
        second = self.connect(f"{other}/subscribing", "b")
        for client, to in ((first, other), (second, one)):
            client.send(f"<presence to='{to}' type='subscribe'/>")
            client.send(f"<presence to='{to}' type='subscribed'/>")
        for client in (first, second):
            client.send("</stream:stream>")
        self.settled()

    def settled(self) -> None:
        """Lets all that was sent arrive."""
        for _ in range(5):
            self.settle()

    def log_in(self, jid: str, node: str, presence: str = "<presence/>") -> Client:
        """A client that is available, and has forgotten what it was told of at first."""
        client = self.connect(jid, node)
        client.send(presence)
        self.settled()
        self.forget(client)
        return client

    def log_in_to_stay(self, jid: str, node: str) -> Client:
        """Likewise one that can resume its session."""
        client = self.connect(jid, node)
        client.enable_sm()
        client.send("<presence/>")
        self.forget(client)
        return client

    def forget(self, *clients: Client) -> None:
        """What has come to clients so far does not matter."""
        self.settled()
        for client in clients:
            client.pump()
            client.events.clear()

    def seen(self, client: Client, of: str = "") -> list[str]:
        """The presence that a client has got since the last time, and from whom."""
        self.settled()
        found = [
            f"{stanza.type or 'available'} {_resource(stanza)}"
            for stanza in client.received
            if stanza.kind == "presence" and str(stanza.from_).startswith(of)
        ]
        client.events.clear()
        return found

    def node_of(self, client: Client) -> str:
        """The node that has a client's session."""
        for name, server in self.servers.items():
            session = server.hosts["localhost"].sessions.get(client.jid)
            if session is not None and session.local:
                return name
        return ""


def _resource(stanza: Stanza) -> str:
    sender = stanza.from_
    assert isinstance(sender, JID)
    return str(sender).replace("@localhost", "")
