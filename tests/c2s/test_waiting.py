"""A client's stream while a stanza of it has to wait."""

from twisted.internet.defer import Deferred

from mongoosetw.hooks.c2s import UserSendMessage
from mongoosetw.testing.client import Client
from mongoosetw.testing.server import ServerTestCase

MESSAGE = "<message to='romeo@localhost/a'><body>{}</body></message>"


class WaitingTests(ServerTestCase):
    """A module has to wait for each message."""

    def setUp(self) -> None:
        """Logs a client in whose messages wait."""
        super().setUp()
        self.waiting: list[Deferred[None]] = []
        self.client = self.connect("romeo@localhost/a")

        def wait(event: UserSendMessage) -> Deferred[None]:
            self.waiting.append(Deferred())
            return self.waiting[-1]

        self.host.hooks.add(UserSendMessage, 50, "test", wait)
        self.host.hooks.publish()

    def bodies(self, client: Client) -> list[str | None]:
        """The texts of all that has arrived."""
        return [stanza.body for stanza in client.received]

    def test_order(self) -> None:
        """What a client sends meanwhile is handled behind it, in its order."""
        for text in "abc":
            self.client.send(MESSAGE.format(text))
        self.assertEqual(self.bodies(self.client), [])
        for _ in range(3):
            self.assertEqual(len(self.waiting), 1)
            self.waiting.pop().callback(None)
        self.assertEqual(self.bodies(self.client), ["a", "b", "c"])

    def test_not_read_further(self) -> None:
        """Of a client that sends more meanwhile no more is read until all that is handled."""
        transport = self.client.transport
        self.client.send(MESSAGE.format("a"))
        self.assertFalse(transport.paused)
        self.client.send(MESSAGE.format("b") + MESSAGE.format("c"))
        self.assertTrue(transport.paused)
        for _ in range(2):
            self.waiting.pop().callback(None)
            self.assertTrue(transport.paused)
        self.waiting.pop().callback(None)
        self.assertFalse(transport.paused)
        self.assertEqual(self.bodies(self.client), ["a", "b", "c"])

    def test_others_go_on(self) -> None:
        """A stanza that waits makes its own stream wait and nobody else's."""
        self.client.send(MESSAGE.format("a"))
        other = self.connect("juliet@localhost/b")
        other.send("<iq type='get' id='1' to='localhost'><x xmlns='x'/></iq>")
        self.assertEqual(other.take().id, "1")
