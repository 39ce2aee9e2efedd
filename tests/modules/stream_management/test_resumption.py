"""Sessions that outlive their connection (XEP-0198 §5)."""

import base64

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.internet.defer import Deferred

from mongoosetw.hooks.bus import Outcome
from mongoosetw.hooks.c2s import UserSendMessage
from mongoosetw.testing.client import HEADER
from mongoosetw.xmpp import ns, parser
from mongoosetw.xmpp.stanza import Stanza
from tests.modules.stream_management.case import (
    ITEM_NOT_FOUND,
    JULIET,
    RESUME,
    StreamManagementTestCase,
)


class ResumptionTests(StreamManagementTestCase):
    """A client that comes back in time."""

    def test_nothing_lost_or_doubled(self) -> None:
        """What the client has is not sent again, the rest is, in order, before anything newer."""
        self.say("1", "2")
        self.assertEqual(self.heard(self.juliet), ["1", "2"])
        self.say("3")
        self.juliet.lose()
        self.say("4")
        again = self.juliet.resume()
        self.say("5")
        self.assertEqual(self.heard(again), ["3", "4", "5"])
        self.romeo.nothing()

    def test_longest_stanza(self) -> None:
        """What a listener has let in is sent again, though the server has made it longer."""
        frame = f"<message to='{JULIET}' type='chat'><body>{{}}</body></message>"
        body = "x" * (parser.Limits().stanza - len(frame.format("")))
        self.romeo.send(frame.format(body))
        self.juliet.lose()
        again = self.juliet.resume(0)
        self.assertEqual(again.output().count(body.encode()), 1)

    def test_counts_go_on(self) -> None:
        """Both counts are carried over (§5)."""
        self.juliet.send("<presence/><presence/>")
        self.juliet.lose()
        again = self.juliet.resume()
        resumed = again.take_nonza("resumed")
        self.assertEqual(resumed.attributes, {"previd": self.juliet.resume_id, "h": "2"})
        again.send(f"<presence/><r xmlns='{ns.SM}'/>")
        self.assertEqual(again.acknowledged(), 3)
        self.say("1")
        again.ack()
        self.assertEqual(self.closed, [])

    def test_resent_messages_tell_their_time(self) -> None:
        """A message that is sent again says since when it waits (XEP-0203)."""
        self.say("1")
        self.juliet.lose()
        message = self.juliet.resume().take()
        delay = message.child(ns.DELAY, "delay")
        assert delay is not None
        self.assertEqual(delay.getAttribute("from"), "localhost")

    def test_asks_after_resending(self) -> None:
        """The client is asked for what was sent again; without anything to send it is not."""
        self.say("1")
        self.juliet.pump()
        self.juliet.lose()
        again = self.juliet.resume()
        self.assertFalse(again.asked())
        self.say("2")
        again.lose()
        self.assertTrue(again.resume().asked())

    def test_no_time_limit_afterwards(self) -> None:
        """A session that was resumed in time lives on."""
        self.juliet.lose()
        self.clock.advance(599)
        again = self.juliet.resume()
        self.clock.pump([1] * 700)
        self.say("1")
        self.assertEqual(self.heard(again), ["1"])

    def test_again_and_again(self) -> None:
        """A session can be resumed many times."""
        client = self.juliet
        for number in range(5):
            self.say(str(number))
            client.lose()
            client = client.resume()
            self.assertEqual(self.heard(client), [str(number)])
        self.assertEqual(self.host.sessions.count(), 2)

    def test_contacts_do_not_notice(self) -> None:
        """The session stays available while its client is away."""
        self.juliet.send("<presence/><presence to='romeo@localhost/a'/>")
        self.romeo.take()
        self.juliet.lose()
        self.say("1", to="juliet@localhost")
        self.romeo.nothing()
        self.assertTrue(self.session().available)
        self.assertFalse(self.session().connected)
        self.assertIn("1", self.heard(self.juliet.resume()))

    def test_answers_reach_the_new_connection(self) -> None:
        """An iq that was sent before is answered on the new connection."""
        self.juliet.send("<iq type='get' id='1' to='romeo@localhost/a'><q xmlns='urn:x'/></iq>")
        self.juliet.lose()
        self.romeo.send(f"<iq type='result' id='{self.romeo.take().id}' to='{JULIET}'/>")
        self.juliet.resume().receives("<iq type='result' id='1' from='romeo@localhost/a'/>")

    def test_acknowledged_by_resuming(self) -> None:
        """h of <resume/> acknowledges what it counts."""
        log = self.use_fake_log()
        self.say("1", "2")
        self.juliet.take()
        self.juliet.lose()
        self.say("3")
        again = self.juliet.resume()
        self.assertEqual((log.settled, log.calls), (["1", "2"], 1))
        self.assertEqual(self.heard(again), ["3"])

    def test_takeover(self) -> None:
        """A session whose old connection is still open is taken over; that ends with conflict."""
        self.say("1")
        again = self.juliet.resume()
        output = self.juliet.output()
        self.assertIn(b"<conflict", output)
        self.assertTrue(self.juliet.transport.closed)
        self.juliet.lose()
        self.say("2")
        self.assertEqual(self.heard(again), ["1", "2"])
        self.assertEqual(self.closed, [])

    def test_under_way(self) -> None:
        """<resumed/> waits for what is under way, so that the client does not send it twice."""
        waiting: Deferred[Outcome] = Deferred()

        async def wait(event: UserSendMessage) -> Outcome:
            await waiting
            return None

        self.host.hooks.add(UserSendMessage, 50, "test", wait)
        self.host.hooks.publish()
        self.juliet.send("<message to='romeo@localhost/a'><body>x</body></message>")
        again = self.connect(JULIET, bind=False)
        again.send(RESUME.format(self.juliet.resume_id, 0))
        self.assertNotIn(b"<resumed", again.output())
        waiting.callback(None)
        self.assertIn(b" h='1'/>", again.output())
        self.assertEqual(self.heard(self.romeo), ["x"])

    def test_under_way_at_the_end(self) -> None:
        """A client that waits for a session that ends meanwhile hears that it is gone."""
        log = self.use_fake_log()
        self.juliet.send("<message to='romeo@localhost/a'><body>x</body></message>")
        again = self.connect(JULIET, bind=False)
        again.send(RESUME.format(self.juliet.resume_id, 0))
        self.session().close("conflict")
        self.assertIn(ITEM_NOT_FOUND, again.take_nonza("failed").xml)
        log.commit()

    def test_two_at_once(self) -> None:
        """Of two connections that resume the same session, the later one gets it."""
        log = self.use_fake_log()
        self.juliet.send("<message to='romeo@localhost/a'><body>x</body></message>")
        first, second = (self.connect(JULIET, bind=False) for _ in range(2))
        for client in (first, second):
            client.send(RESUME.format(self.juliet.resume_id, 0))
        log.commit()
        self.say("1")
        self.assertIn(b"<conflict", first.output())
        self.assertEqual(self.heard(second), ["1"])

    def test_half_resumed(self) -> None:
        """A connection that is lost while it resumes leaves the session as it was."""
        log = self.use_fake_log()
        self.juliet.send("<message to='romeo@localhost/a'><body>x</body></message>")
        again = self.connect(JULIET, bind=False)
        again.send(RESUME.format(self.juliet.resume_id, 0))
        again.lose()
        log.commit()
        self.say("1")
        self.assertEqual(self.heard(self.juliet.resume()), ["1"])


