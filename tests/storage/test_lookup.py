"""Reading by key, many at a time."""

from collections.abc import Callable
from typing import Any

from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from mongoosetw.storage.database import Database
from mongoosetw.storage.lookup import Lookup
from mongoosetw.storage.work import Work


class SlowDatabase:
    """A database whose reads end when the test says so."""

    def __init__(self) -> None:
        self.running: list[tuple[Callable[[Any], Any], Deferred[Any]]] = []

    def gather(self, make: Callable[[], Work]) -> None:
        """Notes a read."""
        work = make()
        self.running.append((work.function, work.deferred))

    def finish(self) -> None:
        """Ends the oldest read."""
        function, deferred = self.running.pop(0)
        try:
            result = function(None)
        except OSError as error:
            deferred.errback(error)
        else:
            deferred.callback(result)


class LookupTests(SynchronousTestCase):
    """Values of small numbers: their names."""

    def setUp(self) -> None:
        """Makes a look-up that notes which keys are read together."""
        self.db = SlowDatabase()
        self.reads: list[list[int]] = []
        self.lookup = Lookup[int, str](self.db, "names", self.read)  # type: ignore[arg-type]

    def read(self, _: Any, keys: list[int]) -> dict[int, str]:
        """Names of 1 and 2; 9 is a fault of the database."""
        self.reads.append(keys)
        if 9 in keys:
            raise OSError("gone")
        return {key: name for key, name in ((1, "one"), (2, "two")) if key in keys}

    def test_together(self) -> None:
        """Keys that come while a read runs are read together, each once; each gets its value."""
        first = self.lookup.get(1)
        others = [self.lookup.get(key) for key in (2, 3, 2)]
        self.db.finish()
        self.assertEqual(self.successResultOf(first), "one")
        for other in others:
            self.assertNoResult(other)
        self.db.finish()
        self.assertEqual([self.successResultOf(other) for other in others], ["two", None, "two"])
        self.assertEqual(self.reads, [[1], [2, 3]])

    def test_asked_again(self) -> None:
        """A key that is asked for again is read again."""
        for _ in range(2):
            found = self.lookup.get(1)
            self.db.finish()
            self.assertEqual(self.successResultOf(found), "one")
        self.assertEqual(self.reads, [[1], [1]])

    def test_failure(self) -> None:
        """A read that fails fails for those who asked, and the next one goes on."""
        failed = [self.lookup.get(9), self.lookup.get(9)]
        later = self.lookup.get(1)
        self.db.finish()
        self.failureResultOf(failed[0], OSError)
        self.db.finish()
        self.assertEqual(self.reads, [[9], [9, 1]])
        self.failureResultOf(failed[1], OSError)
        self.failureResultOf(later, OSError)
        self.assertEqual(self.db.running, [])

    def test_many(self) -> None:
        """No statement gets more keys than databases like."""
        for key in range(1000, 2200):
            self.lookup.get(key)
        while self.db.running:
            self.db.finish()
        self.assertEqual([len(keys) for keys in self.reads], [1, 500, 500, 199])

    def test_at_once(self) -> None:
        """With a database that answers at once, so does the look-up."""
        lookup = Lookup[int, str](Database.in_memory(), "names", self.read)
        self.assertEqual(self.successResultOf(lookup.get(2)), "two")
