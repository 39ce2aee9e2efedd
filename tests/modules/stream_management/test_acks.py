"""Acknowledgements in both directions (XEP-0198 §3, §4)."""

from mongoosetw.xmpp import ns
from tests.modules.stream_management.case import JULIET, StreamManagementTestCase

REQUEST = f"<r xmlns='{ns.SM}'/>"
ENABLE = f"<enable xmlns='{ns.SM}'/>"


class EnableTests(StreamManagementTestCase):
    """Switching it on."""

    enables = False

    def test_announced(self) -> None:
        """The feature is offered to a client that has logged in, and only then (§2)."""
        feature = f"<sm xmlns='{ns.SM}'/>".encode()
        self.assertIn(feature, self.juliet.output())
        stranger = self.connect_raw()
        stranger.open()
        self.assertNotIn(feature, stranger.output())

    def test_without_resumption(self) -> None:
        """A client that does not ask for resumption gets none."""
        self.assertEqual(self.juliet.enable_sm(resume=False).attributes, {})

    def test_with_resumption(self) -> None:
        """A client that asks gets an id, and hears how long it is waited for."""
        enabled = self.juliet.enable_sm()
        self.assertEqual(enabled.attributes["resume"], "true")
        self.assertEqual(enabled.attributes["max"], "600")
        self.assertNotIn("location", enabled.attributes)

    def test_ids_cannot_be_guessed(self) -> None:
        """The id has 144 random bits behind the session's own."""
        self.juliet.enable_sm()
        sid, _, secret = self.juliet.resume_id.partition("-")
        self.assertEqual(int(sid, 16), self.session().sid)
        self.assertEqual(len(secret), 24)
        self.romeo.enable_sm()
        self.assertNotEqual(self.romeo.resume_id.partition("-")[2], secret)

    def test_shorter_time(self) -> None:
        """A client may wish for less time; not for more, and nonsense is no wish."""
        for wish, granted in (("60", "60"), ("9999", "600"), ("0", "600"), ("x", "600")):
            client = self.connect(f"juliet@localhost/{wish}")
            client.send(f"<enable xmlns='{ns.SM}' resume='1' max='{wish}'/>")
            self.assertEqual(client.take_nonza("enabled").attributes["max"], granted)

    def test_not_a_boolean(self) -> None:
        """A resume that is no boolean is a bad request; the client may try again."""
        answer = self.refused(self.juliet, f"<enable xmlns='{ns.SM}' resume='perhaps'/>")
        self.assertIn(b"<bad-request", answer)
        self.juliet.enable_sm()

    def test_before_binding(self) -> None:
        """Without a resource it is too early; the client may bind and enable (§3)."""
        client = self.connect("juliet@localhost/c", bind=False)
        self.assertIn(b"<unexpected-request", self.refused(client, ENABLE))
        client.bind()
        client.enable_sm()

    def test_twice(self) -> None:
        """A second time it fails, and the stream with it (§3)."""
        self.juliet.enable_sm()
        self.assertIn(b"<unexpected-request", self.refused(self.juliet, ENABLE))
        self.assertIn(b"<policy-violation", self.juliet.output())
        self.assertEqual(self.closed, ["policy-violation"])

    def test_not_enabled(self) -> None:
        """Acknowledgements and requests of a client that has not enabled it are ignored."""
        self.juliet.send(REQUEST + f"<a xmlns='{ns.SM}' h='5'/>")
        self.assertEqual((self.juliet.nonzas, self.closed), ([], []))


class LocationTests(StreamManagementTestCase):
    """Where to come back."""

    modules = {"mod_stream_management": {"location": "node1.example.org:5222"}}
    enables = False

    def test_location(self) -> None:
        """The configured location is told to clients that may resume (§3)."""
        location = self.juliet.enable_sm().attributes["location"]
        self.assertEqual(location, "node1.example.org:5222")
        self.assertEqual(self.romeo.enable_sm(resume=False).attributes, {})


