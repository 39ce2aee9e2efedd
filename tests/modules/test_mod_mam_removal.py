"""mod_mam: what is taken out of archives, by their owners, by operators and by time."""

from functools import partial
from typing import Any

from modules.mod_mam import query, retention
from mongoosetw.messagelog import indexing
from mongoosetw.testing.client import Client
from mongoosetw.xmpp import ns
from mongoosetw.xmpp.stanza import Stanza
from tests.modules.test_mod_mam import ArchiveTestCase, OnPostgreSQL, field, message_of


class RetractionTests(ArchiveTestCase):
    """Messages that their sender takes back (XEP-0424)."""

    def send(self, client: Client, identifier: str, extra: str = "", body: str = "secret") -> None:
        """Sends a message with an id."""
        to = "juliet@localhost" if client is self.romeo else "romeo@localhost"
        body = f"<body>{body}</body>" if body else ""
        client.send(f"<message to='{to}' type='chat' id='{identifier}'>{body}{extra}</message>")

    def retract(self, client: Client, identifier: str) -> None:
        """Takes it back."""
        retract = f"<retract xmlns='{ns.RETRACT}' id='{identifier}'/>"
        self.send(client, "r1", retract, body="")
        self.settle()

    def first(self, client: Client) -> Any:
        """The first message of an archive."""
        return message_of(self.query(client).results[0])

    def test_tombstone_in_both_archives(self) -> None:
        """The content is gone from both archives, the place in them stays."""
        self.send(self.romeo, "m1")
        self.retract(self.romeo, "m1")
        for client in (self.romeo, self.juliet):
            message = self.first(client)
            self.assertIsNone(message.body)
            self.assertEqual(message.retracted["id"], "r1")
            self.assertEqual(message["from"], "romeo@localhost/a")

    def test_by_origin_id(self) -> None:
        """A message can be named by its origin-id."""
        self.send(self.romeo, "m1", f"<origin-id xmlns='{ns.STANZA_ID}' id='o1'/>")
        self.retract(self.romeo, "o1")
        self.assertIsNone(self.first(self.juliet).body)

    def test_by_id_in_the_archive(self) -> None:
        """MongooseIM's clients may name it by its id in the archive."""
        self.send(self.romeo, "m1")
        self.retract(self.romeo, self.query(self.romeo).ids[0])
        self.assertIsNone(self.first(self.juliet).body)

    def test_not_by_others(self) -> None:
        """Only its sender can retract a message."""
        self.send(self.romeo, "m1")
        self.retract(self.juliet, "m1")
        self.assertEqual(str(self.first(self.romeo).body), "secret")

    def test_words_are_gone(self) -> None:
        """A retracted message is not found by its words."""
        self.send(self.romeo, "m1")
        form = field("{urn:xmpp:fulltext:0}fulltext", "secret")
        self.assertEqual(len(self.query(self.juliet, form).ids), 1)
        self.retract(self.romeo, "m1")
        self.assertEqual(self.query(self.juliet, form).ids, [])


class LateTests(ArchiveTestCase):
    """Messages that an archive shows only after they were written."""

    def test_shown_late(self) -> None:
        """A message stays as long as an archive shows it, whenever that was decided."""
        log = self.await_(self.server.open_message_log())
        juliet, romeo = self.juliet.jid.bare, self.romeo.jid.bare
        stanza = Stanza.make("message", to=juliet, from_=romeo, inner="<body>late</body>")
        log.pend(stanza, juliet)
        self.clock.advance(1)
        log.show(stanza, juliet, romeo)
        log.settle(juliet, [stanza.log])
        self.clock.advance(1)
        ids, run = self.server.ids, self.server.db.run
        run("sweep", lambda c: indexing.sweep(c, ids.node, 0, ids.last))
        self.assertEqual(self.query(self.juliet).bodies, ["late"])
        purge = partial(retention.purge, before=query.HIGHEST, text=False)
        run("purge", lambda c: purge(c, log.number(romeo)))
        self.assertEqual(self.query(self.juliet).bodies, ["late"])
        run("purge", lambda c: purge(c, log.number(juliet)))
        self.assertEqual(self.query(self.juliet).bodies, [])


    def test_shown_while_indexes_are_written(self) -> None:
        """A message that is not on disk yet when they are comes into them, too, with the next."""
        log = self.await_(self.server.open_message_log())
        juliet, romeo = self.juliet.jid.bare, self.romeo.jid.bare
        stanza = Stanza.make("message", to=juliet, from_=romeo, inner="<body>now</body>")
        half_a_minute = 30.0  # from the start of the server: then indexes are written
        self.clock.callLater(
            half_a_minute - self.clock.seconds(), log.show, stanza, juliet, romeo
        )
        self.clock.pump([1.0] * 31)
        self.assertEqual(self.query(self.juliet).bodies, ["now"])


