"""A worker process, as its supervisor sees it: started, watched, and started again."""

import logging
import os
import signal
import sys
import time
from collections.abc import Callable
from enum import StrEnum
from typing import Any, Final, Protocol

from twisted.internet.interfaces import IDelayedCall
from twisted.internet.protocol import ProcessProtocol
from twisted.python.failure import Failure

from mongoosetw.cluster.worker import LIFE, READY, VARIABLE, Orders

FIRST_SOCKET: Final = 10
"""Descriptor of the first listening socket in the worker."""
FIRST_DELAY: Final = 0.5
LONGEST_DELAY: Final = 30.0
"""Seconds before a worker is started again; each time twice as long."""
PROVEN: Final = 60.0
"""Seconds after which a start counts as a success."""
PATIENCE: Final = 30.0
"""Seconds that a worker has to stop."""
FAILURES: Final = 6
"""Starts in a row that may fail, until there is no point in going on."""

logger = logging.getLogger(__name__)


class State(StrEnum):
    """What a worker is doing."""

    STARTING = "starting"
    RUNNING = "running"
    FROZEN = "frozen"
    WAITING = "waiting"
    """To be started again."""
    STOPPED = "stopped"


class Employer(Protocol):
    """The supervisor, as a worker sees it."""

    def orders(self, index: int) -> tuple[Orders, list[int]]:
        """What to tell a new process, and the sockets to pass, in the order of its orders."""

    def changed(self, worker: "Worker") -> None:
        """The worker's state is another."""

    def hopeless(self, worker: "Worker") -> None:
        """The worker ends whenever it is started."""


