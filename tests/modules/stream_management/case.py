"""Two people, one of whom counts stanzas."""

from typing import cast

from mongoosetw.hooks.bus import STOP, Outcome
from mongoosetw.hooks.c2s import SessionClosed, SessionLike, UserReceiveMessage
from mongoosetw.hooks.routing import MessagesAcknowledged, UnacknowledgedMessage
from mongoosetw.testing.client import Client
from mongoosetw.testing.server import ServerTestCase
from mongoosetw.xmpp import ns
from mongoosetw.xmpp.stanza import Stanza

JULIET = "juliet@localhost/b"
RESUME = f"<resume xmlns='{ns.SM}' previd='{{}}' h='{{}}'/>"
ITEM_NOT_FOUND = f"<item-not-found xmlns='{ns.STANZAS}'/>".encode()


class Entry:
    """Where a message is in the log.

    :ivar body: what it says.
    """

    def __init__(self, number: int, body: str | None) -> None:
        self.id = number
        self.body = body


class FakeLog:
    """Stands for the message log: notes messages to a session, and holds the sender's receipt.

    :ivar commits: the receipts that wait for a commit.
    :ivar settled: the bodies of messages that the recipient has acknowledged.
    """

    def __init__(self) -> None:
        self.on = True
        self.commits: list[Stanza] = []
        self.settled: list[str | None] = []
        self.calls = 0
        self.left: list[str | None] = []

    def enter(self, stanza: Stanza) -> None:
        """Puts a message into the log."""
        if not self.on:
            return
        stanza.log = Entry(len(self.commits), stanza.body)
        if stanza.receipt is not None:
            stanza.receipt.hold()
            self.commits.append(stanza)

    def commit(self) -> None:
        """All that was put into the log is on disk."""
        commits, self.commits = self.commits, []
        for stanza in commits:
            assert stanza.receipt is not None
            stanza.receipt.release()


class StreamManagementTestCase(ServerTestCase):
    """Romeo, and Juliet whose client has enabled stream management with resumption."""

    modules = {"mod_roster": {}, "mod_presence": {}, "mod_stream_management": {}}
    enables = True

    def setUp(self) -> None:
        """Logs both in."""
        super().setUp()
        self.closed: list[str] = []

        def closed(event: SessionClosed) -> None:
            self.closed.append(event.reason)

        self.host.hooks.add(SessionClosed, 100, "test", closed)
        self.host.hooks.publish()
        self.romeo = self.connect("romeo@localhost/a")
        self.juliet = self.connect(JULIET)
        if self.enables:
            self.juliet.enable_sm()

    def use_fake_log(self) -> FakeLog:
        """Has every message that is delivered to a session noted in a log."""
        log = FakeLog()

        def received(event: UserReceiveMessage) -> None:
            log.enter(event.stanza)

        def acknowledged(event: MessagesAcknowledged) -> None:
            log.calls += 1
            log.settled += [entry.body for entry in cast("list[Entry]", event.entries)]

        def unacknowledged(event: UnacknowledgedMessage) -> Outcome:
            log.left.append(event.stanza.body)
            return STOP if event.stanza.log is not None else None

        self.host.hooks.add(UserReceiveMessage, 50, "test", received)
        self.host.hooks.add(MessagesAcknowledged, 50, "test", acknowledged)
        self.host.hooks.add(UnacknowledgedMessage, 50, "test", unacknowledged)
        self.host.hooks.publish()
        return log

    def say(self, *bodies: str, to: str = JULIET) -> None:
        """Romeo sends messages, all at once."""
        self.romeo.send(
            "".join(f"<message to='{to}' type='chat'><body>{b}</body></message>" for b in bodies)
        )

    def session(self) -> SessionLike:
        """Juliet's session."""
        found = self.host.sessions.get(self.juliet.jid)
        assert found is not None
        return found

    def heard(self, client: Client) -> list[str | None]:
        """Takes the bodies of all that has arrived."""
        found = [stanza.body for stanza in client.received]
        client.events.clear()
        return found

    def refused(self, client: Client, xml: str) -> bytes:
        """Sends an element that is answered with ``<failed/>``; returns the answer."""
        client.send(xml)
        return client.take_nonza("failed").xml
