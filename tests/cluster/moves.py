"""Romeo and Juliet on different nodes, and Juliet's client that changes nodes."""

from mongoosetw.c2s.session import Session
from mongoosetw.testing.client import Client
from mongoosetw.testing.cluster import ClusterTestCase
from mongoosetw.xmpp import ns
from mongoosetw.xmpp.jid import JID

JULIET = "juliet@localhost/balcony"
RESUME = f"<resume xmlns='{ns.SM}' previd='{{}}' h='{{}}'/>"
REQUEST = f"<r xmlns='{ns.SM}'/>"


class MovesTestCase(ClusterTestCase):
    """Romeo on node a, and Juliet on b, whose client can resume; they see each other."""

    nodes = ("a", "b", "c")
    modules = {
        "mod_roster": {},
        "mod_presence": {},
        "mod_offline": {},
        "mod_carboncopy": {},
        "mod_csi": {},
        "mod_privacy": {},
        "mod_stream_management": {"stale_h": {"enabled": True}},
    }

    def setUp(self) -> None:
        """Logs both in."""
        super().setUp()
        self.romeo = self.connect("romeo@localhost/orchard", "a")
        self.juliet = self.connect(JULIET, "b")
        self.befriend(self.romeo, self.juliet)
        self.juliet.enable_sm()
        for client in (self.romeo, self.juliet):
            client.send("<presence><priority>5</priority></presence>")
        self.run_for(0.1)
        self.forget(self.romeo, self.juliet)

    def configuration(self) -> str:
        """As usual; TOML writes an inner table another way."""
        return super().configuration().replace('{"enabled": true}', "{enabled = true}")

    def befriend(self, one: Client, other: Client) -> None:
        """Each is subscribed to the other."""
        for asks, agrees in ((one, other), (other, one)):
            asks.send(f"<presence type='subscribe' to='{agrees.jid.bare}'/>")
            self.run_for(0.1)
            agrees.send(f"<presence type='subscribed' to='{asks.jid.bare}'/>")
            self.run_for(0.1)

    def forget(self, *clients: Client) -> None:
        """What has arrived so far is of no interest."""
        for client in clients:
            client.pump()
            client.events.clear()

    def say(self, *bodies: str, to: str = JULIET, by: Client | None = None) -> None:
        """Romeo sends messages, all at once."""
        (by or self.romeo).send(
            "".join(f"<message to='{to}' type='chat'><body>{b}</body></message>" for b in bodies)
        )

    def heard(self, client: Client) -> list[str | None]:
        """Takes the bodies of all messages that have arrived."""
        self.run_for(0.2)
        found = [stanza.body for stanza in client.received if stanza.kind == "message"]
        client.events.clear()
        return found

    def session(self, node: str) -> Session | None:
        """Juliet's session, if it is on a node."""
        found = self.host(node).sessions.get(JID.parse(JULIET))
        return found if isinstance(found, Session) else None

    def refused(self, node: str, resume_id: str, h: int = 0, jid: str = JULIET) -> bytes:
        """The answer to a client that cannot resume."""
        client = self.connect(jid, node, bind=False)
        client.send(RESUME.format(resume_id, h))
        self.run_for(0.2)
        return client.take_nonza("failed").xml

    def waiting(self) -> int:
        """How many messages wait for Juliet in the log."""
        self.run_for(3)
        log = next(iter(self.servers.values())).message_log
        assert log is not None
        return self.await_(log.pending_count(JID.parse("juliet@localhost"), 1000))
