"""Limits by address and by user."""

from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from mongoosetw.c2s import limits
from mongoosetw.c2s.limits import ConnectionLimit, LoginThrottle
from mongoosetw.config.schema import ListenC2S, LoginLimits
from mongoosetw.xmpp.jid import JID

ALICE, BOB = JID.parse("alice@localhost"), JID.parse("bob@localhost")


class ConnectionLimitTests(SynchronousTestCase):
    """Connections of a listener."""

    def test_by_address(self) -> None:
        """One address may have so many connections; as one ends, another may begin."""
        limit = ConnectionLimit(ListenC2S(port=1, max_connections_per_address=2))
        self.assertEqual([limit.admit("192.0.2.1") for _ in range(3)], [True, True, False])
        self.assertTrue(limit.admit("192.0.2.2"))
        limit.release("192.0.2.1")
        self.assertTrue(limit.admit("192.0.2.1"))

    def test_in_all(self) -> None:
        """The listener may have so many connections, wherever they come from."""
        limit = ConnectionLimit(ListenC2S(port=1, max_connections=2))
        addresses = ("192.0.2.1", "127.0.0.1", "192.0.2.3")
        self.assertEqual([limit.admit(address) for address in addresses], [True, True, False])

    def test_loopback(self) -> None:
        """Connections from this machine are spared, unless configured otherwise."""
        for address in ("127.0.0.1", "127.1.2.3", "::1"):
            options: dict[str, Any] = {"port": 1, "max_connections_per_address": 1}
            limit = ConnectionLimit(ListenC2S(**options))
            self.assertEqual([limit.admit(address) for _ in range(2)], [True, True])
            limit = ConnectionLimit(ListenC2S(**options, limits_apply_to_loopback=True))
            self.assertEqual([limit.admit(address) for _ in range(2)], [True, False])


class LoginThrottleTests(SynchronousTestCase):
    """Delays of answers to failing logins."""

    def throttle(self, loopback: bool = False, **options: Any) -> LoginThrottle:
        """A throttle with these options of ``login_attempts``."""
        attempts = LoginLimits(**options)
        return LoginThrottle(
            ListenC2S(port=1, login_attempts=attempts, limits_apply_to_loopback=loopback)
        )

    def test_growing_delay(self) -> None:
        """Beyond the free attempts of a user each one waits twice as long, up to a maximum."""
        throttle = self.throttle(free_per_user=2, delay=1.0, max_delay=5.0)
        delays = [throttle.attempt(ALICE, f"192.0.2.{n}", 0.0) for n in range(7)]
        self.assertEqual(delays, [0.0, 0.0, 1.0, 2.0, 4.0, 5.0, 5.0])
        self.assertEqual(throttle.attempt(BOB, "192.0.2.1", 0.0), 0.0)

    def test_by_address(self) -> None:
        """Whoever tries one user after the other waits, too."""
        throttle = self.throttle(free_per_address=3, delay=1.0)
        users = [JID.parse(f"user{n}@localhost") for n in range(5)]
        delays = [throttle.attempt(user, "192.0.2.1", 0.0) for user in users]
        self.assertEqual(delays, [0.0, 0.0, 0.0, 1.0, 2.0])

    def test_loopback(self) -> None:
        """This machine's attempts count by user alone, unless configured otherwise."""
        for loopback, last in ((False, 0.0), (True, 1.0)):
            throttle = self.throttle(loopback, free_per_address=1, delay=1.0)
            throttle.attempt(ALICE, "127.0.0.1", 0.0)
            self.assertEqual(throttle.attempt(BOB, "127.0.0.1", 0.0), last)

    def test_success(self) -> None:
        """Who gets in starts afresh, and their attempts do not count against their address."""
        throttle = self.throttle(free_per_user=1, free_per_address=2)
        for _ in range(10):
            self.assertEqual(throttle.attempt(ALICE, "192.0.2.1", 0.0), 0.0)
            throttle.succeeded(ALICE, "192.0.2.1", 0.0)
        throttle.attempt(ALICE, "192.0.2.1", 0.0)
        self.assertGreater(throttle.attempt(ALICE, "192.0.2.1", 0.0), 0.0)

    def test_forgotten(self) -> None:
        """Failures are forgotten in time."""
        throttle = self.throttle(free_per_user=1, forget_after=100.0)
        for _ in range(5):
            throttle.attempt(ALICE, "192.0.2.1", 0.0)
        self.assertEqual(throttle.attempt(ALICE, "192.0.2.1", 100.0), 0.0)

    def test_same_name_elsewhere(self) -> None:
        """Accounts of the same name in two domains are two."""
        throttle = self.throttle(free_per_user=1)
        throttle.attempt(ALICE, "192.0.2.1", 0.0)
        self.assertEqual(throttle.attempt(JID.parse("alice@other"), "192.0.2.1", 0.0), 0.0)

    def test_bounded(self) -> None:
        """Made-up names do not fill the memory; what was used last is remembered."""
        self.patch(limits, "_REMEMBERED", 10)
        throttle = self.throttle(free_per_user=1)
        for n in range(100):
            throttle.attempt(JID.parse(f"user{n}@localhost"), f"192.0.2.{n}", 0.0)
        self.assertEqual(len(throttle._failures), 10)
        self.assertGreater(throttle.attempt(JID.parse("user99@localhost"), "x", 0.0), 0.0)
