"""mod_mam: what is archived, and what clients read of it."""

from typing import Any

from twisted.internet.defer import fail

from modules.mod_mam import lookup
from modules.mod_mam.tables import SCHEMA
from mongoosetw.core_tables import SCHEMAS
from mongoosetw.storage.database import Database
from mongoosetw.storage.work import DatabaseUnavailable
from mongoosetw.testing.client import Client
from mongoosetw.testing.server import ServerTestCase
from mongoosetw.testing.storage_contract import empty_postgresql
from mongoosetw.xmpp import ns


class ArchiveTestCase(ServerTestCase):
    """Two users who chat."""

    modules = {"mod_presence": {}, "mod_carboncopy": {}, "mod_offline": {}, "mod_mam": {}}

    def setUp(self) -> None:
        """Romeo and Juliet are online."""
        super().setUp()
        self.romeo = self.connect("romeo@localhost/a")
        self.juliet = self.connect("juliet@localhost/b")
        for client in (self.romeo, self.juliet):
            client.send("<presence/>")
            client.events.clear()

    def say(self, sender: Client, body: str, extra: str = "", type: str = "chat") -> None:
        """Sends a message to the other one."""
        to = "juliet@localhost" if sender.jid.local == "romeo" else "romeo@localhost"
        sender.send(f"<message to='{to}' type='{type}'><body>{body}</body>{extra}</message>")

    def query(self, client: Client, form: str = "", rsm: str = "", extra: str = "") -> "Answer":
        """Asks a client's own archive."""
        fields = f"<field var='FORM_TYPE' type='hidden'><value>{ns.MAM}</value></field>{form}"
        x = f"<x xmlns='{ns.DATA_FORMS}' type='submit'>{fields}</x>" if form else ""
        rsm = f"<set xmlns='{ns.RSM}'>{rsm}</set>" if rsm else ""
        client.events.clear()
        query = f"<query xmlns='{ns.MAM}' queryid='x'>{x}{rsm}{extra}</query>"
        client.send(f"<iq type='set' id='q'>{query}</iq>")
        return Answer(client)


class Answer:
    """A page, as a client sees it."""

    def __init__(self, client: Client) -> None:
        *found, self.end = client.received
        self.results: list[Any] = [
            result for stanza in found if (result := stanza.child(ns.MAM, "result")) is not None
        ]
        client.events.clear()

    @property
    def fin(self) -> Any:
        """The end of the page."""
        found = self.end.child(ns.MAM, "fin")
        assert found is not None, self.end.to_bytes()
        return found

    @property
    def bodies(self) -> list[str]:
        """The messages' texts."""
        return [str(message_of(result).body) for result in self.results]

    @property
    def ids(self) -> list[str]:
        """The messages' ids."""
        return [result["id"] for result in self.results]

    @property
    def count(self) -> str:
        """How many messages there are in all."""
        return str(self.fin.set.count)


def message_of(result: Any) -> Any:
    return next(e for e in result.forwarded.elements() if e.name == "message")


def field(name: str, *values: str) -> str:
    """A field of a form."""
    inner = "".join(f"<value>{value}</value>" for value in values)
    return f"<field var='{name}'>{inner}</field>"


