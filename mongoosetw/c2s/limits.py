"""Limits by address and by user: connections, and failed logins with growing delays."""

import ipaddress
from collections import Counter
from functools import lru_cache

from mongoosetw.config.schema import ListenC2S, LoginLimits


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
        self._options = options
        self.total = 0
        self._by_address: Counter[str] = Counter()

    def admit(self, address: str) -> bool:
        """Counts a new connection; False if there are too many already."""
        options = self._options
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
    """Failed logins of a user or an address: beyond a few, answers take longer and longer."""

    def __init__(self, options: LoginLimits, *, spare_loopback: bool) -> None:
        self._options = options
        self._spare_loopback = spare_loopback
        self._failures: dict[str, tuple[int, float]] = {}

    def delay(self, user: str, address: str, now: float) -> float:
        """Seconds to wait before this attempt is answered."""
        options = self._options
        excess = self._count(f"user {user}", now) - options.free_per_user
        if not (self._spare_loopback and is_loopback(address)):
            by_address = self._count(f"address {address}", now) - options.free_per_address
            excess = max(excess, by_address)
        if excess < 0:
            return 0.0
        return float(min(options.delay * 2.0 ** min(excess, 30), options.max_delay))

    def failed(self, user: str, address: str, now: float) -> None:
        """Counts a failed attempt."""
        if len(self._failures) > 10_000:
            self._forget(now)
        for key in (f"user {user}", f"address {address}"):
            self._failures[key] = (self._count(key, now) + 1, now)

    def succeeded(self, user: str) -> None:
        """A user has proven themselves: their failures count no longer."""
        self._failures.pop(f"user {user}", None)

    def _count(self, key: str, now: float) -> int:
        count, when = self._failures.get(key, (0, now))
        return count if now - when < self._options.forget_after else 0

    def _forget(self, now: float) -> None:
        horizon = now - self._options.forget_after
        self._failures = {k: v for k, v in self._failures.items() if v[1] > horizon}
