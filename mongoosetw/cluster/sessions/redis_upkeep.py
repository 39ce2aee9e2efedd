"""Keeps in order what a node has in Redis, whatever happens to the connection."""

import logging
from collections.abc import Callable, Coroutine
from typing import Any, Final

from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from mongoosetw.cluster.sessions.redis_store import ALIVE, Entry, Store
from mongoosetw.cluster.sessions.redis_watching import Watching
from mongoosetw.hooks.bus import begin
from mongoosetw.storage.redis import RedisUnavailable
from mongoosetw.timers import Timers

logger = logging.getLogger(__name__)
AGAIN: Final = 5.0
"""Seconds until what Redis has refused is tried again."""


class Tasks(Timers):
    """What a node does later or beside, until it stops."""

    def run(self, coroutine: Coroutine[Any, Any, None]) -> None:
        """Runs what asks Redis; nobody waits for it."""
        outcome = begin(_patiently(coroutine))
        if isinstance(outcome, Deferred):
            outcome.addErrback(_log_failed)


class Upkeep:
    """Registers everything anew with each connection, and shows that the node lives.

    :param left: told of what Redis has of this node, by this process or an earlier one.
    :param announce: has the other nodes told in which Redis process all is registered.
    :param heard: the sids of sessions whose end everybody has heard of.
    :ivar registered: that process, empty if there is none.
    """

    def __init__(
        self,
        store: Store,
        tasks: Tasks,
        watching: Watching,
        left: Callable[[Entry], None],
        announce: Callable[[], None],
        heard: Callable[[], list[int]],
    ) -> None:
        self._store = store
        self._tasks = tasks
        self._watching = watching
        self._left = left
        self._announce = announce
        self._heard = heard
        self._waits = False
        self.registered = ""
        store.redis.watch(self._connected, lambda: None)
        self._beat()

    def _connected(self) -> None:
        self._tasks.run(self._register(self._store.redis.server))

    async def _register(self, server: str) -> None:
        """All is written down anew: whether this Redis has it nobody knows."""
        await self._store.beat()
        complete = await self._watching.register()
        for entry in await self._store.of_node(self._store.node.name):
            self._left(entry)
        if self._store.redis.server != server:
            return
        if complete:
            self.registered = server
            self._announce()
            logger.info("sessions_registered users=%d", len(self._watching))
        else:
            self._try_again()

    def withdraw(self) -> None:
        """Something could not be registered: the other nodes have to tell all they do."""
        if self.registered:
            self.registered = ""
            self._announce()
        if self._store.redis.server:
            self._try_again()

    def _try_again(self) -> None:
        if not self._waits:
            self._waits = True
            self._tasks.later(AGAIN, self._again)

    def _again(self) -> None:
        self._waits = False
        if self._store.redis.server:
            self._connected()

    def _beat(self) -> None:
        self._tasks.later(ALIVE / 4, self._beat)
        if self._store.redis.server:
            self._tasks.run(self._show_life())

    async def _show_life(self) -> None:
        await self._store.beat(self._heard())


async def _patiently(coroutine: Coroutine[Any, Any, None]) -> None:
    """Runs what asks Redis: when it comes back, all is done anew."""
    try:
        await coroutine
    except RedisUnavailable as error:
        logger.info("sessions_without_redis reason=%s", error)


def _log_failed(failure: Failure) -> None:
    logger.error("sessions_failed", exc_info=failure.value)
