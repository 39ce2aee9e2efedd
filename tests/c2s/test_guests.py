"""Guests: who they are, while they are there, and what is left of them."""

import base64
from typing import Any, ClassVar

from mongoosetw.hooks.users import AnonymousPurge
from mongoosetw.testing.client import Connection
from mongoosetw.testing.server import ServerTestCase
from mongoosetw.xmpp import ns
from mongoosetw.xmpp.jid import JID

GUEST = JID.parse("visitor@localhost")


class GuestTestCase(ServerTestCase):
    """A server that lets guests in."""

    listener_options = "allow_plain_without_tls = true"
    options = "methods = ['internal', 'anonymous']\nanonymous.protocol = 'both'"
    modules: ClassVar[dict[str, dict[str, Any]]] = {"mod_roster": {}, "mod_presence": {}}

    def configuration(self) -> str:
        """With guests."""
        return super().configuration().replace("[auth]", f"[auth]\n{self.options}")

    def setUp(self) -> None:
        """Notes which guests are purged."""
        super().setUp()
        self.purged: list[JID] = []
        self.host.hooks.add(AnonymousPurge, 50, "test", lambda e: self.purged.append(e.user))
        self.host.hooks.publish()

    def authenticate(
        self, mechanism: str, user: str = "visitor", password: str = "any"
    ) -> Connection:
        """A client that has been let in, or not."""
        client = self.connect_raw()
        client.open()
        data = base64.b64encode(f"\0{user}\0{password}".encode()).decode()
        text = data if mechanism == "PLAIN" else ""
        client.send(f"<auth xmlns='{ns.SASL}' mechanism='{mechanism}'>{text}</auth>")
        return client

    def bind(self, client: Connection, resource: str = "r") -> bytes:
        """Binds a resource; the server's answer."""
        client.open()
        before = len(client.output())
        client.send(
            f"<iq type='set' id='b'><bind xmlns='{ns.BIND}'>"
            f"<resource>{resource}</resource></bind></iq>"
        )
        return client.output()[before:]

    def exists(self, user: JID) -> bool:
        """Whether there is such a user."""
        return self.await_(self.host.accounts.exists(user))


class GuestTests(GuestTestCase):
    """One session of each guest."""

    def test_anonymous(self) -> None:
        """SASL ANONYMOUS gives a name of its own, which exists while its session lasts."""
        client = self.authenticate("ANONYMOUS")
        self.assertIn(b"<success", client.output())
        self.assertIn(b"<jid>", self.bind(client))
        (session,) = self.host.sessions
        self.assertIn("guest", session.flags)
        self.assertTrue(self.exists(session.bare))
        client.lose()
        self.assertFalse(self.exists(session.bare))
        self.assertEqual(self.purged, [session.bare])

    def test_any_password(self) -> None:
        """A name that nobody has opens with any password, while it is not in use."""
        client = self.authenticate("PLAIN")
        self.bind(client)
        self.assertTrue(self.exists(GUEST))
        self.assertIn(b"<not-authorized", self.authenticate("PLAIN").output())
        client.send("</stream:stream>")
        self.assertEqual(self.purged, [GUEST])
        self.assertIn(b"<success", self.authenticate("PLAIN").output())

    def test_two_at_once(self) -> None:
        """Of two guests who were let in under one name before either had a session, one stays."""
        clients = [self.authenticate("PLAIN") for _ in range(2)]
        self.assertIn(b"<jid>visitor@localhost/r</jid>", self.bind(clients[0]))
        self.assertIn(b"<conflict", self.bind(clients[1]))
        self.assertEqual(len(self.host.sessions.of(GUEST)), 1)

    def test_accounts_are_no_guests(self) -> None:
        """Users of accounts keep what they have, and guests cannot take their names."""
        self.register("romeo@localhost", "secret")
        self.assertIn(b"<not-authorized", self.authenticate("PLAIN", "romeo").output())
        client = self.authenticate("PLAIN", "romeo", "secret")
        self.bind(client)
        client.lose()
        self.assertEqual(self.purged, [])

    def test_roster_is_removed(self) -> None:
        """What modules keep of a guest is removed when it leaves."""
        for _ in range(2):
            client = self.authenticate("PLAIN")
            self.bind(client)
            before = len(client.output())
            client.send("<iq type='get' id='g'><query xmlns='jabber:iq:roster'/></iq>")
            self.assertNotIn(b"<item", client.output()[before:])
            client.send(
                "<iq type='set' id='s'><query xmlns='jabber:iq:roster'>"
                "<item jid='a@localhost'/></query></iq>"
            )
            self.assertIn(b"id='s'", client.output()[before:])
            client.lose()


class SeveralTests(GuestTestCase):
    """Option ``allow_multiple_connections``."""

    options = GuestTestCase.options + "\nanonymous.allow_multiple_connections = true"

    def test_last_session(self) -> None:
        """A guest with several sessions is purged with the last of them."""
        clients = [self.authenticate("PLAIN") for _ in range(2)]
        for number, client in enumerate(clients):
            self.assertIn(b"<jid>", self.bind(client, str(number)))
        clients[0].lose()
        self.assertEqual(self.purged, [])
        self.assertTrue(self.exists(GUEST))
        clients[1].lose()
        self.assertEqual(self.purged, [GUEST])


class AllowedMethodsTests(GuestTestCase):
    """Option ``allowed_auth_methods`` of a listener."""

    listener_options = "allow_plain_without_tls = true\nallowed_auth_methods = ['anonymous']"

    def test_only_guests(self) -> None:
        """Where only guests are allowed, accounts cannot log in, nor are their mechanisms shown."""
        self.register("romeo@localhost", "secret")
        client = self.authenticate("PLAIN", "romeo", "secret")
        self.assertIn(b"<not-authorized", client.output())
        self.assertNotIn(b"SCRAM", client.output())
        self.assertIn(b"<success", self.authenticate("ANONYMOUS").output())
