"""What modules can do before a client has a session: other ways to log in have their place here."""

from mongoosetw.hooks.bus import STOP, Outcome
from mongoosetw.hooks.c2s import UnauthenticatedNonza
from mongoosetw.testing.server import ServerTestCase

HELLO = "<hello xmlns='urn:example:login'/>"


class UnauthenticatedNonzaTests(ServerTestCase):
    """A handler that takes one kind of element, and knows who is there by it."""

    def setUp(self) -> None:
        """Adds the handler."""
        super().setUp()

        async def hello(event: UnauthenticatedNonza) -> Outcome:
            if event.nonza.name != ("urn:example:login", "hello"):
                return None
            event.stream.send_bytes(HELLO.encode())
            return STOP

        self.host.hooks.add(UnauthenticatedNonza, 50, "test", hello)
        self.host.hooks.publish()
        self.client = self.connect_raw()
        self.client.open()

    def test_taken(self) -> None:
        """An element that a module takes is answered by it, and the negotiation goes on."""
        self.client.send(HELLO)
        self.assertTrue(self.client.output().endswith(HELLO.encode()))
        self.client.send("</stream:stream>")
        self.assertNotIn(b"<stream:error", self.client.output())

    def test_not_taken(self) -> None:
        """One that nobody takes ends the stream: the client has not logged in."""
        self.client.send("<goodbye xmlns='urn:example:login'/>")
        self.assertIn(b"<not-authorized", self.client.output())
        self.assertTrue(self.client.transport.closed)
