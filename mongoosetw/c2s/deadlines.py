"""One timer for all streams that have the same time to get somewhere."""

from collections.abc import Callable, Hashable
from itertools import takewhile
from typing import Generic, TypeVar

from twisted.internet.interfaces import IDelayedCall, IReactorTime

T = TypeVar("T", bound=Hashable)


class Deadlines(Generic[T]):
    """Calls ``expired`` with each thing that has not been discarded ``seconds`` after it was added.

    As all have the same time, they expire in the order in which they were added: a timer for the
    oldest is enough, and adding and discarding cost next to nothing.

    :ivar seconds: may be changed; less than before shows when those that have more have left.
    """

    def __init__(
        self, clock: IReactorTime, seconds: float, expired: Callable[[T], object]
    ) -> None:
        self.seconds = seconds
        self._clock = clock
        self._expired = expired
        self._waiting: dict[T, float] = {}
        self._timer: IDelayedCall | None = None

    def add(self, thing: T) -> None:
        """Gives it its time."""
        self._waiting[thing] = self._clock.seconds() + self.seconds
        if self._timer is None:
            self._timer = self._clock.callLater(self.seconds, self._look)

    def discard(self, thing: T) -> None:
        """It got there in time; harmless if it is not there."""
        self._waiting.pop(thing, None)
        if not self._waiting and self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _look(self) -> None:
        self._timer = None
        now = self._clock.seconds()
        late = [*takewhile(lambda thing: self._waiting[thing] <= now, self._waiting)]
        for thing in late:
            del self._waiting[thing]
        if self._waiting:
            deadline = next(iter(self._waiting.values()))
            self._timer = self._clock.callLater(deadline - now, self._look)
        for thing in late:
            self._expired(thing)
