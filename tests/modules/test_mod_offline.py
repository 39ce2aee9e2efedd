"""mod_offline where the recipient's priority, connection or account changes."""

from twisted.internet.defer import Deferred

from modules.mod_offline import Offline, catchup
from mongoosetw.hooks.users import RemoveUser
from mongoosetw.messagelog import Pending, log
from mongoosetw.storage.work import DatabaseUnavailable
from mongoosetw.testing.client import Client, MemoryTransport
from mongoosetw.testing.server import ServerTestCase
from mongoosetw.xmpp import ns
from mongoosetw.xmpp.jid import JID
from mongoosetw.xmpp.parser import Limits


def bodies(client: Client) -> list[str | None]:
    """The messages that have arrived."""
    return [stanza.body for stanza in client.received if stanza.kind == "message"]


class OfflineTestCase(ServerTestCase):
    """A sender, and an account that is away."""

    modules = {"mod_roster": {}, "mod_presence": {}, "mod_offline": {}}

    def setUp(self) -> None:
        """A sender, and an account that is away."""
        super().setUp()
        self.romeo = self.connect("romeo@localhost/a")
        self.register("juliet@localhost")

    def say(self, body: str, extra: str = "") -> None:
        """Sends to the account."""
        self.romeo.send(
            f"<message to='juliet@localhost' type='chat'><body>{body}</body>{extra}</message>"
        )

    def juliet(self, resource: str) -> Client:
        """The recipient comes."""
        client = self.connect(f"juliet@localhost/{resource}")
        client.send("<presence/>")
        return client


class OfflineMessageTests(OfflineTestCase):
    """Messages that wait (XEP-0160), in the database."""

    def test_priority_that_becomes_negative(self) -> None:
        """What comes while a client's priority is negative is delivered when it no longer is."""
        juliet = self.juliet("b")
        juliet.send("<presence><priority>-1</priority></presence>")
        self.say("x")
        self.assertEqual(bodies(juliet), [])
        juliet.send("<presence/>")
        self.assertEqual(bodies(juliet), ["x"])

    def test_longest_message(self) -> None:
        """The longest message that a listener lets in waits, and arrives, like any other."""
        frame = "<message to='juliet@localhost' type='chat'><body>{}</body></message>"
        body = "x" * (Limits().stanza - len(frame.format("")))
        self.romeo.send(frame.format(body))
        self.assertEqual(self.juliet("b").output().count(body.encode()), 1)

    def test_not_for_archives(self) -> None:
        """A message that must not be archived waits nevertheless (XEP-0334 §4.1)."""
        self.say("x", f"<no-permanent-store xmlns='{ns.HINTS}'/>")
        self.romeo.nothing()
        self.assertEqual(bodies(self.juliet("b")), ["x"])

    def test_removed_account(self) -> None:
        """An account's messages are gone with it."""
        self.say("x")
        self.await_(self.host.hooks.run(RemoveUser(JID.parse("juliet@localhost"))))
        self.assertEqual(bodies(self.juliet("b")), [])


class ExpiryTests(OfflineTestCase):
    """Messages that are wanted for a limited time (XEP-0023), and how many may wait."""

    modules = {"mod_presence": {}, "mod_offline": {}}
    extra = """
        [acl]
        locals = [{match = "current_domain"}]
        [access]
        max_user_offline_messages = [{acl = "locals", value = 2}]
    """

    def test_expired(self) -> None:
        """What has expired is not delivered, and is removed."""
        self.say("gone", "<x xmlns='jabber:x:expire' seconds='0'/>")
        self.say("kept", "<x xmlns='jabber:x:expire' seconds='9999'/>")
        self.assertEqual(bodies(self.juliet("b")), ["kept"])
        self.assertEqual(bodies(self.juliet("c")), [])

    def test_too_many(self) -> None:
        """One message more than the access rule grants is refused (XEP-0160 §2)."""
        for body in ("1", "2"):
            self.say(body)
            self.romeo.nothing()
        self.say("3")
        self.romeo.receives(
            "<message type='error'><error type='cancel'>"
            f"<service-unavailable xmlns='{ns.STANZAS}'/></error></message>"
        )
        self.assertEqual(bodies(self.juliet("b")), ["1", "2"])
        self.say("4")

    def test_room_again(self) -> None:
        """Delivered messages make room for others."""
        self.say("1")
        self.say("2")
        self.juliet("b").lose()
        self.say("3")
        self.romeo.nothing()
        self.assertEqual(bodies(self.juliet("c")), ["3"])


