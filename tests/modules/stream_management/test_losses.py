"""What becomes of stanzas that no client has acknowledged (XEP-0198 §4)."""

from twisted.internet import task
from twisted.internet.defer import Deferred

from modules.mod_stream_management import StreamManagement
from mongoosetw.hooks.bus import STOP, Outcome
from mongoosetw.hooks.routing import OfflineMessage, UnacknowledgedMessage
from mongoosetw.xmpp import ns
from tests.modules.stream_management.case import JULIET, StreamManagementTestCase


class LossTests(StreamManagementTestCase):
    """Stanzas that the client never acknowledged (§4)."""

    modules = {
        "mod_roster": {},
        "mod_presence": {},
        "mod_offline": {},
        "mod_carboncopy": {},
        "mod_stream_management": {},
    }

    def expire(self) -> None:
        """Juliet loses her connection and does not come back."""
        self.juliet.lose()
        self.clock.advance(600)

    def test_other_resource(self) -> None:
        """A message goes to another resource, with its time."""
        self.juliet.send("<presence/>")
        laptop = self.connect("juliet@localhost/laptop")
        self.say("1")
        self.expire()
        laptop.send("<presence/>")
        message = next(s for s in laptop.received if s.kind == "message")
        self.assertEqual(message.body, "1")
        self.assertTrue(message.has(ns.DELAY, "delay"))

    def test_offline(self) -> None:
        """Without another resource it waits for the next login."""
        self.say("1", "2")
        self.expire()
        client = self.connect(JULIET)
        client.send("<presence/>")
        self.assertEqual(self.heard(client)[-2:], ["1", "2"])
        self.romeo.nothing()

    def test_replaced_session(self) -> None:
        """What the old session had not acknowledged reaches the new one once."""
        self.say("1", "2")
        self.juliet.take()
        self.juliet.ack(1)
        self.juliet.lose()
        client = self.connect(JULIET)
        client.send("<presence/>")
        self.assertEqual([body for body in self.heard(client) if body], ["2"])

    def test_closed_without_acknowledging(self) -> None:
        """A client that leaves without acknowledging gets it again."""
        self.say("1")
        self.juliet.send("</stream:stream>")
        client = self.connect(JULIET)
        client.send("<presence/>")
        self.assertIn("1", self.heard(client))

    def test_requests(self) -> None:
        """An iq request comes back as an error, an answer is dropped."""
        self.romeo.send(f"<iq type='get' id='1' to='{JULIET}'><q xmlns='urn:x'/></iq>")
        self.romeo.send(f"<iq type='result' id='2' to='{JULIET}'/>")
        self.expire()
        self.romeo.receives(f"<iq type='error' id='1' from='{JULIET}'/>")
        self.romeo.nothing()

    def test_headline(self) -> None:
        """A headline is for nobody then, and a room hears of its occupant."""
        self.romeo.send(f"<message to='{JULIET}' type='headline'/>")
        self.romeo.send(f"<message to='{JULIET}' type='groupchat' id='g'/>")
        self.expire()
        self.romeo.receives("<message type='error' id='g'/>")
        self.romeo.nothing()

    def test_carbon_copies(self) -> None:
        """A copy for a resource that is gone is for nobody."""
        enable = f"<iq type='set' id='c'><enable xmlns='{ns.CARBONS}'/></iq>"
        laptop = self.connect("juliet@localhost/laptop")
        laptop.send("<presence/>")
        for client in (self.juliet, laptop):
            client.request(enable)
        self.juliet.lose()
        self.say("1", to="juliet@localhost/laptop")
        laptop.send("<message to='romeo@localhost/a' type='chat'><body>2</body></message>")
        self.heard(laptop)
        self.clock.advance(600)
        self.assertEqual([s for s in laptop.received if s.kind == "message"], [])
        later = self.connect("juliet@localhost/x")
        later.send("<presence/>")
        self.assertEqual([s for s in later.received if s.kind == "message"], [])

    def test_copies_wait_for_a_client(self) -> None:
        """A client that is away gets its copies when it comes back."""
        enable = f"<iq type='set' id='c'><enable xmlns='{ns.CARBONS}'/></iq>"
        laptop = self.connect("juliet@localhost/laptop")
        self.juliet.request(enable)
        self.juliet.lose()
        laptop.send("<message to='romeo@localhost/a' type='chat'><body>2</body></message>")
        self.assertTrue(self.juliet.resume().take().has(ns.CARBONS, "sent"))


