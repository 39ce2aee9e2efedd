"""What happened a moment ago."""

from typing import Final, Generic, TypeVar

from twisted.internet.interfaces import IReactorTime

_REMEMBERED: Final = 100_000
K = TypeVar("K")
V = TypeVar("V")


class Recent(Generic[K, V]):
    """What was noted lately, each under a key.

    :param seconds: after which it is forgotten.
    """

    def __init__(self, clock: IReactorTime, seconds: float) -> None:
        self._clock = clock
        self._seconds = seconds
        self._known: dict[K, tuple[V, float]] = {}  # oldest first

    def put(self, key: K, value: V) -> None:
        """Notes something."""
        now = self._clock.seconds()
        self._known.pop(key, None)
        self._known[key] = value, now
        while self._known:
            oldest = next(iter(self._known))
            if self._known[oldest][1] > now - self._seconds and len(self._known) <= _REMEMBERED:
                break
            del self._known[oldest]

    def get(self, key: K) -> V | None:
        """What was noted."""
        found = self._known.get(key)
        return None if found is None else found[0]

    def values(self) -> list[V]:
        """All that is not too old."""
        since = self._clock.seconds() - self._seconds
        return [value for value, at in self._known.values() if at > since]