class OrderTests(OfflineTestCase):
    """What is delivered before what, while the waiting messages are being read."""

    def setUp(self) -> None:
        """Lets the test say when the log answers."""
        super().setUp()
        module = self.host.modules["mod_offline"]
        assert isinstance(module, Offline)
        self.messages = module.messages
        self.gate: Deferred[None] | None = None
        read = self.messages.pending

        async def pending(user: JID, after: int, most: int) -> list[Pending]:
            if self.gate is not None:
                gate: Deferred[None] = Deferred()
                self.gate.addCallback(lambda _: gate.callback(None))
                await gate
            return await read(user, after, most)

        self.patch(self.messages, "pending", pending)

    def close_gate(self) -> None:
        """From now on the log does not answer."""
        self.gate = Deferred()

    def open_gate(self) -> None:
        """It answers all that was asked."""
        gate, self.gate = self.gate, None
        assert gate is not None
        gate.callback(None)
        self.settle()

    def test_connection_lost_meanwhile(self) -> None:
        """Messages are kept when the client goes before they have been read."""
        self.say("x")
        self.close_gate()
        self.juliet("b").lose()
        self.open_gate()
        self.assertEqual(bodies(self.juliet("c")), ["x"])

    def test_two_clients_at_once(self) -> None:
        """Of two clients that come at the same time one gets the messages."""
        self.say("x")
        self.close_gate()
        clients = [self.juliet("b"), self.juliet("c")]
        self.open_gate()
        self.assertEqual([body for client in clients for body in bodies(client)], ["x"])

    def test_newer_messages_do_not_overtake(self) -> None:
        """What comes while older messages are being read is delivered behind them."""
        self.say("1")
        self.say("2")
        self.close_gate()
        juliet = self.juliet("b")
        self.say("3")
        self.say("4")
        self.assertEqual(bodies(juliet), [])
        self.open_gate()
        self.say("5")
        self.assertEqual(bodies(juliet), ["1", "2", "3", "4", "5"])
        self.assertEqual(bodies(self.juliet("c")), [])

    def test_database_away(self) -> None:
        """While the database is away a client waits for its messages, and gets all in order."""
        self.say("1")
        pending = self.messages.pending

        async def unavailable(*_: object) -> list[Pending]:
            raise DatabaseUnavailable("gone")

        self.patch(self.messages, "pending", unavailable)
        juliet = self.juliet("b")
        self.say("2")
        self.clock.advance(60)
        self.assertEqual(bodies(juliet), [])
        self.patch(self.messages, "pending", pending)
        self.clock.advance(5)
        self.assertEqual(bodies(juliet), ["1", "2"])

    def test_more_than_is_held_in_memory(self) -> None:
        """However much comes meanwhile, all of it arrives, once and in order."""
        self.patch(catchup, "_HELD", 3)
        self.patch(catchup, "PAGE", 2)
        sent = [str(number) for number in range(20)]
        for body in sent[:5]:
            self.say(body)
        self.close_gate()
        juliet = self.juliet("b")
        for body in sent[5:]:
            self.say(body)
        self.open_gate()
        self.assertEqual(bodies(juliet), sent)
        self.assertEqual(bodies(self.juliet("c")), [])

    def test_lost_with_messages_held_back(self) -> None:
        """What was held back for a client that is lost is not lost with it."""
        self.say("1")
        self.close_gate()
        juliet = self.juliet("b")
        self.say("2")
        juliet.lose()
        self.open_gate()
        self.assertEqual(bodies(self.juliet("c")), ["1", "2"])

    def test_held_back_and_given_to_another(self) -> None:
        """What is held back for a client is not sent again to another one that has got it."""
        self.say("1")
        other = self.juliet("other")
        for stays in (True, False):
            self.close_gate()
            juliet = self.juliet("b")
            self.say("2")
            if not stays:
                juliet.lose()
            self.open_gate()
            self.assertEqual(bodies(juliet), ["2"] if stays else [])
            self.assertEqual(bodies(other).count("2"), 1)
            juliet.lose()
            self.assertEqual(bodies(other).count("2"), 1)
            other.events.clear()

    def test_too_much_for_the_client(self) -> None:
        """What a client does not read until it is disconnected for that comes the next time."""
        for room in (0, 1):  # for what waits in the log, and for what is held back behind it
            self.say("1")
            self.say("2") if room == 0 else None
            self.close_gate()
            juliet = self.juliet("b")
            self.say("3")
            self.say("4")
            self.fill(juliet, room)
            self.open_gate()
            self.assertIn(b"<resource-constraint", juliet.output())
            again = self.juliet("c")
            self.settle()
            self.assertEqual(bodies(again)[-3 + room:], ["2", "3", "4"][room:])
            again.lose()

    def fill(self, client: Client, room: int) -> None:
        """Has a client not read, and its queue be too long after some messages."""
        left = iter([0] * room)

        class Full(MemoryTransport):
            queued = property(lambda _: next(left, 1_000_000_000))

        client.transport.producer.pauseProducing()
        client.transport.__class__ = Full

    def test_delay_and_id(self) -> None:
        """A message that has waited says since when, and which one it is in the log."""
        self.say("1")
        juliet = self.juliet("b")
        message = next(stanza for stanza in juliet.received if stanza.kind == "message")
        self.assertTrue(message.has(ns.DELAY, "delay"))
        stanza_id = message.child(ns.STANZA_ID, "stanza-id")
        assert stanza_id is not None
        self.assertEqual(stanza_id["by"], "juliet@localhost")

    def test_forged_ids(self) -> None:
        """Nobody else can say what a message's id in the user's log is (XEP-0359 §5)."""
        forged = f"<stanza-id xmlns='{ns.STANZA_ID}' by='juliet@localhost' id='1'/>"
        self.say("1", forged)
        message = next(s for s in self.juliet("b").received if s.kind == "message")
        ids = [e for e in message.element.elements() if e.name == "stanza-id"]
        self.assertEqual(len(ids), 1)
        self.assertNotEqual(ids[0]["id"], "1")


