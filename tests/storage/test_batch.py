"""The writer of logs, over SQLite, PostgreSQL and a database without threads."""

import sqlalchemy as sa
from sqlalchemy import Column, Table
from sqlalchemy.exc import IntegrityError
from twisted.internet.defer import Deferred

from mongoosetw.storage import migrate
from mongoosetw.storage.batch import Batch, LogWriter
from mongoosetw.storage.database import Database
from mongoosetw.storage.work import CommitUncertain, DatabaseUnavailable
from tests.storage.case import ThreadedCase
from tests.storage.log_case import KINDS, MESSAGE, OWNER, OWNERS, SCHEMA, LogCase, unit


class LogWriterTests(LogCase):
    """Over a database without threads; the subclasses below over real ones."""

    # What is stored

    def test_unit(self) -> None:
        """The callback comes after the commit of all rows of the unit."""
        self.add(1)
        self.assertEqual(self.told, [])
        self.flush()
        self.assertEqual(self.told, [(1, None)])
        self.assertEqual(self.rows(sa.select(MESSAGE)), [(1, "romeo", b"body")])
        self.assertEqual(self.rows(OWNERS), [("juliet", 1)])

    def test_kinds_of_values(self) -> None:
        """Values of every type come back as they were."""
        text = "\\N \t\r\n'\"%s\u00e9\U0001f600"
        rows = [
            (1, 32767, -(2**31), 2**63 - 1, 0.1, True, text, b"\0\\x\xff"),
            (2, 0, 0, 0, -1e300, False, "", b""),
            (3, None, None, None, None, None, None, None),
        ]
        for row in rows:
            self.log.add(((KINDS, row),))
        self.flush()
        self.assertEqual(self.rows(sa.select(KINDS).order_by(KINDS.c.id)), rows)

    def test_numbers_of_rows(self) -> None:
        """Any number of rows in a batch is stored completely."""
        expected: list[int] = []
        for count in (1, 2, 5, 7, 13, 100, 257, 900):
            for number in range(len(expected), len(expected) + count):
                self.log.add(unit(number))
                expected.append(number)
            self.flush()
        self.assertEqual(self.ids(), expected)
        self.assertEqual(len(self.rows(OWNERS)), len(expected))

    def test_type_that_cannot_be_written(self) -> None:
        """A table with an unknown type is refused when the writer is made."""
        table = Table("odd", sa.MetaData(), Column("at", sa.DateTime, primary_key=True))
        with self.assertRaises(TypeError):
            LogWriter(self.db, self.clock, "odd", [table])

    # Commits

    def test_gathering(self) -> None:
        """Units of one turn share a commit, and a batch."""
        commits = self.commits()
        batches = {self.add(number) for number in range(50)}
        self.flush()
        self.assertEqual((len(batches), len(commits)), (1, 1))
        self.assertEqual(self.told, [(number, None) for number in range(50)])

    def test_size(self) -> None:
        """More units than a commit takes follow in the next, in order."""
        commits = self.commits()
        log = self.writer(size=7)
        for number in range(50):
            self.add(number, log=log)
        self.wait_for(log.barrier())
        self.assertEqual(len(commits), 8)
        self.assertEqual(self.told, [(number, None) for number in range(50)])

    def test_size_of_removals(self) -> None:
        """Nor does a commit take more removals than that."""
        log = self.writer(size=7)
        batches = [log.remove(OWNER, [("juliet", number)]) for number in range(50)]
        self.assertEqual(len(set(map(id, batches))), 8)
        self.wait_for(log.barrier())

    def test_batch_tells(self) -> None:
        """Who waits for the batch is told once, and who asks later at once."""
        batch, told = self.add(1), []
        batch.when_committed(told.append)
        self.assertFalse(batch.settled)
        self.flush()
        self.assertEqual((batch.settled, batch.error, told), (True, None, [None]))
        batch.when_committed(told.append)
        self.assertEqual(told, [None, None])

    def test_callback_that_raises(self) -> None:
        """A callback that raises keeps nobody else from being told."""
        self.expect_warnings()
        self.log.add(unit(1), lambda _: 1 / 0)
        self.add(2)
        self.flush()
        self.assertEqual(self.told, [(2, None)])

    def test_callback_that_adds(self) -> None:
        """What a callback adds is committed after it."""
        self.log.add(unit(1), lambda _: self.add(2))
        self.flush()
        self.flush()
        self.assertEqual(self.told, [(2, None)])
        self.assertEqual(self.ids(), [1, 2])

    def test_barrier_without_units(self) -> None:
        """With nothing waiting, a barrier does not either."""
        self.successResultOf(self.log.barrier())

    # Removals

    def test_removal(self) -> None:
        """Rows are removed by their keys, whether they are committed or in the same batch."""
        for number in range(700):
            self.log.add(unit(number))
        self.flush()
        self.log.add(unit(800))
        batch = self.log.remove(MESSAGE, [*range(1, 700), 800])
        self.log.remove(OWNER, (("juliet", number) for number in [*range(2, 700), 800, 900]))
        self.flush()
        self.assertIsNone(batch.error)
        self.assertEqual(self.ids(), [0])
        self.assertEqual(self.rows(OWNERS), [("juliet", 0), ("juliet", 1)])

    def test_order_of_removal_and_unit(self) -> None:
        """In a batch the later wins."""
        self.log.add(unit(1))
        self.flush()
        self.log.remove(MESSAGE, [1])
        self.log.add(((MESSAGE, (1, "again", b"")),))
        self.log.add(unit(2))
        self.log.remove(MESSAGE, [2])
        self.flush()
        self.assertEqual(self.rows(sa.select(MESSAGE)), [(1, "again", b"")])

    # Rows that are there, rows that are wrong

    def test_row_that_is_there(self) -> None:
        """A row whose key is there is left as it is, and no error."""
        self.add(1)
        self.flush()
        self.log.add(((MESSAGE, (1, "other", b"")), (OWNER, ("nurse", 1))))
        self.add(2)
        self.add(2)
        self.flush()
        self.assertEqual([error for _, error in self.told], [None] * 3)
        self.assertEqual(self.ids(), [1, 2])
        self.assertEqual(self.rows(sa.select(MESSAGE.c.sender)), [("romeo",)] * 2)
        self.assertEqual(len(self.rows(OWNERS)), 3)

    def test_refused_unit(self) -> None:
        """A unit that the database refuses fails alone and as a whole."""
        batch = self.add(1)
        wrong = (OWNER, ("nurse", 2)), (MESSAGE, (2, None, b""))
        self.log.add(wrong, lambda error: self.told.append((2, error)))
        self.add(3)
        self.assertIsNone(self.wait_for(self.log.barrier()))
        errors = dict(self.told)
        self.assertEqual(list(errors), [1, 2, 3])
        self.assertIsInstance(errors[2], IntegrityError)
        self.assertEqual((errors[1], errors[3]), (None, None))
        self.assertIs(batch.error, errors[2])
        self.assertEqual(batch.refused, {-2: errors[2]})
        self.assertEqual(self.ids(), [1, 3])
        self.assertEqual(self.rows(OWNERS), [("juliet", 1), ("juliet", 3)])

    def test_value_of_a_wrong_type(self) -> None:
        """A value that cannot be sent fails its unit alone."""
        self.log.add(((MESSAGE, (1, "a", object())),), lambda e: self.told.append((1, e)))
        self.add(2)
        self.flush()
        self.assertEqual([error is None for _, error in self.told], [False, True])

    # Without a database

    def test_waiting(self) -> None:
        """Units wait for the database and are stored in their order when it is back."""
        self.expect_warnings()
        self.failing([DatabaseUnavailable("gone")] * 3)
        self.add(1)
        self.pump()
        self.add(2)
        for _ in range(2):
            self.clock.advance(0.1)
            self.pump()
        self.assertEqual(self.told, [])
        self.assertEqual(self.log.waiting, 2)
        self.clock.advance(0.1)
        self.clock.advance(0.4)
        self.flush()
        self.assertEqual(self.told, [(1, None), (2, None)])
        self.assertEqual((self.log.waiting, self.ids()), (0, [1, 2]))

    def test_growing_delay(self) -> None:
        """The tries become rarer, down to one in five seconds, and soon again later."""
        self.expect_warnings()
        self.failing([DatabaseUnavailable("gone")] * 8)
        self.add(1)
        self.pump()
        delays = []
        while calls := self.clock.getDelayedCalls():
            delays.append(round(calls[0].getTime() - self.clock.seconds(), 3))
            self.clock.advance(delays[-1])
        self.assertEqual(delays, [0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 5.0, 5.0])
        self.flush()
        self.failing([DatabaseUnavailable("gone")])
        self.add(2)
        self.pump()
        self.clock.advance(0.1)
        self.flush()

    def test_uncertain_commit(self) -> None:
        """A commit of which nobody knows is repeated; no row is stored twice."""
        self.expect_warnings()
        self.failing([CommitUncertain("lost")], after=True)
        self.add(1)
        self.wait([self.patched_barrier()])
        self.assertEqual(self.told, [(1, None)])
        self.assertEqual((self.ids(), self.rows(OWNERS)), ([1], [("juliet", 1)]))

    def patched_barrier(self) -> Deferred[None]:
        """A barrier, with a clock that lets retries happen."""
        self.pump = lambda: (self.clock.advance(1), ThreadedCase.pump(self))  # type: ignore
        return self.log.barrier()

    def test_bound(self) -> None:
        """With too many units waiting the next is refused at once; removals never are."""
        log = self.writer(limit=2)
        for number in (1, 2):
            self.add(number, log=log)
        with self.assertRaises(DatabaseUnavailable):
            self.add(3, log=log)
        log.remove(MESSAGE, [1])
        with self.assertRaises(DatabaseUnavailable):
            self.add(3, log=log)
        self.wait_for(log.barrier())
        self.add(4, log=log)
        self.wait_for(log.barrier())
        self.assertEqual(self.ids(), [2, 4])

    def test_bound_of_bytes(self) -> None:
        """With too many bytes waiting the next unit is refused."""
        log = self.writer(byte_limit=100)
        log.add(unit(1), None, 101)
        with self.assertRaises(DatabaseUnavailable):
            log.add(unit(2), None, 1)
        log.remove(MESSAGE, [1])
        with self.assertRaises(DatabaseUnavailable):
            log.add(unit(2), None, 1)
        self.wait_for(log.barrier())
        self.assertEqual(log.weight, 0)
        log.add(unit(2), None, 1)
        self.wait_for(log.barrier())

    # The end

    def test_close(self) -> None:
        """Closing commits what waits and takes nothing more."""
        self.add(1)
        self.wait_for(self.log.close())
        self.assertEqual(self.told, [(1, None)])
        with self.assertRaises(DatabaseUnavailable):
            self.log.add(unit(2))
        late = self.log.remove(MESSAGE, [1])
        self.assertIsInstance(late.error, DatabaseUnavailable)
        self.assertEqual(self.ids(), [1])
        self.assertEqual(self.clock.getDelayedCalls(), [])
        self.successResultOf(self.log.close())

    def test_close_without_database(self) -> None:
        """Closing does not wait for a database: what waits for it fails."""
        self.expect_warnings()
        self.failing([DatabaseUnavailable("gone")] * 10)
        self.add(1)
        self.pump()
        barrier = self.log.barrier()
        self.successResultOf(self.log.close())
        self.failureResultOf(barrier, DatabaseUnavailable)
        [(number, error)] = self.told
        self.assertEqual(number, 1)
        self.assertIsInstance(error, DatabaseUnavailable)
        self.assertEqual((self.log.waiting, self.clock.getDelayedCalls()), (0, []))


