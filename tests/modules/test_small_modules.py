"""mod_disco, mod_ping, mod_version, mod_time, mod_last, mod_register, mod_offline in use."""

from mongoosetw.storage.work import DatabaseUnavailable
from mongoosetw.testing.server import ServerTestCase
from mongoosetw.xmpp import ns


def get(namespace: str, tag: str = "query", to: str = "localhost") -> str:
    """An iq request."""
    return f"<iq type='get' id='g' to='{to}'><{tag} xmlns='{namespace}'/></iq>"


class QueryTests(ServerTestCase):
    """Questions to the server."""

    modules = {
        "mod_roster": {},
        "mod_presence": {},
        "mod_disco": {},
        "mod_ping": {"send_pings": True, "ping_interval": 60.0, "timeout_action": "kill"},
        "mod_version": {},
        "mod_time": {},
        "mod_last": {},
    }

    def test_ping(self) -> None:
        """The server answers pings (XEP-0199)."""
        romeo = self.connect("romeo@localhost/a")
        self.assertEqual(romeo.request(get(ns.PING, "ping")).type, "result")

    def test_client_is_pinged_and_dropped(self) -> None:
        """A silent client is pinged, and dropped when it does not answer."""
        romeo = self.connect("romeo@localhost/a")
        self.clock.advance(61)
        self.assertIn(ns.PING.encode(), romeo.take().inner)
        self.clock.advance(40)
        self.assertEqual(self.host.sessions.count(), 0)

    def test_answered_ping(self) -> None:
        """A client that answers stays; how long it took is counted."""
        series = {"host_type": "localhost"}
        before = self.metric("mod_ping_response_time_sum", **series)
        answers = self.metric("mod_ping_response_count", **series)
        romeo = self.connect("romeo@localhost/a")
        self.clock.advance(61)
        ping = romeo.take()
        self.clock.advance(2)
        romeo.send(f"<iq type='result' id='{ping.id}' to='localhost'/>")
        self.clock.advance(40)
        self.assertEqual(self.host.sessions.count(), 1)
        self.assertEqual(self.metric("mod_ping_response_time_sum", **series), before + 2)
        self.assertEqual(self.metric("mod_ping_response_count", **series), answers + 1)

    def test_disco(self) -> None:
        """The server names its features, among them those of running modules (XEP-0030)."""
        romeo = self.connect("romeo@localhost/a")
        answer = romeo.request(get(ns.DISCO_INFO))
        for feature in (ns.DISCO_INFO, ns.PING, ns.VERSION):
            self.assertIn(f"var='{feature}'".encode(), answer.inner)
        self.assertEqual(romeo.request(get(ns.DISCO_ITEMS)).type, "result")

    def test_account_disco_is_private(self) -> None:
        """A stranger learns nothing of an account, its owner does (XEP-0030 §8)."""
        romeo = self.connect("romeo@localhost/a")
        self.register("juliet@localhost")
        self.assertEqual(romeo.request(get(ns.DISCO_INFO, to="juliet@localhost")).type, "error")
        self.assertEqual(romeo.request(get(ns.DISCO_INFO, to="romeo@localhost")).type, "result")

    def test_version_and_time(self) -> None:
        """Version and time are told (XEP-0092, XEP-0202)."""
        romeo = self.connect("romeo@localhost/a")
        self.assertIn(b"mongoosetw", romeo.request(get(ns.VERSION)).inner)
        self.assertIn(b"<utc>", romeo.request(get(ns.TIME, "time")).inner)

    def test_uptime_and_last(self) -> None:
        """The server tells its uptime; a stranger's last activity is forbidden (XEP-0012)."""
        romeo = self.connect("romeo@localhost/a")
        self.register("juliet@localhost")
        self.assertIn(b"seconds=", romeo.request(get(ns.LAST)).inner)
        self.assertIn(b"forbidden", romeo.request(get(ns.LAST, to="juliet@localhost")).inner)