class ArchivingTests(ArchiveTestCase):
    """What gets into an archive."""

    def test_both_sides(self) -> None:
        """A message is in its sender's archive and in its recipient's, with the same id."""
        self.say(self.romeo, "hi")
        mine, theirs = self.query(self.romeo), self.query(self.juliet)
        self.assertEqual(mine.bodies, ["hi"])
        self.assertEqual(theirs.bodies, ["hi"])
        self.assertEqual(mine.ids, theirs.ids)
        self.assertEqual(theirs.results[0]["queryid"], "x")

    def test_recipient_is_told_the_id(self) -> None:
        """A recipient knows a message's id in their archive (XEP-0359), and nobody can forge it."""
        forged = f"<stanza-id xmlns='{ns.STANZA_ID}' by='juliet@localhost' id='1'/>"
        self.say(self.romeo, "hi", forged)
        got = next(s for s in self.juliet.received if s.kind == "message")
        ids = [e["id"] for e in got.element.elements() if e.name == "stanza-id"]
        self.assertEqual(ids, self.query(self.juliet).ids)

    def test_copies_carry_the_id(self) -> None:
        """The sender's other devices learn a message's id from their copy (XEP-0280)."""
        other = self.connect("romeo@localhost/other")
        other.request(f"<iq type='set' id='c'><enable xmlns='{ns.CARBONS}'/></iq>")
        forged = f"<stanza-id xmlns='{ns.STANZA_ID}' by='romeo@localhost' id='1'/>"
        self.say(self.romeo, "hi", forged)
        copy = next(s for s in other.received if s.has(ns.CARBONS, "sent"))
        message = message_of(copy.child(ns.CARBONS, "sent"))
        ids = [e["id"] for e in message.elements() if e.name == "stanza-id"]
        self.assertEqual(ids, self.query(self.romeo).ids)

    def test_not_archived(self) -> None:
        """Headlines, errors, states and what says so are not archived."""
        self.say(self.romeo, "headline", type="headline")
        self.say(self.romeo, "hint", f"<no-store xmlns='{ns.HINTS}'/>")
        self.say(self.romeo, "hint", f"<no-permanent-store xmlns='{ns.HINTS}'/>")
        state = f"<composing xmlns='{ns.CHATSTATES}'/>"
        self.romeo.send(f"<message to='juliet@localhost' type='chat'>{state}</message>")
        state += f"<store xmlns='{ns.HINTS}'/>"
        self.romeo.send(f"<message to='juliet@localhost' type='chat'>{state}</message>")
        self.assertEqual(len(self.query(self.juliet).ids), 1)

    def test_message_to_oneself(self) -> None:
        """A message to oneself is archived once."""
        self.romeo.send("<message to='romeo@localhost' type='chat'><body>note</body></message>")
        self.assertEqual(self.query(self.romeo).bodies, ["note"])

    def test_message_without_address(self) -> None:
        """A message without an address is one to oneself."""
        self.romeo.send("<message type='chat'><body>note</body></message>")
        self.assertEqual(self.query(self.romeo).bodies, ["note"])

    def test_offline_message(self) -> None:
        """A message that waits for its recipient is in both archives, and delivered with its id."""
        self.juliet.lose()
        self.say(self.romeo, "hi")
        self.assertEqual(self.query(self.romeo).bodies, ["hi"])
        again = self.connect("juliet@localhost/c")
        again.send("<presence/>")
        got = next(s for s in again.received if s.kind == "message")
        stanza_id = got.child(ns.STANZA_ID, "stanza-id")
        assert stanza_id is not None
        self.assertEqual([stanza_id["id"]], self.query(again).ids)

    def test_reading_the_archive_first(self) -> None:
        """A client that reads the archive before it is available is not sent that again."""
        self.juliet.lose()
        self.say(self.romeo, "1")
        self.say(self.romeo, "2")
        again = self.connect("juliet@localhost/c")
        self.assertEqual(self.query(again, rsm="<max>1</max>").bodies, ["1"])
        again.send("<presence/>")
        self.assertEqual([s.body for s in again.received if s.kind == "message"], ["2"])

    def test_unknown_user(self) -> None:
        """Nothing is archived for an account that is not there."""
        self.romeo.send("<message to='nobody@localhost' type='chat'><body>x</body></message>")
        self.assertEqual(self.query(self.romeo).bodies, ["x"])
        nobody = self.connect("nobody@localhost/a")
        self.assertEqual(self.query(nobody).bodies, [])


class DiscoveryTests(ArchiveTestCase):
    """Where clients look for archives."""

    modules = {**ArchiveTestCase.modules, "mod_disco": {}}

    def test_announced(self) -> None:
        """Accounts announce their archive, and so does the server: some clients ask only that."""
        for to in ("romeo@localhost", "localhost"):
            request = f"<iq type='get' id='d' to='{to}'><query xmlns='{ns.DISCO_INFO}'/></iq>"
            answer = self.romeo.request(request)
            self.assertIn(f"<feature var='{ns.MAM}'/>", answer.inner.decode())