class SQLiteLogWriterTests(LogWriterTests):
    """Over an SQLite file and its thread."""

    def database(self) -> Database:
        """A new file."""
        return self.sqlite()

    def test_gathering_while_a_commit_runs(self) -> None:
        """Units that come while a commit runs share the next."""
        held = self.held(self.db.run)
        first = self.add(0)
        self.pump()
        batches = set()
        for number in range(1, 20):
            batches.add(self.add(number))
            self.pump()
        held.release()
        self.flush()
        self.assertEqual((len(batches), first in batches), (1, False))
        self.assertEqual(self.told, [(number, None) for number in range(20)])

    def test_interval(self) -> None:
        """The first commit comes at once, the next when its time has come."""
        log = self.writer(interval=1.0)
        self.add(1, log=log)
        self.wait_for(log.barrier())
        late = self.add(2, log=log)
        self.add(3, log=log)
        self.clock.advance(0.9)
        self.ids()  # the threads have had their time
        self.assertFalse(late.settled)
        self.clock.advance(0.2)
        self.wait_for(log.barrier())
        self.assertEqual(self.told, [(1, None), (2, None), (3, None)])

    def test_interval_grows_with_the_load(self) -> None:
        """After a commit of many units the next is longer in coming, up to a bound."""
        log = self.writer(interval=0.1, longest=0.2)
        for number in range(2_000):
            self.add(number, log=log)
        self.wait_for(log.barrier())
        late = self.add(2_000, log=log)
        self.clock.advance(0.19)
        self.ids()  # the threads have had their time
        self.assertFalse(late.settled)
        self.clock.advance(0.02)
        self.wait_for(log.barrier())
        self.assertEqual(len(self.told), 2_001)

    def test_full_batch_does_not_wait(self) -> None:
        """What takes no more is committed before the next commit's time."""
        log = self.writer(interval=1000.0, size=10)
        self.add(0, log=log)
        self.wait_for(log.barrier())
        full, rest = self.fill(log)
        self.assert_only_full_is_written(full, rest)

    def test_full_batch_behind_a_commit_does_not_wait(self) -> None:
        """Nor if it has become full while another one was committed."""
        log, held = self.writer(interval=1000.0, size=10), self.held(self.db.run)
        self.add(0, log=log)
        self.pump()
        full, rest = self.fill(log)
        held.release()
        self.assert_only_full_is_written(full, rest)

    def fill(self, log: LogWriter) -> tuple[Batch, Batch]:
        """Adds units 1 to 11 to a writer of batches of ten; the full batch and the next."""
        batches = [self.add(number, log=log) for number in range(1, 12)]
        return batches[0], batches[-1]

    def assert_only_full_is_written(self, full: Batch, rest: Batch) -> None:
        """Waits for the full batch, before which unit 0 was added, without the time's passing."""
        committed: Deferred[None] = Deferred()
        full.when_committed(committed.callback)
        self.assertIsNone(self.wait_for(committed))
        self.assertEqual(self.ids(), list(range(11)))
        self.assertFalse(rest.settled)

    def test_interval_ends_with_the_writer(self) -> None:
        """Who closes the writer does not wait for the next commit's time."""
        log, held = self.writer(interval=1000.0), self.held(self.db.run)
        self.add(1, log=log)
        self.pump()
        self.add(2, log=log)
        closed = log.close()
        held.release()
        self.wait_for(closed)
        self.assertEqual(self.ids(), [1, 2])


class PostgreSQLLogWriterTests(SQLiteLogWriterTests):
    """Over PostgreSQL and its threads."""

    def database(self) -> Database:
        """The tests' PostgreSQL, emptied."""
        return self.postgresql()

    def test_slow_statement(self) -> None:
        """A statement that the database gave up for its slowness is tried again."""
        self.expect_warnings()
        self.db = self.postgresql(query_timeout=0.3)
        with self.db.engine.connect() as connection:
            migrate.ensure(connection, SCHEMA)
        self.log = self.writer()
        with self.db.engine.connect() as rival:
            rival.exec_driver_sql("LOCK TABLE test_message IN ACCESS EXCLUSIVE MODE")
            self.add(1)
            while not any(call.getTime() for call in self.clock.getDelayedCalls()):
                self.pump()
        self.wait([self.patched_barrier()])
        self.assertEqual(self.told, [(1, None)])