class Worker(ProcessProtocol):
    """One worker, whichever process it is at the moment.

    :ivar index: from 1 on.
    :ivar name: of the node.
    :ivar draining: it takes no more clients.
    :ivar restarts: how often it was started again.
    :ivar last_end: how the last process ended; empty if none has.
    :ivar heard: when the process last showed that it lives, by the reactor's clock.
    """

    def __init__(self, reactor: Any, employer: Employer, index: int, name: str) -> None:
        self.index = index
        self.name = name
        self.state = State.STOPPED
        self.draining = False
        self.restarts = 0
        self.last_end = ""
        self.heard = 0.0
        self.started_at = 0.0
        self._reactor = reactor
        self._employer = employer
        self._failures = 0
        self._timer: IDelayedCall | None = None
        self._ending = False
        self._when_ended: list[Callable[[], None]] = []
        self._tails = {1: b"", 2: b""}

    @property
    def pid(self) -> int | None:
        """The process; None while there is none."""
        return None if self.transport is None else self.transport.pid

    transport: Any = None

    def start(self) -> None:
        """Starts a process."""
        self._timer = None
        self._ending = self.draining = False
        orders, sockets = self._employer.orders(self.index)
        own = orders.logfile is not None  # what is no log line would go nowhere
        descriptors: dict[int, Any] = {0: "w", 1: "r" if own else 1, 2: "r" if own else 2}
        descriptors |= {LIFE: "r"} | {FIRST_SOCKET + n: s for n, s in enumerate(sockets)}
        self.heard = self.started_at = self._reactor.seconds()
        self._set(State.STARTING)
        self._reactor.spawnProcess(
            self,
            sys.executable,
            [sys.executable, "-m", "mongoosetw.cluster.worker", self.name],
            env={**os.environ, VARIABLE: orders.to_text()},
            childFDs=descriptors,
        )
        logger.info("worker_started worker=%s pid=%d", self.name, self.transport.pid)

    @property
    def available(self) -> bool:
        """Whether clients can come to it."""
        return self.state is State.RUNNING and not self.draining

    @property
    def starts(self) -> bool:
        """Whether it will run soon, for all that is known."""
        return self.state in (State.STARTING, State.WAITING)

    def drain(self) -> None:
        """The process is told to take no more clients: others have to."""
        self.draining = True
        self._employer.changed(self)

    def _set(self, state: State) -> None:
        if state is not self.state:
            self.state = state
            self._employer.changed(self)

    def childDataReceived(self, childFD: int, data: bytes) -> None:
        """A sign of life, or output that is no log line."""
        if childFD == LIFE:
            self.heard = self._reactor.seconds()
            if READY in data:
                logger.info("worker_ready worker=%s", self.name)
            self._set(State.RUNNING)
            return
        *lines, tail = (self._tails[childFD] + data).split(b"\n")
        self._tails[childFD] = tail[-10_000:]
        for line in lines:
            text = line.decode("utf-8", "replace")
            logger.warning("worker_output worker=%s line=%s", self.name, text)

    def check(self, timeout: float, kill_after: float) -> None:
        """Looks whether the process still shows that it lives.

        :param timeout: seconds of silence after which it counts as frozen.
        :param kill_after: seconds of silence after which it is killed.
        """
        silent = self._reactor.seconds() - self.heard
        if self.state is State.RUNNING and silent > timeout:
            logger.error("worker_frozen worker=%s seconds=%.1f", self.name, silent)
            self._set(State.FROZEN)
        elif self.state is State.FROZEN and silent > kill_after:
            logger.error("worker_killed worker=%s seconds=%.1f", self.name, silent)
            self.signal(signal.SIGKILL)

    def signal(self, number: signal.Signals) -> None:
        """Sends a signal to the process, if there is one."""
        if self.pid is not None:
            os.kill(self.pid, number)

    def processEnded(self, reason: Failure) -> None:
        """The process is gone."""
        self.transport = None
        self.last_end = _how(reason)
        if self._ending:
            self._stopped()
            return
        lived = self._reactor.seconds() - self.started_at
        self._failures = 0 if lived >= PROVEN else self._failures + 1
        logger.error(
            "worker_ended worker=%s how=%s after=%.1f failures=%d",
            self.name, self.last_end, lived, self._failures,
        )  # fmt: skip
        if self._failures >= FAILURES:
            self._set(State.STOPPED)
            self._employer.hopeless(self)
            return
        delay = min(FIRST_DELAY * 2 ** max(0, self._failures - 1), LONGEST_DELAY)
        self.restarts += 1
        self._timer = self._reactor.callLater(delay, self.start)
        self._set(State.WAITING)

    def stop(self, ended: Callable[[], None], patience: float) -> None:
        """Ends the process for good, by force if it takes longer than ``patience`` seconds."""
        self._ending = True
        self._when_ended.append(ended)
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self.transport is None:
            self._stopped()
            return
        self.signal(signal.SIGCONT)
        self.signal(signal.SIGTERM)
        self._timer = self._reactor.callLater(patience, self._kill)

    def _kill(self) -> None:
        self._timer = None
        logger.error("worker_killed worker=%s reason=it does not stop", self.name)
        self.signal(signal.SIGKILL)

    def _stopped(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._set(State.STOPPED)
        waiting, self._when_ended = self._when_ended, []
        for ended in waiting:
            ended()

    def describe(self) -> dict[str, Any]:
        """For ``mongoosectl status``."""
        running = self.state in (State.RUNNING, State.FROZEN)
        age = round(self._reactor.seconds() - self.started_at) if running else None
        return {
            "node": self.name,
            "state": "draining" if self.draining and self.transport else str(self.state),
            "pid": self.pid,
            "uptime": age,
            "restarts": self.restarts,
            "last_end": self.last_end,
        }


def _how(reason: Failure) -> str:
    ended: Any = reason.value
    if ended.signal is not None:
        return f"signal {ended.signal}"
    return f"exit status {ended.exitCode}"


def new_incarnation(previous: int) -> int:
    """A number that is greater than the one of the process before, whatever the clock says."""
    return max(previous + 1, time.time_ns() // 1000)