class PipelinedTests(StreamManagementTestCase):
    """A client that does not wait for answers."""

    listener_options = "allow_plain_without_tls = true"

    def test_all_at_once(self) -> None:
        """Login, resumption and what follows may come in one piece; all is answered in order."""
        self.juliet.lose()
        self.say("1")
        secret = base64.b64encode(b"\0juliet\0secret").decode()
        header = HEADER.format("localhost")
        connection = self.connect_raw()
        connection.send(
            f"{header}<auth xmlns='{ns.SASL}' mechanism='PLAIN'>{secret}</auth>{header}"
            + RESUME.format(self.juliet.resume_id, 0)
            + f"<message to='romeo@localhost/a'><body>2</body></message><r xmlns='{ns.SM}'/>"
        )
        output = connection.output()
        places = [output.index(part) for part in (b"<resumed ", b"<body>1</body>", b"<a xmlns")]
        self.assertEqual(places, sorted(places))
        self.assertIn(b" h='1'/>", output)
        self.assertEqual(self.heard(self.romeo), ["2"])


class StoryTests(StreamManagementTestCase):
    """Random lives of a session on a real server."""

    modules = {"mod_stream_management": {}}
    moves = st.lists(
        st.sampled_from(["say", "say", "read", "ack", "write", "commit", "lose", "take over"]),
        max_size=40,
    )

    def setUp(self) -> None:
        """All messages are logged; the lives follow one another on one server."""
        super().setUp()
        self.log = self.use_fake_log()

    @settings(max_examples=60)
    @given(moves)
    def test_any_order(self, moves: list[str]) -> None:
        """Whatever is lost and whenever: each message arrives once, in order, both ways."""
        resource = f"juliet@localhost/{self.host.server.ids.next():x}"
        log = self.log
        client = self.connect(resource)
        client.enable_sm()
        self.romeo.pump()
        self.romeo.events.clear()
        said: list[str | None] = []
        heard: list[str | None] = []
        written: list[str | None] = []
        unacknowledged: list[str] = []
        acknowledged = 0
        for number, move in enumerate(moves):
            if move == "say":
                said.append(str(number))
                self.say(str(number), to=resource)
            elif move == "read":
                heard += self.heard(client)
            elif move == "ack":
                heard += self.heard(client)
                client.ack()
            elif move == "write":
                written.append(str(number))
                xml = f"<message to='romeo@localhost/a'><body>{number}</body></message>"
                unacknowledged.append(xml)
                client.send(xml + f"<r xmlns='{ns.SM}'/>")
            elif move == "commit":
                log.commit()
            else:
                heard += [event.body for event in client.events if isinstance(event, Stanza)]
                if move == "lose":
                    client.lose()
                log.commit()
                client = client.resume()
                acknowledged_now = int(client.take_nonza("resumed").attributes["h"])
                del unacknowledged[: acknowledged_now - acknowledged]
                acknowledged = acknowledged_now
                self.assertEqual(unacknowledged, [])  # memory transports lose nothing upwards
            told = client.acknowledged()
            if told is not None:
                del unacknowledged[: told - acknowledged]
                acknowledged = told
        heard += self.heard(client)
        self.assertEqual(heard, said)
        self.assertEqual(self.heard(self.romeo), written)
        log.commit()
        client.send("</stream:stream>")
