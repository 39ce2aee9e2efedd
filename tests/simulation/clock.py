"""A clock for many calls: as Twisted's, but a heap instead of a list that is sorted each time."""

from collections.abc import Callable
from heapq import heappop, heappush
from typing import Any

from twisted.internet.error import AlreadyCalled, AlreadyCancelled
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from zope.interface import implementer


@implementer(IDelayedCall)
class Call:
    """A call to come; a new entry in the heap stands for each time it was moved to."""

    __slots__ = ("_clock", "at", "entry", "function", "over")

    def __init__(self, clock: "HeapClock", at: float, function: Callable[[], object]) -> None:
        self._clock = clock
        self.at = at
        self.function = function
        self.entry = 0
        self.over: type[Exception] | None = None

    def active(self) -> bool:
        """Whether it is to come."""
        return self.over is None

    def getTime(self) -> float:
        """When it is due."""
        return self.at

    def cancel(self) -> None:
        """It is not to come."""
        self._check()
        self.over = AlreadyCancelled

    def reset(self, seconds: float) -> None:
        """It is due so many seconds from now."""
        self._move(self._clock.seconds() + seconds)

    def delay(self, seconds: float) -> None:
        """It is due so much later."""
        self._move(self.at + seconds)

    def _move(self, at: float) -> None:
        self._check()
        self.at = at
        self._clock.push(self)

    def _check(self) -> None:
        if self.over is not None:
            raise self.over


@implementer(IReactorTime)
class HeapClock:
    """Calls are made in the order of their times, and of their making if these are the same."""

    def __init__(self) -> None:
        self._now = 0.0
        self._heap: list[tuple[float, int, Call]] = []
        self._entries = 0

    def seconds(self) -> float:
        """Seconds since the beginning."""
        return self._now

    def callLater(self, delay: float, callable: Callable[..., Any], *args: Any, **kw: Any) -> Any:
        """Calls a function after a delay in seconds."""
        call = Call(self, self._now + delay, lambda: callable(*args, **kw))
        self.push(call)
        return call

    def push(self, call: Call) -> None:
        """Puts a call in its place."""
        self._entries += 1
        call.entry = self._entries
        heappush(self._heap, (call.at, self._entries, call))

    def getDelayedCalls(self) -> list[Any]:
        """What is to come."""
        return [call for _, entry, call in self._heap if call.active() and call.entry == entry]

    def run_until(self, end: float) -> None:
        """Lets time pass."""
        heap = self._heap
        while heap and heap[0][0] <= end:
            at, entry, call = heappop(heap)
            if call.active() and call.entry == entry:
                self._now = max(self._now, at)
                call.over = AlreadyCalled
                call.function()
        self._now = end
