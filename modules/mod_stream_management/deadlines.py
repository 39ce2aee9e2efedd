"""Ends of waiting times, to the second: one timer for all of them."""

from collections.abc import Callable
from math import ceil
from typing import Generic, TypeVar

from twisted.internet.interfaces import IReactorTime

from mongoosetw.module import Timer

T = TypeVar("T")


class Deadlines(Generic[T]):
    """Hands over each of many things when its time has come, at most a second later.

    :param later: calls a function after so many seconds.
    :param due: gets what is due.
    """

    def __init__(
        self,
        clock: IReactorTime,
        later: Callable[[float, Callable[[], None]], Timer],
        due: Callable[[T], None],
    ) -> None:
        self._clock = clock
        self._later = later
        self._due = due
        self._by_second: dict[int, set[T]] = {}
        self._timer: Timer | None = None
        self._next = 0

    def add(self, thing: T, at: float) -> None:
        """Hands ``thing`` over at a time of the clock."""
        second = ceil(at)
        self._by_second.setdefault(second, set()).add(thing)
        if self._timer is None or second < self._next:
            self._wait_until(second)

    def discard(self, thing: T, at: float) -> None:
        """Takes back what was added with this time; harmless when it was handed over."""
        second = ceil(at)
        things = self._by_second.get(second)
        if things is not None:
            things.discard(thing)
            if not things:
                del self._by_second[second]
        if not self._by_second:
            self.stop()

    def __len__(self) -> int:
        return sum(map(len, self._by_second.values()))

    def stop(self) -> None:
        """Ends the timer."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _wait_until(self, second: int) -> None:
        self.stop()
        self._next = second
        self._timer = self._later(max(0.0, second - self._clock.seconds()), self._look)

    def _look(self) -> None:
        self._timer = None
        now = self._clock.seconds()
        for second in sorted(second for second in self._by_second if second <= now):
            for thing in self._by_second.pop(second, ()):
                self._due(thing)
        if self._by_second:
            self._wait_until(min(self._by_second))