class PaceTests(OfflineTestCase):
    """Messages for devices that acknowledge; senders that are faster than the disk."""

    modules = {**OfflineTestCase.modules, "mod_stream_management": {}}

    def test_same_id_for_all_devices(self) -> None:
        """What may come again carries its id on every device, so that it is known there."""
        devices = [self.juliet("b"), self.juliet("c")]
        for device in devices:
            device.enable_sm()
        self.say("1")
        ids = []
        for device in devices:
            message = next(s for s in device.received if s.kind == "message")
            element = message.child(ns.STANZA_ID, "stanza-id")
            ids.append(None if element is None else element["id"])
        self.assertIsNotNone(ids[0])
        self.assertEqual(ids[0], ids[1])

    def test_sender_waits_for_the_disk(self) -> None:
        """While too much waits for the disk, a sender's next message does, too; none is lost."""
        self.patch(log, "_TOO_MANY", 2)
        juliet = self.juliet("b")
        juliet.enable_sm()
        stream = self.romeo.protocol.stream
        assert stream is not None
        text = "<message to='juliet@localhost' type='chat'><body>%d</body></message>"
        stream.data_received("".join(text % number for number in range(6)).encode())
        module = self.host.modules["mod_offline"]
        assert isinstance(module, Offline)
        self.assertLess(len(module.messages.held._young), 6)
        self.settle()
        self.assertEqual(bodies(juliet), [str(number) for number in range(6)])


class LateTests(OfflineTestCase):
    """Messages that take long to be acknowledged, where no archive keeps them."""

    modules = {**OfflineTestCase.modules, "mod_stream_management": {"resume_timeout": 5}}

    def pass_time(self, seconds: int) -> None:
        """Lets everything happen that is due in so many seconds."""
        for _ in range(seconds):
            self.clock.advance(1)
            self.settle()

    def test_unacknowledged_message_is_kept(self) -> None:
        """A message that its client has not acknowledged for long is not lost with the client."""
        for start in range(11):
            self.pass_time(start and 1)
            juliet = self.connect(f"juliet@localhost/{start}")
            juliet.enable_sm()
            juliet.send("<presence/>")
            self.say(str(start))
            self.assertIn(str(start), bodies(juliet))
            self.pass_time(15)
            juliet.lose()
            self.pass_time(10)
            again = self.juliet("again")
            self.assertEqual(bodies(again), [str(start)])
            again.lose()

    def test_unacknowledged_message_that_another_client_has(self) -> None:
        """What one client has not acknowledged is not sent again to one that has got it, too."""
        first, other = self.connect("juliet@localhost/b"), self.juliet("other")
        first.enable_sm()
        first.send("<presence/>")
        self.say("x")
        self.assertEqual([bodies(first), bodies(other)], [["x"], ["x"]])
        first.lose()
        self.pass_time(10)
        self.assertEqual(bodies(other), ["x"])
