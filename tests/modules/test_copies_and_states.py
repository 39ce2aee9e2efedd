"""mod_carboncopy and mod_csi between real sessions."""

from mongoosetw.testing.client import Client
from mongoosetw.testing.server import ServerTestCase
from mongoosetw.xmpp import ns
from mongoosetw.xmpp.stanza import Stanza

ENABLE = f"<iq type='set' id='c'><enable xmlns='{ns.CARBONS}'/></iq>"
CHAT = "<message to='{}' type='chat'><body>x</body>{}</message>"


class CarbonTests(ServerTestCase):
    """Copies for the user's other devices (XEP-0280)."""

    modules = {"mod_roster": {}, "mod_presence": {}, "mod_carboncopy": {}}

    def setUp(self) -> None:
        """A user with two devices that want copies, and a friend."""
        super().setUp()
        self.romeo = self.connect("romeo@localhost/a")
        self.phone = self.connect("juliet@localhost/phone")
        self.laptop = self.connect("juliet@localhost/laptop")
        for client in (self.phone, self.laptop):
            self.assertEqual(client.request(ENABLE).type, "result")

    def forwarded(self, client: Client, direction: str) -> None:
        """Asserts that a copy of the chat has arrived, from the own account."""
        copy = client.receives("<message from='juliet@localhost' type='chat'/>")
        self.assertTrue(copy.has(ns.CARBONS, direction), copy)
        self.assertIn(b"<message xmlns='jabber:client' from=", copy.inner)

    def test_received(self) -> None:
        """What one device receives, the other one gets as a copy."""
        self.romeo.send(CHAT.format(self.phone.jid, ""))
        self.phone.receives("<message from='romeo@localhost/a'><body>x</body></message>")
        self.forwarded(self.laptop, "received")
        self.phone.nothing()

    def test_sent(self) -> None:
        """What one device sends, the other one gets as a copy."""
        self.phone.send(CHAT.format(self.romeo.jid, ""))
        self.romeo.receives("<message><body>x</body></message>")
        self.forwarded(self.laptop, "sent")
        self.phone.nothing()

    def test_bare_jid(self) -> None:
        """A chat to the account reaches each device once, as original or as copy."""
        for client, priority in ((self.phone, 5), (self.laptop, 1)):
            client.send(f"<presence><priority>{priority}</priority></presence>")
        for client in (self.phone, self.laptop):
            client.pump()
            client.events.clear()
        self.romeo.send(CHAT.format("juliet@localhost", ""))
        self.phone.receives("<message from='romeo@localhost/a'/>")
        self.forwarded(self.laptop, "received")
        self.phone.nothing()
        self.laptop.nothing()

    def test_private(self) -> None:
        """A private message is not copied."""
        self.romeo.send(CHAT.format(self.phone.jid, f"<private xmlns='{ns.CARBONS}'/>"))
        self.laptop.nothing()

    def test_disabled(self) -> None:
        """A device that disabled copies gets none."""
        disable = f"<iq type='set' id='c'><disable xmlns='{ns.CARBONS}'/></iq>"
        self.assertEqual(self.laptop.request(disable).type, "result")
        self.romeo.send(CHAT.format(self.phone.jid, ""))
        self.laptop.nothing()

    def test_own_device(self) -> None:
        """A client that writes to another one of the same user gets no copy of it."""
        self.phone.send(CHAT.format(self.laptop.jid, ""))
        self.laptop.receives("<message><body>x</body></message>")
        self.laptop.nothing()
        self.phone.nothing()

    def test_private_message_to_an_occupant(self) -> None:
        """One that the user sends is copied, one that is received is not (§6.1)."""
        mark = "<x xmlns='http://jabber.org/protocol/muc#user'/>"
        self.phone.send(CHAT.format(self.romeo.jid, mark))
        self.forwarded(self.laptop, "sent")
        self.romeo.send(CHAT.format(self.phone.jid, mark))
        self.laptop.nothing()

    def test_invitation(self) -> None:
        """An invitation by a room is copied (§6.1)."""
        invite = "<x xmlns='http://jabber.org/protocol/muc#user'><invite from='a@b'/></x>"
        message = f"<message from='room@localhost' to='{self.phone.jid}'>{invite}</message>"
        self.host.route(Stanza.parse(message))
        self.assertTrue(self.laptop.take().has(ns.CARBONS, "received"))


class ClientStateTests(ServerTestCase):
    """What an inactive client gets later (XEP-0352)."""

    modules = {"mod_csi": {"buffer_max": 3}}

    def setUp(self) -> None:
        """A client that is inactive, and one that sends to it."""
        super().setUp()
        self.romeo = self.connect("romeo@localhost/a")
        self.juliet = self.connect("juliet@localhost/b")
        self.juliet.send(f"<inactive xmlns='{ns.CSI}'/>")

    def typing(self, state: str) -> None:
        """Sends a chat state."""
        child = f"<{state} xmlns='{ns.CHATSTATES}'/>"
        self.romeo.send(f"<message to='juliet@localhost/b' type='chat'>{child}</message>")

    def test_chat_states_wait(self) -> None:
        """Chat states wait until the client is active again, in their order."""
        self.typing("composing")
        self.typing("paused")
        self.juliet.nothing()
        self.juliet.send(f"<active xmlns='{ns.CSI}'/>")
        self.juliet.receives(f"<message><composing xmlns='{ns.CHATSTATES}'/></message>")
        self.juliet.receives(f"<message><paused xmlns='{ns.CHATSTATES}'/></message>")

    def test_chat_state_with_hints_waits(self) -> None:
        """Thread and hints, which clients add to a chat state, do not make it urgent."""
        state = f"<composing xmlns='{ns.CHATSTATES}'/><no-store xmlns='{ns.HINTS}'/>"
        self.romeo.send(
            f"<message to='juliet@localhost/b' type='chat'>{state}<thread>t</thread></message>"
        )
        self.juliet.nothing()

    def test_body_flushes(self) -> None:
        """A message with a body comes at once, behind what was held."""
        self.typing("composing")
        self.romeo.send(CHAT.format(self.juliet.jid, ""))
        self.juliet.receives(f"<message><composing xmlns='{ns.CHATSTATES}'/></message>")
        self.juliet.receives("<message><body>x</body></message>")

    def test_full_buffer_flushes(self) -> None:
        """No more is held than the option says."""
        for state in ("composing", "paused", "active"):
            self.typing(state)
        self.assertEqual(len(self.juliet.received), 3)

    def test_only_newest_presence(self) -> None:
        """Of one sender's presence only the newest is kept."""
        self.romeo.send("<presence to='juliet@localhost/b'><show>away</show></presence>")
        self.romeo.send("<presence to='juliet@localhost/b'><show>xa</show></presence>")
        self.juliet.send(f"<active xmlns='{ns.CSI}'/>")
        self.juliet.receives("<presence><show>xa</show></presence>")
        self.juliet.nothing()
