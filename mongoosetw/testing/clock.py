"""The time of a test, and of one process among several that share it: it can stop, and end."""

from collections.abc import Callable
from typing import Any, cast

from twisted.internet.error import AlreadyCalled, AlreadyCancelled
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from zope.interface import implementer


def run_for(clock: Any, seconds: float) -> None:
    """Lets time pass on a test's clock; everything happens at the time when it is due."""
    end = clock.seconds() + seconds
    while calls := clock.getDelayedCalls():
        due = min(call.getTime() for call in calls)
        if due > end:
            break
        clock.advance(max(0.0, due - clock.seconds()))
    clock.advance(max(0.0, end - clock.seconds()))


@implementer(IReactorTime)
class NodeClock:
    """Runs the calls of one process, in the order in which they are due.

    While it is frozen, nothing is run; what was due meanwhile is run when it thaws, in order.
    A process that is killed runs nothing any more.

    :param clock: on which time passes for all.
    """

    def __init__(self, clock: Any) -> None:
        self._clock = clock
        self._calls: dict[NodeCall, None] = {}
        self._late: dict[NodeCall, None] = {}
        self.frozen = False
        self.killed = False

    def seconds(self) -> float:
        """The time that all processes share."""
        return float(self._clock.seconds())

    def callLater(self, delay: float, callable: Callable[..., Any], *args: Any, **kw: Any) -> Any:
        """Calls a function after a delay in seconds."""
        call = NodeCall(self, lambda: callable(*args, **kw))
        call.inner = self._clock.callLater(delay, self._due, call)
        if self.killed:
            call.inner.cancel()
        else:
            self._calls[call] = None
        return call

    def getDelayedCalls(self) -> list[IDelayedCall]:
        """What is yet to be called."""
        return [cast(IDelayedCall, call) for call in self._calls]

    def freeze(self) -> None:
        """The process is suspended."""
        self.frozen = True

    def thaw(self) -> None:
        """It goes on."""
        self.frozen = False
        late, self._late = self._late, {}
        for call in late:
            call.inner = self._clock.callLater(0, self._due, call)

    def kill(self) -> None:
        """It is no more."""
        self.killed = True
        for call in list(self._calls):
            call.cancel()

    def _due(self, call: "NodeCall") -> None:
        if self.frozen:
            self._late[call] = None
            return
        del self._calls[call]
        call.done = AlreadyCalled
        call.function()

    def _drop(self, call: "NodeCall") -> None:
        del self._calls[call]
        if call not in self._late:
            call.inner.cancel()
        self._late.pop(call, None)


@implementer(IDelayedCall)
class NodeCall:
    """A call that a process has asked for.

    :ivar done: what whoever cancels it is told; None while it is to be called.
    """

    __slots__ = ("_clock", "done", "function", "inner")
    inner: Any

    def __init__(self, clock: NodeClock, function: Callable[[], object]) -> None:
        self._clock = clock
        self.function = function
        self.done: type[AlreadyCalled] | type[AlreadyCancelled] | None = None

    def active(self) -> bool:
        """Whether it is to be called."""
        return self.done is None

    def getTime(self) -> float:
        """When it is, or was, due."""
        return float(self.inner.getTime())

    def cancel(self) -> None:
        """Has it not called.

        :raises AlreadyCalled: it was.
        :raises AlreadyCancelled: it is not anyway.
        """
        self._check()
        self.done = AlreadyCancelled
        self._clock._drop(self)

    def reset(self, seconds: float) -> None:
        """Has it called so many seconds from now."""
        self._check()
        self.inner.reset(seconds)

    def delay(self, seconds: float) -> None:
        """Has it called so much later."""
        self._check()
        self.inner.delay(seconds)

    def _check(self) -> None:
        if self.done is not None:
            raise self.done
