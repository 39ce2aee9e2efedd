"""A server whose database dies, freezes, fills up and comes back, with clients on it."""

import logging
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from twisted.internet.task import LoopingCall
from twisted.trial.unittest import SkipTest

from mongoosetw.storage.database import Database
from mongoosetw.storage.engine import postgresql_engine, sqlite_engine
from mongoosetw.testing.postgres import PostgreSQL
from mongoosetw.xmpp import ns
from mongoosetw.xmpp.jid import JID
from tests.integration.live import LiveTestCase, reactor, threaded
from tests.integration.raw import RawClient
from tests.storage.case import Volume

MODULES = """
[modules.mod_roster]
[modules.mod_presence]
[modules.mod_carboncopy]
[modules.mod_offline]
[modules.mod_last]
[modules.mod_register]
"""
WAIT = "<error type='wait'><internal-server-error"
UNAVAILABLE = "<temporary-auth-failure/>"


class OutageTestCase(LiveTestCase):
    """What clients do, and what they get."""

    extra = MODULES
    timeout = 120

    def setUp(self) -> Any:
        """Starts the server; it may log what happens to it."""
        logger = logging.getLogger("mongoosetw")
        self.patch(logger, "propagate", False)
        self.patch(logger, "handlers", [logging.NullHandler()])
        return super().setUp().addCallback(self.let_time_pass)

    def let_time_pass(self, _: object) -> None:
        """From now on the server's clock runs, so that what it does later is done."""
        ticks = LoopingCall(self.clock.advance, 0.1)
        ticks.start(0.1)
        self.addCleanup(ticks.stop)

    def online(self, user: str) -> RawClient:
        """A client that is available."""
        client = self.client()
        client.login(user)
        client.send("<presence/>")
        client.sync()
        return client

    def send(self, sender: RawClient, number: int) -> None:
        """Writes to bob's client."""
        body = f"<body>message {number}.</body>"
        sender.send(f"<message to='bob@localhost/r' type='chat'>{body}</message>")

    @contextmanager
    def chat(self) -> Iterator[None]:
        """Alice and bob chat as fast as they can meanwhile; every message arrives in its turn."""
        alice, bob = self.online("alice"), self.online("bob")
        done, failures, sent = threading.Event(), list[BaseException](), [0]

        def talk() -> None:
            try:
                while not done.is_set():
                    sent[0] += 1
                    self.send(alice, sent[0])
                    got = bob.until("</message>")
                    self.assertIn(f"message {sent[0]}.", got)
            except BaseException as error:  # for the test's thread
                failures.append(error)

        talking = threading.Thread(target=talk)
        talking.start()
        try:
            self.until(lambda: sent[0] > 1 or bool(failures))
            yield
            before = sent[0]
            self.until(lambda: sent[0] > before or bool(failures))
        finally:
            done.set()
            talking.join()
        self.assertEqual(failures, [])

    def until(self, condition: Callable[[], bool]) -> None:
        """Waits until something holds."""
        until = time.monotonic() + 60
        while not condition():
            self.assertLess(time.monotonic(), until, "it did not happen in a minute")
            time.sleep(0.01)

    def ask(self, client: RawClient, request: str) -> str:
        """What comes up to and with the answer to a request."""
        client.send(f"<iq type='set' id='ask'>{request}</iq>")
        answer = client.until("id='ask'") + client.until(">")
        return answer if answer.endswith("/>") else answer + client.until("</iq>")

    def change_roster(self, client: RawClient, name: str) -> str:
        """What a client gets that adds a contact."""
        item = f"<item jid='{name}@localhost' name='{name}'/>"
        return self.ask(client, f"<query xmlns='jabber:iq:roster'>{item}</query>")

    def log_in(self, user: str) -> str:
        """What a new client gets that logs in."""
        client = self.client()
        client.open()
        return client.plain(user)

    def register(self, user: str) -> str:
        """What a new client gets that makes an account."""
        client = self.client()
        client.open()
        fields = f"<username>{user}</username><password>secret</password>"
        return self.ask(client, f"<query xmlns='{ns.REGISTER}'>{fields}</query>")

    def write_to(self, client: RawClient, user: str, text: str) -> None:
        """Writes to an account."""
        body = f"<body>{text}</body>"
        client.send(f"<message id='{text}' to='{user}@localhost' type='chat'>{body}</message>")

    def check_back(self, client: RawClient) -> None:
        """Everything works again, without a restart of the server."""
        self.until(lambda: "type='result'" in self.change_roster(client, "later"))
        self.until(lambda: "<success" in self.log_in("mallory"))
        self.until(lambda: "type='result'" in self.register("trent"))
        self.write_to(client, "trent", "later")
        client.sync()
        trent = self.client()
        trent.login("trent")
        trent.send("<presence/>")
        trent.until("<body>later</body>")


