"""Limits of speed: a token bucket that knows no clock and does no waiting."""


class Shaper:
    """A token bucket that holds the tokens of one second.

    Work is always let through, and may leave the bucket in debt; the caller then pauses for the
    time that :meth:`consume` returns before it takes more. So no piece of work is too large, and
    the mean rate holds.
    """

    __slots__ = ("_level", "_updated_at", "max_rate")

    def __init__(self, max_rate: float) -> None:
        """
        :param max_rate: tokens (bytes, requests) a second; positive.
        """
        self.max_rate = max_rate
        self._level = float(max_rate)
        self._updated_at: float | None = None

    def consume(self, n: float, now: float) -> float:
        """Take ``n`` tokens.

        :param now: seconds by any clock that does not run backwards.
        :returns: seconds to pause before taking more; 0.0 while there is something left.
        """
        if self._updated_at is not None:
            gained = (now - self._updated_at) * self.max_rate
            self._level = min(self.max_rate, self._level + max(0.0, gained))
        self._updated_at = now
        self._level -= n
        return 0.0 if self._level >= 0 else -self._level / self.max_rate

    def change_rate(self, max_rate: float) -> None:
        """Go on at another rate, as after a reload of the configuration."""
        self._level = min(self._level, max_rate)
        self.max_rate = max_rate
