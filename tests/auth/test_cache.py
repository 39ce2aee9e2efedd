"""Tests of the memory of accounts."""

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from mongoosetw.auth.cache import MISSING, AccountCache
from mongoosetw.xmpp.jid import JID

ONE, TWO, THREE = (JID.parse(f"{name}@example.com") for name in ("one", "two", "three"))


class CacheTests(SynchronousTestCase):
    """Remembering and forgetting."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.cache = AccountCache[str](2, 60, 2, self.clock.seconds)

    def test_expiry(self) -> None:
        """Values last longer than the knowledge that there is none."""
        self.cache.put(ONE, "x", 0)
        self.cache.put(TWO, None, 0)
        self.assertEqual((self.cache.get(ONE), self.cache.get(TWO)), ("x", None))
        self.clock.advance(2)
        self.assertEqual((self.cache.get(ONE), self.cache.get(TWO)), ("x", MISSING))
        self.clock.advance(58)
        self.assertIs(self.cache.get(ONE), MISSING)

    def test_least_recently_used_goes(self) -> None:
        """When it is full, the entry that was not asked for longest goes."""
        self.cache.put(ONE, "x", 0)
        self.cache.put(TWO, "y", 0)
        self.cache.get(ONE)
        self.cache.put(THREE, "z", 0)
        self.assertEqual((self.cache.get(ONE), self.cache.get(TWO)), ("x", MISSING))

    def test_stale_values_stay_out(self) -> None:
        """A value that was loaded before a change is not remembered after it."""
        changes = self.cache.changes
        self.cache.forget(ONE)
        self.cache.put(ONE, "old", changes)
        self.assertIs(self.cache.get(ONE), MISSING)