class InboundTests(StreamManagementTestCase):
    """What the client hears of its own stanzas."""

    def test_counts_from_enable(self) -> None:
        """Only stanzas count, and only those after <enable/>."""
        self.juliet.send(REQUEST)
        self.assertEqual(self.juliet.acknowledged(), 0)
        self.juliet.send("<presence/><message to='romeo@localhost/a'/>" + REQUEST)
        self.assertEqual(self.juliet.acknowledged(), 2)

    def test_refused_stanzas_count(self) -> None:
        """A stanza that came back as an error was handled."""
        self.juliet.send("<iq type='get' id='1' to='localhost'><q xmlns='urn:x'/></iq>" + REQUEST)
        self.assertEqual(self.juliet.acknowledged(), 1)
        self.assertEqual(self.juliet.take().type, "error")

    def test_answer_waits_for_the_commit(self) -> None:
        """A message counts when it is on disk; its recipient has it before."""
        log = self.use_fake_log()
        self.juliet.send("<message to='romeo@localhost/a'><body>x</body></message>" + REQUEST)
        self.assertEqual(self.heard(self.romeo), ["x"])
        self.assertIsNone(self.juliet.acknowledged())
        log.commit()
        self.assertEqual(self.juliet.acknowledged(), 1)

    def test_many_requests_one_answer(self) -> None:
        """Requests that wait for one commit get one answer."""
        log = self.use_fake_log()
        one = "<message to='romeo@localhost/a'><body>x</body></message>" + REQUEST
        self.juliet.send(one * 20)
        before = len(self.juliet.output())
        log.commit()
        self.assertEqual(self.juliet.output()[before:], b"<a xmlns='urn:xmpp:sm:3' h='20'/>")

    def test_presence_behind_a_message_waits(self) -> None:
        """h does not pass a message that is not on disk, whatever came behind it."""
        log = self.use_fake_log()
        self.juliet.send("<message to='romeo@localhost/a'/><presence/>")
        log.commits.pop(0)
        self.juliet.send(REQUEST)
        self.assertIsNone(self.juliet.acknowledged())

    def test_unasked(self) -> None:
        """A client that does not ask is not answered."""
        log = self.use_fake_log()
        self.juliet.send("<message to='romeo@localhost/a'/>")
        log.commit()
        self.assertIsNone(self.juliet.acknowledged())

    def test_before_the_end(self) -> None:
        """A client that leaves hears first what was handled."""
        self.juliet.send("<presence type='unavailable'/></stream:stream>")
        self.assertTrue(self.juliet.output().endswith(b" h='1'/></stream:stream>"))

    def test_before_a_shutdown(self) -> None:
        """So does one whose server stops."""
        self.juliet.send("<presence/>")
        self.session().close("system-shutdown")
        self.assertIn(b" h='1'/><stream:error><system-shutdown", self.juliet.output())


