"""Limits by address and by user: connections, and failed logins with growing delays."""

import ipaddress
from collections import Counter
from functools import lru_cache
from typing import Final

from mongoosetw.config.schema import ListenC2S
from mongoosetw.xmpp.jid import JID

_REMEMBERED: Final = 20_000
"""Users and addresses whose failures are remembered at most."""


@lru_cache(4096)
def is_loopback(address: str) -> bool:
    """Whether an IP address is this machine's own."""
    try:
        return ipaddress.ip_address(address).is_loopback
    except ValueError:
        return False


class ConnectionLimit:
    """Counts connections, in all and by address."""

    def __init__(self, options: ListenC2S) -> None:
        self.options = options
        self.total = 0
        self._by_address: Counter[str] = Counter()

    def admit(self, address: str) -> bool:
        """Counts a new connection; False if there are too many already."""
        options = self.options
        spared = is_loopback(address) and not options.limits_apply_to_loopback
        if self.total >= options.max_connections:
            return False
        if not spared and self._by_address[address] >= options.max_connections_per_address:
            return False
        self.total += 1
        self._by_address[address] += 1
        return True

    def release(self, address: str) -> None:
        """Counts the end of a connection."""
        self.total -= 1
        self._by_address[address] -= 1
        if not self._by_address[address]:
            del self._by_address[address]


class LoginThrottle:
    """Attempts to log in of a user or an address: beyond a few, answers take longer and longer.

    An attempt counts from its beginning, so that many at the same time gain nothing; that of
    a user who gets in is taken back.
    """

    def __init__(self, options: ListenC2S) -> None:
        self.options = options
        self._failures: dict[JID | str, tuple[int, float]] = {}

    def attempt(self, user: JID, address: str, now: float) -> float:
        """Counts an attempt; seconds to wait before it is answered."""
        limits = self.options.login_attempts
        excess = self._count(user, now) - limits.free_per_user
        if not is_loopback(address) or self.options.limits_apply_to_loopback:
            by_address = self._count(address, now) - limits.free_per_address
            excess = max(excess, by_address)
        self._add(user, 1, now)
        self._add(address, 1, now)
        if excess < 0:
            return 0.0
        return float(min(limits.delay * 2.0 ** min(excess, 30), limits.max_delay))

    def succeeded(self, user: JID, address: str, now: float) -> None:
        """A user has proven themselves: their failures count no longer, nor does this attempt."""
        self._failures.pop(user, None)
        self._add(address, -1, now)

    def withdrawn(self, user: JID, address: str, now: float) -> None:
        """Nobody could tell whether the user is who they claim to be: it is no attempt."""
        self._add(user, -1, now)
        self._add(address, -1, now)

    def _count(self, key: JID | str, now: float) -> int:
        count, when = self._failures.get(key, (0, now))
        return count if now - when < self.options.login_attempts.forget_after else 0

    def _add(self, key: JID | str, change: int, now: float) -> None:
        """Counts; the table is in the order of last use, and the oldest entry makes room."""
        count = self._count(key, now) + change
        self._failures.pop(key, None)
        if count > 0:
            self._failures[key] = (count, now)
        if len(self._failures) > _REMEMBERED:
            del self._failures[next(iter(self._failures))]
