"""mod_last: when an account was last seen, and what it said then."""

from mongoosetw.hooks.users import RemoveUser
from mongoosetw.testing.server import ServerTestCase
from mongoosetw.xmpp import ns
from mongoosetw.xmpp.jid import JID

ASK = f"<iq type='get' id='q' to='juliet@localhost'><query xmlns='{ns.LAST}'/></iq>"


class LastActivityTests(ServerTestCase):
    """Last activity of an account (XEP-0012), in the database."""

    modules = {"mod_roster": {}, "mod_presence": {}, "mod_last": {}}

    def setUp(self) -> None:
        """A user who asks for the own account."""
        super().setUp()
        self.juliet = self.connect("juliet@localhost/a")

    def leave(self, status: str) -> None:
        """Comes and goes."""
        self.juliet.send("<presence/>")
        self.juliet.send(f"<presence type='unavailable'><status>{status}</status></presence>")

    def test_newest_status(self) -> None:
        """The status of the last leave is told, not that of an earlier one."""
        for status in ("bye", "good night"):
            self.leave(status)
            self.assertIn(f">{status}</query>".encode(), self.juliet.request(ASK).inner)

    def test_available(self) -> None:
        """An account that is there was last seen now, and its old status is not told."""
        self.leave("bye")
        self.juliet.send("<presence/>")
        self.assertIn(b"seconds='0'></query>", self.juliet.request(ASK).inner)

    def test_removed_account(self) -> None:
        """Nothing is known of an account after its removal."""
        self.leave("bye")
        self.await_(self.host.hooks.run(RemoveUser(JID.parse("juliet@localhost"))))
        self.assertIn(b"item-not-found", self.juliet.request(ASK).inner)
