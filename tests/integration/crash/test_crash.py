"""Acknowledged means durable: kills under load, on both databases.

The long form is ``make crash``: ``CRASH_KILLS`` kills of each kind, from ``CRASH_SEED``.
"""

import os
import re
import shutil
import signal
import subprocess
from typing import ClassVar

from twisted.trial.unittest import SkipTest, SynchronousTestCase

from mongoosetw.testing.postgres import PostgreSQL
from tests.integration.crash.harness import (
    ARCHIVE,
    Chat,
    Node,
    crash_runs,
    database_runs,
    node,
    seed_of,
)
from tests.integration.crash.workers import Workers, worker_runs

KILLS = int(os.environ.get("CRASH_KILLS", "3"))


class CrashTests(SynchronousTestCase):
    """The server is killed while pairs of clients chat at full speed."""

    archive: ClassVar[str] = ARCHIVE

    def database(self) -> str:
        """Lines of the configuration that name the database."""
        return ""

    def test_nothing_acknowledged_is_lost(self) -> None:
        """Every message arrives, in order, whenever the server was killed."""
        seed = seed_of()
        with node(self.database(), self.archive) as server:
            result = crash_runs(server, KILLS, seed)
            print(f"\nseed {seed}, {KILLS} kills: {result}")
            self.assertEqual(result.faults, [], f"seed {seed}\n{server.output()}")
            self.assertGreater(result.acknowledged, 0)


class WithoutArchiveTests(CrashTests):
    """The same where mod_offline keeps messages on its own."""

    archive = ""


class PostgreSQLTests(CrashTests):
    """The same on PostgreSQL."""

    def database(self) -> str:
        """A new database."""
        return new_postgresql(self).configuration


class WorkersTests(SynchronousTestCase):
    """One of two workers is killed, again and again."""

    workers: ClassVar[int] = 2

    def database(self) -> str:
        """Lines of the configuration that name the database."""
        return ""

    def test_nothing_acknowledged_is_lost(self) -> None:
        """Every message arrives, in order, whichever worker was killed, and whenever."""
        seed = seed_of()
        server = Workers(self.database(), workers=self.workers)
        self.addCleanup(server.remove)
        server.start()
        result = worker_runs(server, KILLS, seed)
        print(f"\nseed {seed}, {KILLS} kills of one of {self.workers} workers: {result}")
        self.assertEqual(result.faults, [], f"seed {seed}\n{server.output()}")
        self.assertGreater(result.acknowledged, 0)


class PostgreSQLWorkersTests(WorkersTests):
    """One of three workers that share PostgreSQL."""

    workers = 3

    def database(self) -> str:
        """A new database."""
        return new_postgresql(self).configuration


class SyncTests(SynchronousTestCase):
    """What the system calls of the server show."""

    def test_disk_before_acknowledgement(self) -> None:
        """The message is synced to the disk after it has arrived and before it is acknowledged."""
        if shutil.which("strace") is None:
            raise SkipTest("strace is not installed")
        with node() as server:
            trace = server.folder / "trace"
            chat = Chat(lambda: server.port, pairs=1, window=1)
            for client in chat.clients:
                client.sending = False
            self.assertTrue(chat.run(lambda: all(c.ready for c in chat.clients), 30))
            chat.chat(1)
            tracer = self._trace(server, str(trace))
            sender = chat.clients[0]
            sender.sending, sender.window = True, 1
            sender.fill()
            sender.sending = False
            self.assertTrue(chat.finish())
            chat.close()
            tracer.send_signal(signal.SIGINT)
            tracer.wait()
            self._check(trace.read_text())

    def _trace(self, server: Node, output: str) -> "subprocess.Popen[bytes]":
        assert server.process is not None
        calls = "trace=fsync,fdatasync,recvfrom,read,sendto,sendmsg,write,writev"
        tracer = subprocess.Popen(
            ["strace", "-f", "-s", "400", "-e", calls, "-o", output, "-p", str(server.process.pid)],
            stderr=subprocess.PIPE,
        )
        assert tracer.stderr is not None
        said = tracer.stderr.readline()
        if b"attached" not in said:
            tracer.wait()
            raise SkipTest(f"strace cannot attach: {said!r}")
        return tracer

    def _check(self, trace: str) -> None:
        calls = trace.splitlines()
        arrived = self._index(calls, r"recvfrom|read", "<body>1</body>", 0)
        acknowledged = self._index(
            calls, r"sendto|write|sendmsg", "<a xmlns='urn:xmpp:sm:3'", arrived
        )
        synced = self._index(calls, r"fdatasync|fsync", "= 0", arrived)
        self.assertLess(arrived, synced)
        self.assertLess(synced, acknowledged)

    def _index(self, calls: list[str], call: str, text: str, start: int) -> int:
        for index in range(start, len(calls)):
            if text in calls[index] and re.search(call, calls[index]):
                return index
        self.fail(f"no {call} with {text} behind line {start}:\n" + "\n".join(calls[-40:]))


class DatabaseCrashTests(SynchronousTestCase):
    """The database is killed instead of the server."""

    def test_nothing_acknowledged_is_lost(self) -> None:
        """Acknowledgements wait for the database to come back; every message arrives, in order."""
        seed = seed_of()
        database = new_postgresql(self)
        with node(database.configuration) as server:
            result = database_runs(server, database, KILLS, seed)
            print(f"\nseed {seed}, {KILLS} kills: {result}")
            self.assertEqual(result.faults, [], f"seed {seed}\n{server.output()}")
            self.assertEqual(result.repeated, 0, "no process that delivers was killed")


def new_postgresql(test: SynchronousTestCase) -> PostgreSQL:
    """A PostgreSQL of the test's own.

    :raises SkipTest: its programs are not installed.
    """
    if not PostgreSQL.installed():
        raise SkipTest("PostgreSQL is not installed")
    database = PostgreSQL()
    test.addCleanup(database.close)
    database.start()
    return database