class OutboundTests(StreamManagementTestCase):
    """What the client acknowledges."""

    def test_messages_acknowledged(self) -> None:
        """Each acknowledgement tells once of the logged messages that it settles."""
        log = self.use_fake_log()
        self.say("1", "2", "3")
        self.juliet.send("<iq type='get' id='p' to='juliet@localhost'><q xmlns='urn:x'/></iq>")
        self.juliet.ack(2)
        self.assertEqual((log.settled, log.calls), (["1", "2"], 1))
        self.juliet.ack()
        self.assertEqual((log.settled, log.calls), (["1", "2", "3"], 2))
        self.juliet.ack()
        self.assertEqual(log.calls, 2)

    def test_too_high(self) -> None:
        """More than was sent ends the stream with the numbers (§6)."""
        self.say("1", "2")
        self.juliet.ack(3)
        output = self.juliet.output()
        self.assertIn(b"<undefined-condition", output)
        counts = b"<handled-count-too-high xmlns='urn:xmpp:sm:3' h='3' send-count='2'/>"
        self.assertIn(counts, output)
        self.assertEqual(self.closed, ["undefined-condition"])

    def test_no_number(self) -> None:
        """An acknowledgement without a count ends the stream."""
        self.juliet.send(f"<a xmlns='{ns.SM}'/>")
        self.assertIn(b"<policy-violation", self.juliet.output())

    def test_idle_line(self) -> None:
        """A while after the last stanza the client is asked, once."""
        self.say("1")
        self.clock.pump([0.1] * 4)
        self.say("2")
        self.clock.pump([0.1] * 4)
        self.assertFalse(self.juliet.asked())
        self.clock.pump([0.1] * 3)
        self.assertTrue(self.juliet.asked())
        self.clock.pump([0.5] * 60)
        self.assertFalse(self.juliet.asked())

    def test_each_line_in_its_own_time(self) -> None:
        """Clients are not asked all at once, which they would answer all at once."""
        nurse = self.connect("nurse@localhost/n")
        nurse.enable_sm()
        self.say("1")
        self.clock.advance(0.2)
        self.say("2", to="nurse@localhost/n")
        self.clock.advance(0.3)
        self.assertEqual((self.juliet.asked(), nurse.asked()), (True, False))
        self.clock.advance(0.2)
        self.assertTrue(nurse.asked())

    def test_busy_line(self) -> None:
        """A line that does not fall idle is asked after two seconds."""
        for _ in range(6):
            self.say("x")
            self.clock.pump([0.1] * 3)
        self.assertFalse(self.juliet.asked())
        self.say("x")
        self.clock.pump([0.1] * 3)
        self.assertTrue(self.juliet.asked())

    def test_asked_again_after_the_answer(self) -> None:
        """What was sent while a request was under way is asked for next."""
        self.say("1")
        self.clock.advance(0.5)
        self.say("2")
        self.clock.pump([0.5] * 4)
        self.assertTrue(self.juliet.asked())
        self.assertFalse(self.juliet.asked())
        self.juliet.ack(1)
        self.clock.pump([0.5] * 2)
        self.assertTrue(self.juliet.asked())

    def test_growing_queue(self) -> None:
        """Many stanzas are asked for at once, behind the turn's last one, and not one by one."""
        for _ in range(30):
            self.say("1", "2", "3", "4")
        self.assertEqual(self.juliet.output().count(REQUEST.encode()), 2)
        self.say(*map(str, range(60)))
        self.assertEqual(self.juliet.output().count(REQUEST.encode()), 3)
        self.assertTrue(self.juliet.output().endswith(REQUEST.encode()))

    def test_inactive_client(self) -> None:
        """A client at which nobody looks is asked with the data, never by a timer."""
        self.session().inactive = True
        self.say("1", "2")
        self.assertEqual(self.juliet.output().count(REQUEST.encode()), 1)
        self.assertTrue(self.juliet.output().endswith(REQUEST.encode()))
        self.clock.pump([0.5] * 60)
        self.assertEqual(self.juliet.output().count(REQUEST.encode()), 1)

    def test_no_timer_is_left(self) -> None:
        """When all is acknowledged, nothing wakes the server."""
        self.say("1")
        self.juliet.ack()
        self.clock.advance(0.5)
        self.assertEqual(self.clock.getDelayedCalls(), [])


class FrequencyTests(StreamManagementTestCase):
    """ack_freq."""

    modules = {"mod_stream_management": {"ack_freq": 3}}

    def test_fewer(self) -> None:
        """Fewer than ack_freq stanzas wait some seconds for others."""
        self.say("1", "2")
        self.clock.pump([0.5] * 9)
        self.assertFalse(self.juliet.asked())
        self.clock.pump([0.5] * 2)
        self.assertTrue(self.juliet.asked())

    def test_enough(self) -> None:
        """As many as ack_freq are asked for when the line falls idle."""
        self.say("1", "2", "3")
        self.clock.pump([0.5] * 2)
        self.assertTrue(self.juliet.asked())


class SilentTests(StreamManagementTestCase):
    """ack = false."""

    modules = {"mod_stream_management": {"ack": False}}

    def test_nobody_is_asked(self) -> None:
        """The server does not ask, and takes acknowledgements nevertheless."""
        self.say(*map(str, range(60)))
        self.clock.advance(0.5)
        self.assertFalse(self.juliet.asked())
        self.juliet.ack()
        self.juliet.ack(61)
        self.assertIn(b"handled-count-too-high", self.juliet.output())


class NoBufferTests(StreamManagementTestCase):
    """buffer = false."""

    modules = {"mod_stream_management": {"buffer": False}}
    enables = False

    def test_no_resumption(self) -> None:
        """Without a buffer nothing can be resumed, and the client is told so."""
        self.assertEqual(self.juliet.enable_sm().attributes, {})
        self.say("1")
        self.juliet.ack()
        self.juliet.ack(2)
        self.assertIn(b"handled-count-too-high", self.juliet.output())
        client = self.connect(JULIET, bind=False)
        answer = self.refused(client, f"<resume xmlns='{ns.SM}' previd='x' h='0'/>")
        self.assertIn(b"<feature-not-implemented", answer)

    def test_nothing_is_kept(self) -> None:
        """What was sent is settled; a lost connection ends the session."""
        self.juliet.enable_sm()
        self.say("1")
        self.assertNotIn("sm", self.session().flags)
        self.juliet.lose()
        self.romeo.nothing()
        self.assertEqual(len(self.closed), 1)