class RetentionTests(ArchiveTestCase):
    """What archives let go of."""

    modules = {
        "mod_presence": {},
        "mod_offline": {},
        "mod_mam": {"retention.max_messages": 3},
    }

    @property
    def mam(self) -> Any:
        """The module."""
        return self.host.modules["mod_mam"]

    def rows(self) -> int:
        """How many messages the log has."""

        def count(connection: Any) -> int:
            return int(connection.exec_driver_sql("SELECT count(*) FROM message_log").scalar())

        return self.successResultOf(self.server.db.read("count", count))

    def test_newest_are_kept(self) -> None:
        """Of each archive the newest messages stay; what no archive shows is gone."""
        for number in range(6):
            self.say(self.romeo, str(number))
        self.clock.advance(3600)
        self.settle()
        self.assertEqual(self.query(self.juliet).bodies, ["3", "4", "5"])
        self.assertEqual(self.query(self.romeo).bodies, ["3", "4", "5"])
        self.assertEqual(self.rows(), 3)

    def test_one_archive_alone(self) -> None:
        """What one side removes stays with the other."""
        self.say(self.romeo, "1")
        self.await_(self.mam.purge({"jid": "romeo@localhost"}))
        self.assertEqual(self.query(self.romeo).bodies, [])
        self.assertEqual(self.query(self.juliet).bodies, ["1"])

    def test_waiting_messages_stay(self) -> None:
        """A message that waits for its recipient is delivered, whatever archives let go of."""
        self.juliet.lose()
        self.say(self.romeo, "1")
        for user in ("romeo", "juliet"):
            self.await_(self.mam.purge({"jid": f"{user}@localhost"}))
        again = self.connect("juliet@localhost/c")
        again.send("<presence/>")
        self.assertEqual([s.body for s in again.received if s.kind == "message"], ["1"])

    def test_limits_of_one_user(self) -> None:
        """A user's own limits go before the domain's."""
        limits = {"jid": "romeo@localhost", "max-messages": "infinity"}
        self.await_(self.mam.set_retention(limits))
        for number in range(5):
            self.say(self.romeo, str(number))
        self.clock.advance(3600)
        self.settle()
        self.assertEqual(len(self.query(self.romeo).ids), 5)
        self.assertEqual(len(self.query(self.juliet).ids), 3)

    def test_commands(self) -> None:
        """An operator sees, exports and shortens an archive."""
        for number in range(4):
            self.say(self.romeo, str(number))
        who = {"jid": "romeo@localhost"}
        self.assertEqual(self.await_(self.mam.statistics(who))["messages"], 4)
        exported = self.await_(self.mam.export(who))
        self.assertEqual(len(exported), 4)
        self.assertIn("<body>0</body>", exported[0]["stanza"])
        removed = self.await_(self.mam.purge({**who, "keep": "1"}))
        self.assertEqual(removed["removed"], 3)
        self.assertEqual(self.query(self.romeo).bodies, ["3"])

    def test_removed_account(self) -> None:
        """An account's archive goes with it, the other side's stays."""
        self.say(self.romeo, "1")
        self.await_(self.host.accounts.remove(self.romeo.jid.bare))
        self.assertEqual(self.query(self.juliet).bodies, ["1"])
        statistics = self.await_(self.mam.statistics({"jid": "romeo@localhost"}))
        self.assertEqual(statistics["messages"], 0)


class PostgreSQLRetractionTests(OnPostgreSQL, RetractionTests):
    """Messages that their sender takes back."""


class PostgreSQLRetentionTests(OnPostgreSQL, RetentionTests):
    """What archives let go of."""
