"""What modules see of the stanzas that a client sends, before they are routed."""

from mongoosetw.hooks.bus import STOP, Hook, Outcome
from mongoosetw.hooks.c2s import (
    UserReceiveIQ,
    UserReceiveMessage,
    UserReceivePresence,
    UserSendIQ,
    UserSendMessage,
    UserSendPacket,
    UserSendPresence,
)
from mongoosetw.testing.server import ServerTestCase
from mongoosetw.xmpp.errors import StanzaError


class SendHookTests(ServerTestCase):
    """A client, and handlers that a test adds."""

    def setUp(self) -> None:
        """Logs in, and notes which hooks were fired."""
        super().setUp()
        self.romeo = self.connect("romeo@localhost/a")
        self.seen: list[type[Hook]] = []

    def add(self, hook: type[Hook], outcome: Outcome = None) -> None:
        """Adds a handler."""

        def handler(event: Hook) -> Outcome:
            self.seen.append(type(event))
            return outcome

        self.host.hooks.add(hook, 50, "test", handler)
        self.host.hooks.publish()

    def say(self) -> None:
        """Sends a message to oneself."""
        self.romeo.send("<message to='romeo@localhost/a'><body>hi</body></message>")

    def test_any_stanza_first(self) -> None:
        """The hook of any stanza runs before that of its kind, and once."""
        self.add(UserSendMessage)
        self.add(UserSendPacket)
        self.say()
        self.assertEqual(self.seen, [UserSendPacket, UserSendMessage])
        self.assertEqual(self.romeo.take().body, "hi")

    def test_kinds(self) -> None:
        """Each kind of stanza has its hooks, on its way from the client and to it."""
        for kind, hooks, rest in (
            ("message", (UserSendMessage, UserReceiveMessage), ""),
            ("presence", (UserSendPresence, UserReceivePresence), ""),
            ("iq", (UserSendIQ, UserReceiveIQ), "type='result' id='1'"),
        ):
            for hook in hooks:
                self.add(hook)
            self.romeo.send(f"<{kind} to='romeo@localhost/a' {rest}/>")
            self.assertEqual(self.seen, list(hooks))
            self.seen.clear()

    def test_stopped(self) -> None:
        """A stanza that is stopped goes no further, and nobody is told."""
        self.add(UserSendMessage)
        self.add(UserSendPacket, STOP)
        self.say()
        self.assertEqual(self.seen, [UserSendPacket])
        self.romeo.nothing()

    def test_refused(self) -> None:
        """A stanza that is refused comes back with the error; a handler's fault refuses it too."""

        def refuse(event: UserSendPacket) -> None:
            raise StanzaError("not-acceptable")

        self.host.hooks.add(UserSendPacket, 50, "test", refuse)
        self.host.hooks.publish()
        self.say()
        self.romeo.receives("<message type='error'><error type='modify'/></message>")
        self.host.hooks.remove_owner("test")
        self.host.hooks.add(UserSendPacket, 50, "test", lambda event: 1 // 0)
        self.host.hooks.publish()
        with self.assertLogs("mongoosetw.hooks.bus", "ERROR"):
            self.say()
        self.romeo.receives("<message type='error'><error type='wait'/></message>")