class PostgreSQLOutageTests(OutageTestCase):
    """The server's PostgreSQL fails."""

    def prepare(self) -> None:
        """Starts a PostgreSQL."""
        if not PostgreSQL.installed():
            raise SkipTest("PostgreSQL is not installed")
        self.postgresql = PostgreSQL()
        self.addCleanup(self.postgresql.close)
        self.postgresql.start()

    def database(self) -> Database:
        """The server's database."""
        engine = postgresql_engine(self.postgresql.url, 10)
        return Database(engine, reactor.callFromThread, lanes=4, patience=1.0)

    def check_without_database(self, client: RawClient) -> None:
        """What needs the database is refused for now."""
        self.assertIn(WAIT, self.change_roster(client, "friend"))
        self.assertIn(UNAVAILABLE, self.log_in("mallory"))
        self.assertIn(WAIT, self.register("trent"))
        self.write_to(client, "carol", "away")
        self.assertIn(WAIT, client.until("</message>"))

    def dave(self) -> RawClient:
        """A client that is online, and accounts that nobody has used yet."""
        for user in ("dave", "carol", "mallory"):
            self.assertIn("type='result'", self.register(user))
            self.forget(user)
        return self.online("dave")

    def forget(self, user: str) -> None:
        """Has the server look the account up again when it needs it."""
        accounts = self.server.hosts["localhost"].accounts
        self.in_reactor(accounts.invalidate, JID.of(user, "localhost"))

    @threaded
    def test_killed(self) -> None:
        """While the database is dead, chat goes on; when it is back, so is everything."""
        dave = self.dave()
        with self.chat():
            self.postgresql.kill()
            self.check_without_database(dave)
            self.postgresql.start()
            self.check_back(dave)

    @threaded
    def test_restarts(self) -> None:
        """Restarts of the database are noticed by nobody, or refused for the moment."""
        dave = self.dave()
        with self.chat():
            for mode in ("fast", "immediate"):
                self.postgresql.restart(mode)
                answer = self.change_roster(dave, mode)
                self.assertTrue(WAIT in answer or "type='result'" in answer, answer)
                self.until(lambda: "type='result'" in self.change_roster(dave, "back"))
                self.postgresql.terminate_backends()
                self.assertIn("type='result'", self.change_roster(dave, "cut"))
            self.check_back(dave)


    @threaded
    def test_frozen(self) -> None:
        """While the database hangs, chat goes on; what needs it is refused after a while."""
        dave = self.dave()
        with self.chat():
            self.postgresql.freeze()
            try:
                self.check_without_database(dave)
            finally:
                self.postgresql.thaw()
            self.check_back(dave)


class FullDiskTests(OutageTestCase):
    """The disk of the embedded database is full."""

    def prepare(self) -> None:
        """Makes a small disk."""
        self.volume = Volume(self, 4)

    def database(self) -> Database:
        """The server's database."""
        engine = sqlite_engine(str(self.volume.folder / "db.sqlite"))
        return Database(engine, reactor.callFromThread)

    @threaded
    def test_full_disk(self) -> None:
        """What is written is refused for now, what is read is not, and chat goes on."""
        for user in ("dave", "mallory"):
            self.assertIn("type='result'", self.register(user))
        dave = self.online("dave")
        with self.chat():
            self.volume.fill()
            self.until(lambda: WAIT in self.change_roster(dave, "friend"))
            self.assertIn("<success", self.log_in("mallory"))
            self.assertIn(WAIT, self.register("trent"))
            self.volume.free()
            self.check_back(dave)