class SlowReaderTests(StreamManagementTestCase):
    """A client whose connection is full."""

    def test_reads_nothing(self) -> None:
        """A client that has read nothing for long has lost its connection, and may resume."""
        self.say("1")
        stream = self.juliet.protocol.stream
        assert stream is not None
        stream.congested()
        self.clock.pump([1] * 70)
        self.assertIn(b"<connection-timeout", self.juliet.output())
        self.assertEqual(self.closed, [])
        self.assertEqual(self.heard(self.juliet.resume()), ["1"])

    def test_nothing_is_lost(self) -> None:
        """The message over which a client that does not read is given up is not lost, either."""
        log = self.use_fake_log()
        log.on = False
        stream = self.juliet.protocol.stream
        assert stream is not None
        self.say("1")
        self.juliet.transport.queued = 1 << 30
        stream.congested()
        self.say("2", "3")
        self.assertEqual(self.closed, ["resource-constraint"])
        self.assertEqual(log.left, ["1", "2"])


class UnloggedLossTests(StreamManagementTestCase):
    """The same where no message is in the log."""

    def test_other_resource(self) -> None:
        """A message goes to another resource, with its time."""
        self.juliet.send("<presence/>")
        laptop = self.connect("juliet@localhost/laptop")
        self.say("1")
        self.juliet.lose()
        laptop.send("<presence/>")
        self.heard(laptop)
        self.clock.advance(600)
        message = next(s for s in laptop.received if s.kind == "message")
        self.assertEqual(message.body, "1")
        self.assertTrue(message.has(ns.DELAY, "delay"))

    def test_nobody(self) -> None:
        """Without another resource it comes back as an error."""
        self.say("1")
        self.juliet.lose()
        self.clock.advance(600)
        self.romeo.receives(f"<message type='error' from='{JULIET}'/>")

    def test_shutdown(self) -> None:
        """The server stops when all that was lost has been kept, of waiting clients too."""
        kept: list[str | None] = []

        async def keep(event: OfflineMessage) -> Outcome:
            await task.deferLater(self.clock, 1)
            kept.append(event.stanza.body)
            return STOP

        self.host.hooks.add(OfflineMessage, 50, "test", keep)
        self.host.hooks.publish()
        self.say("1")
        self.romeo.enable_sm()
        self.juliet.send("<message to='romeo@localhost/a'><body>2</body></message>")
        self.romeo.lose()
        self.juliet.lose()
        stopped = Deferred.fromCoroutine(self.server.shut_down())
        self.assertNoResult(stopped)
        self.clock.advance(1)
        self.successResultOf(stopped)
        self.assertEqual(sorted(map(str, kept)), ["1", "2"])
        self.assertEqual(self.closed, ["system-shutdown"] * 2)