class PrefsTests(ArchiveTestCase):
    """What users want archived (XEP-0441)."""

    def prefer(self, client: Client, default: str, always: str = "", never: str = "") -> None:
        """Sets preferences."""
        lists = f"<always>{always}</always><never>{never}</never>"
        prefs = f"<prefs xmlns='{ns.MAM}' default='{default}'>{lists}</prefs>"
        answer = client.request(f"<iq type='set' id='p'>{prefs}</iq>")
        self.assertEqual(answer.type, "result")

    def test_never(self) -> None:
        """A user who wants nothing archived has an empty archive; the other one's is theirs."""
        self.prefer(self.romeo, "never")
        self.say(self.romeo, "1")
        self.say(self.juliet, "2")
        self.assertEqual(self.query(self.romeo).bodies, [])
        self.assertEqual(self.query(self.juliet).bodies, ["1", "2"])

    def test_exceptions(self) -> None:
        """Exceptions go before the default."""
        self.prefer(self.romeo, "never", always="<jid>juliet@localhost</jid>")
        self.say(self.romeo, "1")
        self.assertEqual(self.query(self.romeo).bodies, ["1"])
        self.prefer(self.romeo, "always", never="<jid>juliet@localhost</jid>")
        self.say(self.romeo, "2")
        self.assertEqual(self.query(self.romeo).bodies, ["1"])

    def test_read_back(self) -> None:
        """Preferences are answered as they were set."""
        self.prefer(self.romeo, "roster", "<jid>a@b</jid>", "<jid>c@d</jid>")
        answer = self.romeo.request(f"<iq type='get' id='p'><prefs xmlns='{ns.MAM}'/></iq>")
        prefs = answer.child(ns.MAM, "prefs")
        assert prefs is not None
        self.assertEqual(prefs["default"], "roster")
        self.assertEqual([str(e) for e in prefs.always.elements()], ["a@b"])
        self.assertEqual([str(e) for e in prefs.never.elements()], ["c@d"])

    def test_roster(self) -> None:
        """With ``roster``, strangers' messages are not archived."""
        self.prefer(self.romeo, "roster")
        self.say(self.juliet, "1")
        self.assertEqual(self.query(self.romeo).bodies, [])


