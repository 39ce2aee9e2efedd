"""What is to be done later, as long as somebody is there to do it."""

from collections.abc import Callable
from typing import Any

from twisted.internet.interfaces import IDelayedCall, IReactorTime


class Timers:
    """Calls that are due later, and all of which end with whoever has them.

    :ivar stopped: there will be no more.
    """

    def __init__(self, clock: IReactorTime) -> None:
        self._clock = clock
        self._delayed: set[IDelayedCall] = set()
        self.stopped = False

    def later(self, seconds: float, function: Callable[..., None], *args: Any) -> None:
        """Calls a function after so many seconds, unless the timers are stopped before."""

        def run() -> None:
            self._delayed.discard(call)
            function(*args)

        if not self.stopped:
            call = self._clock.callLater(seconds, run)
            self._delayed.add(call)

    def stop(self) -> None:
        """Nothing of it will be called."""
        self.stopped = True
        for call in self._delayed:
            call.cancel()
        self._delayed.clear()
