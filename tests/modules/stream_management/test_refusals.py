"""Sessions that cannot be resumed, and are over (XEP-0198 §5)."""

from mongoosetw.xmpp import ns
from tests.modules.stream_management.case import (
    ITEM_NOT_FOUND,
    JULIET,
    RESUME,
    StreamManagementTestCase,
)


class RefusalTests(StreamManagementTestCase):
    """Sessions that cannot be resumed."""

    def refuse(self, previd: str, h: object = 0, user: str = JULIET) -> bytes:
        """The answer to a client that may bind afterwards."""
        client = self.connect(user, bind=False)
        answer = self.refused(client, RESUME.format(previd, h))
        client.bind()
        self.assertIn(b"<jid>", client.output())
        return answer

    def test_unknown(self) -> None:
        """An id that nobody has."""
        self.assertIn(ITEM_NOT_FOUND, self.refuse("nonsense"))

    def test_somebody_elses(self) -> None:
        """The session of another account is not found, and not disturbed."""
        answer = self.refuse(self.juliet.resume_id, user="romeo@localhost/c")
        self.assertIn(ITEM_NOT_FOUND, answer)
        self.assertTrue(self.session().connected)

    def test_bad_requests(self) -> None:
        """Without an id, or a count, it is no request."""
        client = self.connect("juliet@localhost/c", bind=False)
        for bad in ("h='0'", "previd='x'", "previd='x' h='-1'"):
            answer = self.refused(client, f"<resume xmlns='{ns.SM}' {bad}/>")
            self.assertIn(b"<bad-request", answer)

    def test_too_late(self) -> None:
        """A client with a session cannot resume another."""
        answer = self.refused(self.romeo, RESUME.format(self.juliet.resume_id, 0))
        self.assertIn(b"<unexpected-request", answer)
        self.assertTrue(self.session().connected)

    def test_too_high(self) -> None:
        """A client that claims more than it was sent is sent away; the session stays (§6)."""
        self.juliet.lose()
        client = self.connect(JULIET, bind=False)
        client.send(RESUME.format(self.juliet.resume_id, 1))
        self.assertIn(b"h='1' send-count='0'", client.output())
        self.assertTrue(client.transport.closed)
        self.juliet.resume()

    def test_forgetful_client(self) -> None:
        """A client that has acknowledged more than it says now could not be sent the rest."""
        self.say("1", "2")
        self.juliet.ack()
        self.juliet.lose()
        self.assertIn(ITEM_NOT_FOUND, self.refuse(self.juliet.resume_id, 1))

    def test_not_asked_for(self) -> None:
        """A session without resumption ends with its connection."""
        self.romeo.enable_sm(resume=False)
        self.romeo.lose()
        self.assertEqual(self.host.sessions.count(), 1)

    def test_closed(self) -> None:
        """A client that has closed its stream has left: nothing is kept."""
        self.juliet.send("</stream:stream>")
        self.juliet.lose()
        self.assertEqual(self.closed, ["normal"])
        self.assertIn(ITEM_NOT_FOUND, self.refuse(self.juliet.resume_id))

    def test_expired(self) -> None:
        """After resume_timeout the session is over, and contacts are told."""
        self.juliet.send("<presence/><presence to='romeo@localhost/a'/>")
        self.romeo.take()
        self.juliet.lose()
        self.clock.advance(599)
        self.assertEqual(self.closed, [])
        self.clock.advance(1)
        self.assertEqual(self.host.sessions.count(), 1)
        self.romeo.receives(f"<presence type='unavailable' from='{JULIET}'/>")
        answer = self.refuse(self.juliet.resume_id)
        self.assertIn(ITEM_NOT_FOUND, answer)
        self.assertNotIn(b" h=", answer)

    def test_replaced(self) -> None:
        """A client that binds its resource anew has given its old session up."""
        self.juliet.lose()
        self.connect(JULIET)
        self.assertEqual(self.closed, ["conflict"])
        self.assertIn(ITEM_NOT_FOUND, self.refuse(self.juliet.resume_id))


class StaleTests(StreamManagementTestCase):
    """stale_h."""

    modules = {
        "mod_stream_management": {
            "resume_timeout": 10,
            "stale_h": {"enabled": True, "repeat_after": 100, "geriatric": 150},
        }
    }

    def configuration(self) -> str:
        """The options as TOML; the kit writes flat tables only."""
        return super().configuration().replace(
            'stale_h = {"enabled": true, "repeat_after": 100, "geriatric": 150}',
            "stale_h.enabled = true\nstale_h.repeat_after = 100\nstale_h.geriatric = 150",
        )

    def late(self, user: str = JULIET) -> bytes:
        """The answer to a client that comes back too late."""
        client = self.connect(user, bind=False)
        return self.refused(client, RESUME.format(self.juliet.resume_id, 0))

    def test_told(self) -> None:
        """A client that comes too late hears how many of its stanzas were handled (§5)."""
        self.juliet.send("<message to='romeo@localhost/a'/>" * 3)
        self.juliet.lose()
        self.clock.advance(10)
        self.assertIn(b" h='3'>" + ITEM_NOT_FOUND, self.late())
        self.assertNotIn(b" h=", self.late("romeo@localhost/x"))

    def test_forgotten(self) -> None:
        """After a while nobody remembers."""
        self.juliet.lose()
        self.clock.advance(10)
        self.clock.pump([50] * 4)
        self.assertNotIn(b" h=", self.late())

    def test_nothing_of_those_who_left(self) -> None:
        """A client that has closed its stream will not ask."""
        self.juliet.send("</stream:stream>")
        self.assertNotIn(b" h=", self.late())
