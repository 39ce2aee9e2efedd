"""Stream management beside other modules, and through a reload."""

from mongoosetw.config.load import load_text
from mongoosetw.loading import options_of, reload_modules
from mongoosetw.xmpp import ns
from tests.modules.stream_management.case import JULIET, StreamManagementTestCase


class StateTests(StreamManagementTestCase):
    """With client state indication (XEP-0352)."""

    modules = {"mod_csi": {}, "mod_stream_management": {}}

    def setUp(self) -> None:
        """Juliet's phone is in her pocket."""
        super().setUp()
        self.juliet.send(f"<inactive xmlns='{ns.CSI}'/>")

    def typing(self) -> None:
        """Romeo types."""
        state = f"<composing xmlns='{ns.CHATSTATES}'/>"
        self.romeo.send(f"<message to='{JULIET}' type='chat'>{state}</message>")

    def test_counted_when_written(self) -> None:
        """What is held back is not counted before it is written, then in its place."""
        self.typing()
        self.assertEqual(self.juliet.handled, 0)
        self.say("1")
        self.assertEqual([s.body for s in self.juliet.received], [None, "1"])
        self.juliet.ack(2)
        self.assertEqual(self.closed, [])
        self.typing()
        self.juliet.ack(3)
        self.assertIn(b"h='3' send-count='2'", self.juliet.output())

    def test_asked_with_the_message(self) -> None:
        """An inactive client is asked together with an urgent message."""
        self.typing()
        self.assertFalse(self.juliet.asked())
        self.say("1")
        self.assertTrue(self.juliet.asked())

    def test_held_back_over_a_resumption(self) -> None:
        """What was held back comes behind what was lost; the client is active again."""
        self.say("1")
        self.typing()
        self.juliet.lose()
        again = self.juliet.resume()
        self.assertEqual([s.body for s in again.received], ["1", None])
        again.events.clear()
        self.typing()
        self.assertEqual(len(again.received), 1)
        again.ack()
        self.assertEqual(self.closed, [])


class PingTests(StreamManagementTestCase):
    """With pings (XEP-0199)."""

    modules = {
        "mod_ping": {"send_pings": True, "ping_interval": 60, "timeout_action": "kill"},
        "mod_stream_management": {"resume_timeout": 300},
    }

    def answer(self) -> None:
        """Romeo answers pings."""
        for stanza in self.romeo.received:
            self.romeo.send(f"<iq type='result' id='{stanza.id}' to='localhost'/>")
        self.romeo.events.clear()

    def test_unanswered_ping(self) -> None:
        """A client that does not answer a ping has lost its connection and may resume."""
        self.say("1")
        self.clock.advance(60)
        self.answer()
        self.clock.advance(32)
        self.assertIn(b"<connection-timeout", self.juliet.output())
        self.assertEqual(self.closed, [])
        again = self.juliet.resume()
        self.assertEqual(self.heard(again)[0], "1")
        self.clock.advance(60)
        self.assertTrue(any(b"<ping" in s.inner for s in again.received))

    def test_nobody_is_there(self) -> None:
        """A session that waits for its client is not pinged."""
        self.juliet.lose()
        for _ in range(4):
            self.clock.advance(60)
            self.answer()
        again = self.juliet.resume()
        again.nothing()
        self.assertEqual(self.closed, [])

    def test_lost_while_pinged(self) -> None:
        """A ping under way when the connection is lost does not end the session."""
        self.clock.advance(60)
        self.answer()
        self.juliet.lose()
        self.clock.advance(33)
        self.assertEqual(self.closed, [])


class ReloadTests(StreamManagementTestCase):
    """The module is started anew, or taken away, while sessions are there."""

    def test_other_options(self) -> None:
        """Sessions, present and waiting ones, live through a change of options."""
        self.romeo.enable_sm()
        self.juliet.lose()
        self.clock.advance(500)
        self.restart(resume_timeout=60)
        self.say("1")
        self.romeo.send(f"<r xmlns='{ns.SM}'/>")
        self.assertEqual(self.romeo.acknowledged(), 1)
        again = self.juliet.resume()
        self.assertEqual(self.heard(again), ["1"])
        again.lose()
        self.restart(resume_timeout=30)
        self.clock.advance(600)
        self.assertEqual(self.host.sessions.count(), 1)

    def test_without_a_buffer(self) -> None:
        """When nothing is to be kept any more, what was kept is sent on."""
        log = self.use_fake_log()
        self.say("1")
        self.reload({"mod_stream_management": "buffer = false"})
        self.assertIn(b"<reset", self.juliet.output())
        self.assertEqual(log.left, ["1"])

    def test_taken_away(self) -> None:
        """Without the module clients start anew, and nothing waits for ever."""
        log = self.use_fake_log()
        self.romeo.enable_sm()
        self.say("1")
        self.juliet.lose()
        self.reload({})
        self.assertIn(b"<reset", self.romeo.output())
        self.assertEqual(self.host.sessions.count(), 0)
        self.assertEqual(log.left, ["1"])

    def restart(self, **options: int) -> None:
        """Starts the module with other options."""
        lines = "\n".join(f"{key} = {value}" for key, value in options.items())
        self.reload({"mod_stream_management": lines})

    def reload(self, modules: dict[str, str]) -> None:
        """Reads a configuration with these modules."""
        head = self.configuration().partition("[modules.")[0]
        tables = "".join(f"[modules.{name}]\n{lines}\n" for name, lines in modules.items())
        new = load_text(head + tables, options_of)
        before = self.host.config.modules
        self.await_(reload_modules(self.host, before, new.hosts["localhost"].modules))
        self.host.reconfigure(new.hosts["localhost"])