class QueryTests(ArchiveTestCase):
    """Pages and filters."""

    def setUp(self) -> None:
        """Six messages."""
        super().setUp()
        for number in range(6):
            self.say(self.romeo if number % 2 == 0 else self.juliet, str(number))
        self.romeo.events.clear()
        self.ids = self.query(self.romeo).ids

    def test_all(self) -> None:
        """Without conditions, everything comes in order."""
        answer = self.query(self.romeo)
        self.assertEqual(answer.bodies, ["0", "1", "2", "3", "4", "5"])
        self.assertEqual(answer.fin["complete"], "true")
        self.assertEqual(answer.count, "6")

    def test_pages_forward(self) -> None:
        """Pages follow one another by ``after`` (XEP-0059 §2.2)."""
        first = self.query(self.romeo, rsm="<max>4</max>")
        self.assertEqual(first.bodies, ["0", "1", "2", "3"])
        self.assertIsNone(first.fin.getAttribute("complete"))
        last = str(first.fin.set.last)
        second = self.query(self.romeo, rsm=f"<max>4</max><after>{last}</after>")
        self.assertEqual(second.bodies, ["4", "5"])
        self.assertEqual(second.fin["complete"], "true")
        self.assertEqual(second.fin.set.first["index"], "4")

    def test_pages_backward(self) -> None:
        """An empty ``before`` asks for the last page (§2.5), an id for the one before it."""
        last = self.query(self.romeo, rsm="<max>2</max><before/>")
        self.assertEqual(last.bodies, ["4", "5"])
        first = str(last.fin.set.first)
        before = self.query(self.romeo, rsm=f"<max>3</max><before>{first}</before>")
        self.assertEqual(before.bodies, ["1", "2", "3"])

    def test_flipped_page(self) -> None:
        """A flipped page comes newest first; first and last name what came first and last."""
        answer = self.query(self.romeo, rsm="<max>2</max><before/>", extra="<flip-page/>")
        self.assertEqual(answer.bodies, ["5", "4"])

    def test_count_only(self) -> None:
        """A page of no messages tells how many there are (§2.7)."""
        answer = self.query(self.romeo, rsm="<max>0</max>")
        self.assertEqual(answer.bodies, [])
        self.assertEqual(answer.count, "6")

    def test_with(self) -> None:
        """Only messages with somebody, by account or by resource."""
        self.say_to_nurse()
        answer = self.query(self.romeo, field("with", "nurse@localhost"))
        self.assertEqual(answer.bodies, ["nurse"])
        juliet = self.query(self.romeo, field("with", "juliet@localhost/b"))
        self.assertEqual(juliet.bodies, ["1", "3", "5"])

    def test_with_a_resource(self) -> None:
        """Messages from and to a full JID, in pages, however many others lie between."""
        self.patch(lookup, "_CHUNK", 2)
        self.romeo.send("<message to='juliet@localhost/b' type='chat'><body>6</body></message>")
        self.romeo.send("<message to='juliet@localhost/c' type='chat'><body>7</body></message>")
        form = field("with", "juliet@localhost/b")
        first = self.query(self.romeo, form, rsm="<max>2</max>")
        self.assertEqual((first.bodies, first.count), (["1", "3"], "4"))
        rsm = f"<max>2</max><after>{first.fin.set.last}</after>"
        second = self.query(self.romeo, form, rsm=rsm)
        self.assertEqual((second.bodies, second.fin["complete"]), (["5", "6"], "true"))
        self.assertEqual(second.fin.set.first["index"], "2")
        last = self.query(self.romeo, form, rsm="<max>3</max><before/>")
        self.assertEqual(last.bodies, ["3", "5", "6"])
        self.assertEqual(last.fin.set.first["index"], "1")
        none = self.query(self.romeo, field("with", "juliet@localhost/d"))
        self.assertEqual((none.bodies, none.count), ([], "0"))

    def test_with_a_resource_spelled_otherwise(self) -> None:
        """Whatever XML a client has written an address in."""
        juliet = self.connect("juliet@localhost/it's 100%_a\\b")
        juliet.send("<presence/>")
        juliet.send("<message to='romeo@localhost' type='chat'><body>from</body></message>")
        for number, to in enumerate(
            (
                "it's 100%_a\\b",
                "it's\t100%_a\\b",
                "it's\r\n100%_a\\b",
                "&#105;t&apos;s 100%_a&#x5c;b",
            )
        ):
            text = f"<body>to {number}</body>"
            self.romeo.send(f'<message to="juliet@localhost/{to}" type="chat">{text}</message>')
        found = self.query(self.romeo, field("with", "juliet@localhost/it's 100%_a\\b"))
        self.assertEqual(found.bodies, ["from", "to 0", "to 1", "to 2", "to 3"])

    def say_to_nurse(self) -> None:
        """One more message, to somebody else."""
        self.register("nurse@localhost")
        self.romeo.send("<message to='nurse@localhost' type='chat'><body>nurse</body></message>")

    def test_ids(self) -> None:
        """Messages by their ids; one that is not there is an error."""
        answer = self.query(self.romeo, field("ids", self.ids[1], self.ids[4]))
        self.assertEqual(answer.bodies, ["1", "4"])
        wrong = self.query(self.romeo, field("ids", self.ids[1], "12345"))
        self.assertEqual(wrong.end.type, "error")
        self.assertTrue(b"item-not-found" in wrong.end.to_bytes())

    def test_between_ids(self) -> None:
        """``after-id`` and ``before-id`` are exclusive."""
        form = field("after-id", self.ids[0]) + field("before-id", self.ids[4])
        self.assertEqual(self.query(self.romeo, form).bodies, ["1", "2", "3"])

    def test_between_times(self) -> None:
        """``start`` and ``end`` are inclusive."""
        stamp = self.query(self.romeo).results[2].forwarded.delay["stamp"]
        self.assertEqual(self.query(self.romeo, field("start", stamp)).bodies[0], "2")
        self.assertEqual(self.query(self.romeo, field("end", stamp)).bodies[-1], "2")

    def test_bad_queries(self) -> None:
        """What cannot be understood is refused by name."""
        cases = {
            field("start", "yesterday"): b"bad-request",
            field("colour", "red"): b"feature-not-implemented",
            field("with", "@"): b"jid-malformed",
            field("after-id", "not-ours"): b"item-not-found",
        }
        for form, condition in cases.items():
            self.assertIn(condition, self.query(self.romeo, form).end.to_bytes())

    def test_somebody_elses_archive(self) -> None:
        """An archive is its owner's."""
        query = f"<query xmlns='{ns.MAM}'/>"
        answer = self.romeo.request(f"<iq type='set' id='q' to='juliet@localhost'>{query}</iq>")
        self.assertIn(b"forbidden", answer.to_bytes())

    def test_metadata(self) -> None:
        """The first and the last message are told (XEP-0313 §6.1.1)."""
        answer = self.romeo.request(f"<iq type='get' id='m'><metadata xmlns='{ns.MAM}'/></iq>")
        metadata = answer.child(ns.MAM, "metadata")
        assert metadata is not None
        self.assertEqual(metadata.start["id"], self.ids[0])
        self.assertEqual(metadata.end["id"], self.ids[-1])

    def test_form(self) -> None:
        """The fields can be asked for."""
        answer = self.romeo.request(f"<iq type='get' id='f'><query xmlns='{ns.MAM}'/></iq>")
        for name in (b"with", b"start", b"end", b"before-id", b"after-id", b"ids"):
            self.assertIn(b"var='%b'" % name, answer.to_bytes())


