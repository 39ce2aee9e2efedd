"""Workers that are drained, stopped and started anew while the others serve."""

import logging
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

from twisted.internet.defer import Deferred
from twisted.internet.task import deferLater
from twisted.python.failure import Failure

from mongoosetw.cluster.asking import Unreachable
from mongoosetw.cluster.worker_process import PATIENCE, State, Worker
from mongoosetw.control import CommandError

if TYPE_CHECKING:
    from mongoosetw.cluster.supervisor import SupervisorService

logger = logging.getLogger(__name__)
_GLANCE: Final = 0.25
"""Seconds between two looks at a worker that is waited for."""


class Halted(Exception):
    """A worker did not come back; those that have not been touched yet stay as they are."""


class Rolling:
    """What is done to workers one after the other.

    :ivar busy: workers are being drained, stopped or replaced.
    """

    def __init__(self, supervisor: "SupervisorService") -> None:
        self.busy = False
        self._supervisor = supervisor

    def begin(self, what: str, workers: Sequence[Worker]) -> None:
        """Drains, ends (``leave``) or replaces (``restart``) workers, and returns at once.

        :raises CommandError: that is being done to some already.
        """
        if self.busy:
            raise CommandError("workers are being drained or replaced already: see the status")
        self.busy = True
        logger.warning("rolling_begins what=%s workers=%s", what, [w.name for w in workers])
        done = Deferred.fromCoroutine(self._run(what, workers))
        done.addErrback(self._failed).addBoth(self._over, what)

    async def _run(self, what: str, workers: Sequence[Worker]) -> None:
        for worker in workers:
            if worker.state is State.RUNNING:
                await self._drain(worker)
            if what != "drain":
                await self._end(worker)
            if what == "restart":
                await self._start(worker)

    async def _drain(self, worker: Worker) -> None:
        worker.drain()
        deadline = self._now + self._supervisor.config.cluster.drain_timeout
        try:
            left = await self._supervisor.ask(worker, "cluster drain", {})
            while not left["done"] and self._now < deadline:
                await self._wait()
                left = await self._supervisor.ask(worker, "cluster drain", {})
        except (Unreachable, CommandError) as error:
            logger.warning("drain_failed worker=%s reason=%s", worker.name, error)

    async def _end(self, worker: Worker) -> None:
        ended: Deferred[None] = Deferred()
        worker.stop(lambda: ended.callback(None), PATIENCE)
        await ended

    async def _start(self, worker: Worker) -> None:
        if not self._supervisor.running:
            return  # all are stopped meanwhile
        worker.start()
        while worker.state is not State.RUNNING:
            if worker.state is State.STOPPED:
                raise Halted(f"{worker.name} ends whenever it is started ({worker.last_end})")
            await self._wait()

    @property
    def _now(self) -> float:
        now: float = self._supervisor.reactor.seconds()
        return now

    def _wait(self) -> "Deferred[Any]":
        return deferLater(self._supervisor.reactor, _GLANCE)

    def _failed(self, failure: Failure) -> None:
        logger.critical("rolling_failed reason=%s", failure.value)

    def _over(self, _: object, what: str) -> None:
        self.busy = False
        logger.warning("rolling_ends what=%s", what)
        self._supervisor.left_alone()
