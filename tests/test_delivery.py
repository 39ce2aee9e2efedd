"""One-to-one messages and iqs by RFC 6121 §8.5, over the real server."""

from mongoosetw.testing.client import Client
from mongoosetw.testing.server import ServerTestCase
from mongoosetw.xmpp.stanza import Stanza


class DeliveryTests(ServerTestCase):
    """Messages and iqs between clients of one domain."""

    def setUp(self) -> None:
        """Two users, the second with two resources."""
        super().setUp()
        self.romeo = self.connect("romeo@localhost/a")
        self.phone = self.connect("juliet@localhost/phone")
        self.laptop = self.connect("juliet@localhost/laptop")

    def available(self, client: Client, priority: int) -> None:
        """Sets a session's presence as mod_presence does."""
        session = self.host.sessions.get(client.jid)
        assert session is not None
        session.presence = Stanza.make("presence")
        session.priority = priority

    def test_full_jid(self) -> None:
        """A message to a full JID reaches that resource alone, from the sender's full JID."""
        self.romeo.send("<message to='juliet@localhost/phone'><body>hi &amp;</body></message>")
        wanted = "<message from='romeo@localhost/a'><body>hi &amp;</body></message>"
        got = self.phone.receives(wanted)
        self.assertEqual(got.body, "hi &")
        self.laptop.nothing()

    def test_bare_jid_highest_priority(self) -> None:
        """A chat to the bare JID reaches the resource with the highest priority."""
        self.available(self.phone, 1)
        self.available(self.laptop, 5)
        self.romeo.send("<message to='juliet@localhost' type='chat'><body>x</body></message>")
        self.laptop.receives("<message type='chat'/>")
        self.phone.nothing()

    def test_bare_jid_equal_priorities(self) -> None:
        """Resources of equal priority all get it."""
        self.available(self.phone, 1)
        self.available(self.laptop, 1)
        self.romeo.send("<message to='juliet@localhost' type='chat'><body>x</body></message>")
        self.laptop.receives("<message type='chat'/>")
        self.phone.receives("<message type='chat'/>")

    def test_negative_priority(self) -> None:
        """A resource with negative priority gets nothing sent to the bare JID."""
        self.available(self.phone, -1)
        self.romeo.send("<message to='juliet@localhost' type='chat'><body>x</body></message>")
        self.phone.nothing()
        self.romeo.receives("<message type='error' from='juliet@localhost'/>")

    def test_headline_to_all(self) -> None:
        """A headline reaches all non-negative resources."""
        self.available(self.phone, 0)
        self.available(self.laptop, 5)
        self.romeo.send("<message to='juliet@localhost' type='headline'><body>x</body></message>")
        self.phone.receives("<message type='headline'/>")
        self.laptop.receives("<message type='headline'/>")

    def test_chat_to_gone_resource(self) -> None:
        """A chat to a resource that is gone goes where one to the bare JID would."""
        self.available(self.laptop, 0)
        self.romeo.send("<message to='juliet@localhost/gone' type='chat'><body>x</body></message>")
        self.laptop.receives("<message to='juliet@localhost/gone' type='chat'/>")

    def test_headline_to_gone_resource(self) -> None:
        """A headline to a resource that is gone is dropped in silence."""
        self.available(self.laptop, 0)
        self.romeo.send("<message to='juliet@localhost/gone' type='headline'/>")
        self.laptop.nothing()
        self.romeo.nothing()

    def test_groupchat_bounces(self) -> None:
        """A groupchat message to an account is service-unavailable."""
        self.available(self.laptop, 0)
        self.romeo.send("<message to='juliet@localhost' type='groupchat' id='1'/>")
        self.assertIn("service-unavailable", self.romeo.take().to_bytes().decode())

    def test_error_is_dropped(self) -> None:
        """An error to nobody is not answered with an error."""
        self.romeo.send("<message to='juliet@localhost' type='error'/>")
        self.romeo.nothing()

    def test_unknown_user(self) -> None:
        """A message to an account that does not exist is service-unavailable."""
        self.romeo.send("<message to='nobody@localhost' id='1'><body>x</body></message>")
        answer = self.romeo.receives("<message type='error' id='1' from='nobody@localhost'/>")
        self.assertIn(b"service-unavailable", answer.inner)

    def test_unreachable_domain(self) -> None:
        """A stanza to a domain that nobody reaches is remote-server-not-found."""
        self.romeo.send("<message to='a@elsewhere.example' id='1'><body>x</body></message>")
        self.assertIn(b"remote-server-not-found", self.romeo.take().inner)

    def test_message_without_address(self) -> None:
        """A message without to goes to the sender's own account (RFC 6120 §10.3.1)."""
        self.available(self.romeo, 0)
        self.romeo.send("<message><body>me</body></message>")
        self.romeo.receives("<message><body>me</body></message>")

    def test_order(self) -> None:
        """Many stanzas in one packet arrive in their order."""
        sent = "".join(f"<message to='{self.phone.jid}' id='{n}'/>" for n in range(100))
        self.romeo.send(sent)
        self.assertEqual([s.id for s in self.phone.received], [str(n) for n in range(100)])

    def test_iq_to_full_jid(self) -> None:
        """A request to a full JID and its answer pass through."""
        self.romeo.send("<iq to='juliet@localhost/phone' type='get' id='1'><q xmlns='a:b'/></iq>")
        self.phone.receives("<iq type='get' id='1' from='romeo@localhost/a'><q xmlns='a:b'/></iq>")
        self.phone.send("<iq to='romeo@localhost/a' type='result' id='1'/>")
        self.romeo.receives("<iq type='result' id='1' from='juliet@localhost/phone'/>")

    def test_iq_errors(self) -> None:
        """Requests that nobody can answer get the error that RFC 6120 §8 names."""
        cases = {
            "<iq to='juliet@localhost/gone' type='get' id='1'><q xmlns='a:b'/></iq>": "service-un",
            "<iq to='localhost' type='get' id='1'><q xmlns='a:b'/></iq>": "service-unavailable",
            "<iq type='get' id='1'/>": "bad-request",
            "<iq type='get' id='1'><a xmlns='a:b'/><b xmlns='a:b'/></iq>": "bad-request",
            "<iq type='wrong' id='1'><a xmlns='a:b'/></iq>": "bad-request",
        }
        for sent, condition in cases.items():
            self.romeo.send(sent)
            self.assertIn(condition, self.romeo.take().to_bytes().decode())