class SearchTests(ArchiveTestCase):
    """Words of messages; there are two hosts, which share the log."""

    hosts = ("localhost", "example.org")

    def setUp(self) -> None:
        """Some messages."""
        super().setUp()
        for body in ("The rose is red", "A rose by any name", "Violets &amp; more", "prose"):
            self.say(self.romeo, body)

    def search(self, client: Client, text: str, name: str = "{urn:xmpp:fulltext:0}fulltext") -> Any:
        """Looks for words."""
        return self.query(client, field(name, text))

    def test_all_words(self) -> None:
        """A message is found if it has all the words, whatever their case and order."""
        self.assertEqual(len(self.search(self.juliet, "rose").ids), 2)
        self.assertEqual(self.search(self.juliet, "RED rose").bodies, ["The rose is red"])
        self.assertEqual(self.search(self.juliet, "red violets").bodies, [])
        self.assertEqual(self.search(self.juliet, "violets more").bodies, ["Violets & more"])

    def test_field_of_mongooseim(self) -> None:
        """MongooseIM's field does the same."""
        name = "{https://erlang-solutions.com/}full-text-search"
        self.assertEqual(self.search(self.romeo, "prose", name).bodies, ["prose"])

    def test_only_the_own_archive(self) -> None:
        """Nobody finds what others have written to one another."""
        nurse = self.connect("nurse@localhost/c")
        self.assertEqual(self.search(nurse, "rose").bodies, [])

    def test_syntax_is_no_syntax(self) -> None:
        """Operators and quotes of the database mean nothing."""
        for text in ('"', "rose OR violets", "owners:x", "rose*", "&amp;", "NEAR(", "body:"):
            self.assertEqual(self.search(self.juliet, text).end.type, "result", text)

    def test_newer_messages(self) -> None:
        """Messages that come after a search are found by the next one."""
        self.search(self.juliet, "rose")
        self.say(self.juliet, "another rose")
        self.assertEqual(len(self.search(self.juliet, "rose").ids), 3)

    def follow_calls(self, *, log: bool = True) -> list[str]:
        """Grows with each go that makes words searchable.

        :param log: whether the database takes messages.
        """
        run, names = self.server.db.run, list[str]()

        def noted(name: str, function: Any, **options: Any) -> Any:
            names.extend([name] * (name == "mam_follow"))
            refused = name == "message_log" and not log
            if refused:
                return fail(DatabaseUnavailable("gone"))
            return run(name, function, **options)

        self.patch(self.server.db, "run", noted)
        return names

    def test_in_the_background(self) -> None:
        """Words become searchable by themselves; others are let past again and again."""
        for number in range(120):
            self.say(self.romeo, f"word{number}")
        calls = self.follow_calls()
        self.clock.advance(5)
        self.assertEqual(len(calls), 1)
        for _ in range(9):
            self.clock.advance(0.03)
        self.assertEqual(len(calls), 3)
        self.assertEqual(len(self.search(self.juliet, "rose").ids), 2)
        self.assertEqual(len(self.search(self.juliet, "word119").ids), 1)

    def test_not_while_much_is_to_be_written(self) -> None:
        """Then words can wait."""
        calls = self.follow_calls(log=False)
        for number in range(100):
            self.say(self.romeo, f"word{number}")
        self.clock.pump([0.5] * 11)
        self.assertEqual(calls, [])


class OnPostgreSQL(ServerTestCase):
    """The same on PostgreSQL."""

    def database(self) -> Database:
        """PostgreSQL, without the tables of earlier tests."""
        database = empty_postgresql(*SCHEMAS, SCHEMA)
        with database.engine.begin() as connection:
            connection.exec_driver_sql("DROP TABLE IF EXISTS mam_text")
        return database


class PostgreSQLQueryTests(OnPostgreSQL, QueryTests):
    """Pages and filters."""


class PostgreSQLSearchTests(OnPostgreSQL, SearchTests):
    """Words of messages."""