class RegisterTests(ServerTestCase):
    """In-band registration (XEP-0077)."""

    modules = {"mod_register": {}}

    def ask(self, name: str, address: str = "127.0.0.1") -> bytes:
        """Registers an account on a new connection; what the server said."""
        client = self.connect_raw(address)
        client.open()
        client.send(
            f"<iq type='set' id='r'><query xmlns='{ns.REGISTER}'><username>{name}</username>"
            "<password>secret</password></query></iq>"
        )
        return client.output()

    def test_register(self) -> None:
        """A new account is made, a second one of the same name is a conflict."""
        said = self.ask("romeo")
        self.assertIn(ns.REGISTER_FEATURE.encode(), said)
        self.assertIn(b"type='result'", said)
        self.assertEqual(self.await_(self.host.accounts.list("localhost")), ["romeo"])
        self.assertIn(b"<conflict", self.ask("romeo"))

    def test_one_account_per_address(self) -> None:
        """A second account from one address has to wait; loopback is spared."""
        self.assertIn(b"type='result'", self.ask("romeo", "192.0.2.7"))
        self.assertIn(b"<resource-constraint", self.ask("juliet", "192.0.2.7"))
        self.assertIn(b"type='result'", self.ask("juliet"))
        self.assertIn(b"type='result'", self.ask("tybalt"))

    def test_without_database(self) -> None:
        """Without the database an account cannot be made now, but as soon as it is back."""
        (backend,) = self.host.accounts.backends
        register = backend.register

        async def unavailable(*_: object) -> None:
            raise DatabaseUnavailable("gone")

        self.patch(backend, "register", unavailable)
        said = self.ask("romeo", "192.0.2.7")
        self.assertIn(b"<error type='wait'><internal-server-error", said)
        self.patch(backend, "register", register)
        self.assertIn(b"type='result'", self.ask("romeo", "192.0.2.7"))

    def test_password_change_and_removal(self) -> None:
        """A user changes the password, and removes the account."""
        romeo = self.connect("romeo@localhost/a")
        change = "<username>romeo</username><password>new</password>"
        query = f"<iq type='set' id='r'><query xmlns='{ns.REGISTER}'>{{}}</query></iq>"
        self.assertEqual(romeo.request(query.format(change)).type, "result")
        self.assertTrue(
            self.await_(self.host.accounts.check_password(romeo.jid, "new"))
        )
        romeo.send(query.format("<remove/>"))
        self.assertFalse(self.await_(self.host.accounts.exists(romeo.jid)))
        self.assertIn(b"type='result'", romeo.output())


class OfflineTests(ServerTestCase):
    """Messages that wait (XEP-0160)."""

    modules = {"mod_roster": {}, "mod_presence": {}, "mod_offline": {}}

    def setUp(self) -> None:
        """A sender, and an account that is away."""
        super().setUp()
        self.romeo = self.connect("romeo@localhost/a")
        self.register("juliet@localhost")

    def say(self, body: str, kind: str = "chat", extra: str = "") -> None:
        """Sends to the account."""
        self.romeo.send(
            f"<message to='juliet@localhost' type='{kind}'><body>{body}</body>{extra}</message>"
        )

    def test_delivered_in_order_with_delay(self) -> None:
        """What came while away is delivered at login, in order, with its time, once."""
        for number in range(3):
            self.say(str(number))
        self.romeo.nothing()
        juliet = self.connect("juliet@localhost/b")
        juliet.send("<presence/>")
        messages = [s for s in juliet.received if s.kind == "message"]
        self.assertEqual([m.body for m in messages], ["0", "1", "2"])
        self.assertTrue(all(m.has(ns.DELAY, "delay") for m in messages))
        again = self.connect("juliet@localhost/c")
        again.send("<presence/>")
        self.assertEqual([s for s in again.received if s.kind == "message"], [])

    def test_negative_priority_waits(self) -> None:
        """They wait on while the priority is negative."""
        self.say("x")
        juliet = self.connect("juliet@localhost/b")
        juliet.send("<presence><priority>-1</priority></presence>")
        self.assertEqual([s for s in juliet.received if s.kind == "message"], [])
        juliet.send("<presence/>")
        self.assertEqual([s.body for s in juliet.received if s.kind == "message"], ["x"])

    def test_not_kept(self) -> None:
        """Headlines are dropped; what must not be stored is bounced."""
        self.say("x", "headline")
        self.romeo.nothing()
        self.say("x", extra=f"<no-store xmlns='{ns.HINTS}'/>")
        self.assertIn(b"service-unavailable", self.romeo.take().inner)

    def test_full(self) -> None:
        """Beyond the limit the sender is told."""
        for number in range(101):
            self.say(str(number))
        self.assertEqual(len(self.romeo.received), 1)
        self.assertIn(b"service-unavailable", self.romeo.take().inner)