class OverflowTests(StreamManagementTestCase):
    """buffer_max."""

    modules = {"mod_stream_management": {"buffer_max": 10}}

    def overflow(self, count: int = 15) -> None:
        """More is sent than may wait for an acknowledgement."""
        self.say(*map(str, range(count)))

    def test_time_to_acknowledge(self) -> None:
        """A client that acknowledges within five seconds keeps its session."""
        self.overflow()
        self.clock.advance(4)
        self.juliet.ack()
        self.clock.advance(2)
        self.assertEqual(self.closed, [])
        self.overflow(10)
        self.juliet.lose()
        self.assertEqual(len(self.heard(self.juliet.resume())), 10)

    def test_slow_client(self) -> None:
        """A client that acknowledges slowly is not one that does not."""
        self.overflow(100)
        for h in range(1, 50):
            self.clock.advance(4)
            self.juliet.ack(h)
        self.assertEqual(self.closed, [])

    def test_messages_that_are_nowhere_else(self) -> None:
        """Messages that are not in the log end the stream, and are sent on."""
        log = self.use_fake_log()
        log.on = False
        self.overflow()
        self.clock.advance(5)
        self.assertIn(b"<resource-constraint", self.juliet.output())
        self.assertIn(b"too many unacked stanzas", self.juliet.output())
        self.assertEqual(log.left, [str(n) for n in range(15)])

    def test_logged_messages(self) -> None:
        """Logged messages stay in the log alone; the session lives but cannot be resumed."""
        log = self.use_fake_log()
        self.overflow()
        self.clock.advance(5)
        self.say("15")
        self.assertEqual(len(self.heard(self.juliet)), 16)
        self.juliet.lose()
        self.assertEqual(self.host.sessions.count(), 1)
        # One of those that were dropped, so that somebody looks, and all that was not
        self.assertEqual(log.left, ["5"] + [str(n) for n in range(6, 16)])

    def test_acknowledged_after_all(self) -> None:
        """A client that acknowledges in the end can resume again."""
        log = self.use_fake_log()
        self.overflow()
        self.clock.advance(5)
        self.juliet.ack()
        self.assertEqual(log.settled, [str(n) for n in range(5, 15)])
        self.say("x")
        self.juliet.lose()
        self.assertEqual(self.heard(self.juliet.resume()), ["x"])

    def test_counted(self) -> None:
        """What was forgotten is counted."""
        self.use_fake_log()
        module = self.host.modules["mod_stream_management"]
        assert isinstance(module, StreamManagement)
        before = module.overflow_count.value
        self.overflow()
        self.clock.advance(5)
        self.assertEqual(module.overflow_count.value - before, 5)

    def test_burst(self) -> None:
        """Within the five seconds there is a bound, too."""
        self.use_fake_log()
        self.overflow(250)
        ledger = self.session().ledger  # type: ignore[attr-defined]
        self.assertEqual(ledger.queued, 10)

    def test_presence_is_not_precious(self) -> None:
        """Presence beyond the bound is forgotten."""
        self.romeo.send(f"<presence to='{JULIET}'/>" * 15)
        self.clock.advance(5)
        self.assertEqual(self.closed, [])

    def test_client_that_is_away(self) -> None:
        """A session that waits for its client ends when too much has come for it."""
        log = self.use_fake_log()
        self.juliet.lose()
        self.clock.advance(5)
        self.overflow(10)
        self.assertEqual(self.closed, [])
        self.say("10")
        self.assertEqual(self.closed, ["resource-constraint"])
        self.assertEqual(len(log.left), 11)


    def test_lost_in_a_burst(self) -> None:
        """A client that is lost before it could acknowledge, and comes back at once, resumes."""
        self.overflow(15)
        self.juliet.lose()
        self.say("15")
        self.clock.advance(4)
        again = self.juliet.resume(15)
        self.assertEqual(self.heard(again), ["15"])
        again.ack()
        self.clock.advance(600)
        self.assertEqual(self.closed, [])

    def test_lost_late_in_a_burst(self) -> None:
        """It has five seconds from then on, whatever it had before."""
        self.overflow(15)
        self.clock.advance(4)
        self.juliet.lose()
        self.clock.advance(4)
        self.assertEqual(self.closed, [])
        self.clock.advance(1)
        self.assertEqual(self.closed, ["resource-constraint"])

    def test_lost_and_back_without_acknowledging(self) -> None:
        """Who has come back has the time that others have who do not acknowledge."""
        log = self.use_fake_log()
        self.overflow(15)
        self.juliet.lose()
        self.clock.advance(4)
        again = self.juliet.resume(0)
        self.assertEqual(len(self.heard(again)), 15)
        self.say("15")
        self.clock.advance(10)
        self.assertEqual(self.closed, [])
        again.lose()
        self.assertEqual(len(log.left), 11)

    def test_too_much_while_away(self) -> None:
        """Within the five seconds there is a bound for who is away, too."""
        self.juliet.lose()
        self.overflow(211)
        self.assertEqual(self.closed, ["resource-constraint"])


class HandlerTests(StreamManagementTestCase):
    """What other modules may rely on."""

    def test_flag(self) -> None:
        """Sessions whose client acknowledges are marked for all nodes to see."""
        self.assertIn("sm", self.session().flags)

    def test_somebody_takes_care(self) -> None:
        """A message that a handler takes care of is not sent on."""
        seen: list[str | None] = []

        def taken(event: UnacknowledgedMessage) -> Outcome:
            seen.append(event.stanza.body)
            return STOP

        self.host.hooks.add(UnacknowledgedMessage, 50, "test", taken)
        self.host.hooks.publish()
        self.say("1", "2")
        self.juliet.send("</stream:stream>")
        self.assertEqual(seen, ["1", "2"])
        self.romeo.nothing()
