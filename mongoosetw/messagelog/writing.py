"""What other nodes are just writing, and may have lost."""

from collections import Counter
from collections.abc import Iterable
from typing import Any, Final

from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from mongoosetw.cluster.sessions.calls import CallFailed
from mongoosetw.timers import Timers

_DOUBT: Final = 5.0
"""Seconds after a loss, after which nobody waits for that any more."""


class BeingWritten:
    """For whom other nodes are writing something that comes before what is newer."""

    def __init__(self, timers: Timers) -> None:
        self._timers = timers
        self._writers: Counter[int] = Counter()  # by owner
        self._doubtful: dict[int, object] = {}  # each loss of a node is another one
        self._broken: dict[int, set[int]] = {}
        self._waiting: list[Deferred[None]] = []

    def expect(self, owners: Iterable[int], written: "Deferred[bytes]") -> None:
        """A node is writing something for some owners.

        :param written: fires when it has, or fails with CallFailed.
        """
        owners = list(owners)
        self._writers.update(owners)

        def lost(failure: Failure) -> None:
            failure.trap(CallFailed)
            self._timers.later(0, self._written, owners)  # that the node is lost is known by then

        written.addCallbacks(lambda _: self._written(owners), lost)

    def _written(self, owners: list[int]) -> None:
        self._writers.subtract(owners)
        self._writers = +self._writers
        self._go_on()

    def expect_from(self, number: int, owner: int, written: "Deferred[bytes]") -> None:
        """Likewise; and what comes from that node for the owner by its link is newer.

        :param number: the node's.
        """

        def broken(failure: Failure) -> Failure:
            self._broken.setdefault(owner, set()).add(number)
            return failure

        self.expect((owner,), written.addErrback(broken))

    def doubt(self, number: int) -> None:
        """A node is lost, and what it had on its way has no rows yet."""
        loss = self._doubtful[number] = object()
        self._timers.later(_DOUBT, self._doubt_no_longer, number, loss)

    def _doubt_no_longer(self, number: int, loss: object) -> None:
        """Nobody waits any more for what was lost then; but maybe the node was lost once more."""
        if self._doubtful.get(number) is loss:
            self.believe(number)

    def believe(self, number: int) -> None:
        """It has, or nobody waits for that any more."""
        self._doubtful.pop(number, None)
        if not self._doubtful:
            self._go_on()
            self._broken.clear()

    def _go_on(self) -> None:
        """Whoever waits looks whether there is still a reason to."""
        ready, self._waiting = self._waiting, []
        for waiting in ready:
            waiting.callback(None)

    def wait_for_lost(self) -> Deferred[None] | None:
        """Fires when lost nodes have left nothing that is not written; None if there are none."""
        return Deferred.fromCoroutine(self._no_doubts()) if self._doubtful else None

    async def _no_doubts(self) -> None:
        while self._doubtful:
            await self._next_change()

    def _next_change(self) -> Deferred[None]:
        waiting: Deferred[None] = Deferred()
        self._waiting.append(waiting)
        return waiting

    async def wait(self, owner: int) -> None:
        """Waits until nobody is writing for an owner."""
        while self._doubtful or owner in self._writers:
            await self._next_change()

    def broken(self, owner: int) -> set[int]:
        """The nodes that were lost before they had written what is older than what came from them.

        If that is lost, so is the sender's acknowledgement: it is sent again, and all behind it.
        """
        return self._broken.pop(owner, set())


def unless_gone(failure: Failure) -> bytes:
    """A node that is gone has no answer: its messages are taken over."""
    failure.trap(CallFailed)
    error: Any = failure.value
    if error.reason not in ("link-lost", "no-link"):
        raise error
    return b""


def no_answer(failure: Failure) -> bytes:
    """Nobody waits for a node that does not answer."""
    failure.trap(CallFailed)
    return b""
