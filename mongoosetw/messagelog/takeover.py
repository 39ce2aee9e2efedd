"""Messages that a lost node had on their way are taken over by one of those that live.

All that waits for the end of that finds what is older by reading: the lost node's own messages, and
those of others that were on their way to its clients, or followed one there.
"""

import logging
from collections.abc import Callable, Collection, Coroutine, Iterable
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final

from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from mongoosetw.cluster.mesh import Node, is_first
from mongoosetw.messagelog.writing import no_answer
from mongoosetw.storage.work import DatabaseUnavailable
from mongoosetw.timers import Timers

if TYPE_CHECKING:  # types only
    from mongoosetw.messagelog.log import MessageLog
    from mongoosetw.server import Server

logger = logging.getLogger(__name__)
_LOOK_AFTER: Final = "log-look-after"
_GRACE: Final = 1.0
"""Seconds that a lost node has to come back before its messages are taken over."""
_PATIENCE: Final = 3.0
"""Seconds that others have to write what was on its way to a lost node."""
_ROUND: Final = 15.0
"""Seconds: who has logged nothing for so long has nothing on its way any more, or is dead."""


class TakeOver:
    """This node's part in that.

    :param look_after: has what is on its way to nobody wait, on this node.
    :param tell_lost: tells the other nodes the numbers of those that are lost.
    :param tell_of: tells for which owners a lost node has left something.
    :param done: tells that all of a node was taken over.
    """

    def __init__(
        self,
        log: "MessageLog",
        server: "Server",
        timers: Timers,
        look_after: Callable[[], None],
        tell_lost: Callable[[Iterable[int]], None],
        tell_of: Callable[[Collection[int]], None],
        done: Callable[[int], None],
    ) -> None:
        self._log = log
        self._server = server
        self._mesh = server.mesh
        self._timers = timers
        self._look_after = look_after
        self._tell_lost = tell_lost
        self._tell_of = tell_of
        self._done = done
        self._lost: set[int] = set()
        self._reaches: dict[int, int] = {}

    def start(self) -> None:
        """The log is open."""
        self._timers.later(_ROUND, self._look_round)
        if self._server.cluster is not None:
            self._server.cluster.calls.serve(_LOOK_AFTER, self._asked)

    def lost(self, number: int) -> None:
        """A node is lost."""
        self._lost.add(number)
        self._timers.later(_GRACE, self._begin)

    def is_back(self, number: int) -> None:
        """It is linked again, or somebody has taken over from it."""
        self._lost.discard(number)

    def lost_by_others(self, numbers: Iterable[int]) -> None:
        """Others have lost nodes, of which this one may not know."""
        linked = self._linked()
        self._lost.update(number for number in numbers if number not in linked)
        if is_first(self._mesh):
            self._begin()

    def _linked(self) -> set[int]:
        return {self._mesh.local.number, *(n.number for n in self._mesh.peers.values())}

    def _begin(self) -> None:
        if is_first(self._mesh):
            for number in list(self._lost):
                self._run(self._recover(number))
        elif self._lost:
            # The first may have been cut off from them, and have taken over what was there then
            self._tell_lost(self._lost)

    def _look_round(self) -> None:
        """Nodes that have ended with all others, and are not started again, have left messages.

        So have those that were cut off, and have gone on before they ended.
        """
        self._timers.later(_ROUND, self._look_round)
        if is_first(self._mesh):
            self._run(self._adopt())

    async def _adopt(self) -> None:
        try:
            reaches = await self._log.left_behind(self._linked())
        except DatabaseUnavailable:
            return
        before, self._reaches = self._reaches, reaches
        for number, reach in reaches.items():
            if reach == before.get(number):  # else it lives, and sees to its messages itself
                await self._recover(number)

    async def _recover(self, number: int) -> None:
        try:
            await self._log.recover(number)
            owners = await self._log.owners_waiting(number)
        except DatabaseUnavailable:
            self._timers.later(_GRACE, self._begin)
            return
        self._tell_of(owners)
        with suppress(DatabaseUnavailable):  # it is being closed
            await self._all_looked_after()
        self._done(number)
        logger.info("messages_taken_over number=%d", number)

    async def _all_looked_after(self) -> None:
        """Waits until whoever is to take what waits knows that, and what was on its way has rows.

        A node that does not answer is waited for no longer than those do who catch up.
        """
        cluster = self._server.cluster
        if cluster is None:
            return
        asked = [
            cluster.calls.call(node, _LOOK_AFTER, b"", _PATIENCE).addErrback(no_answer)
            for node in self._mesh.peers
        ]
        self._look_after()
        for answer in asked:
            await answer
        await self._log.barrier()

    async def _asked(self, node: Node, payload: bytes) -> bytes:
        self._look_after()
        await self._log.barrier()
        return b""

    def _run(self, coroutine: Coroutine[Any, Any, None]) -> None:
        Deferred.fromCoroutine(coroutine).addErrback(_log_failure)


def _log_failure(failure: Failure) -> None:
    logger.error("message_log_take_over_failed", exc_info=failure.value)
