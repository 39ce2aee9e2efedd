"""The supervisor: one process that runs the nodes of a machine, and serves no clients itself.

It opens the ports, starts a worker for each node, starts again what ends, and is the one that
``twistd``, signals, ``mongoosectl`` and Prometheus see.
"""

import logging
import os
import signal
import sys
from collections.abc import Sequence
from typing import Any, Final

from twisted.application.service import Service
from twisted.internet.defer import Deferred, DeferredList
from twisted.internet.task import LoopingCall
from twisted.python.failure import Failure

from mongoosetw.cluster.asking import Unreachable, ask
from mongoosetw.cluster.config import node_names
from mongoosetw.cluster.discovery import FOLDER, control_socket
from mongoosetw.cluster.rolling import Rolling
from mongoosetw.cluster.sockets import PortTaken, Sockets, open_sockets, to_text
from mongoosetw.cluster.supervisor_control import supervisor_control
from mongoosetw.cluster.worker import Orders
from mongoosetw.cluster.worker_process import (
    FIRST_SOCKET,
    PATIENCE,
    State,
    Worker,
    new_incarnation,
)
from mongoosetw.config.errors import ConfigErrors
from mongoosetw.config.load import Config, load
from mongoosetw.control import CommandError, ControlService
from mongoosetw.loading import options_of
from mongoosetw.logs import set_level
from mongoosetw.node import announce, end_with, raise_file_limit, socket_path, watch_signals

_SECONDS: Final = 30.0
"""Seconds in which a worker has to answer."""
_LOOKS: Final = frozenset({"status", "cluster status", "cluster nodes", "own metrics"})
"""What an operator asks to see what is wrong: a worker that can answer does it at once."""
_SECONDS_FOR_A_LOOK: Final = 3.0

logger = logging.getLogger(__name__)


class SupervisorService(Service):
    """Runs the workers.

    :ivar workers: all of them, in their order.
    :ivar rolling: drains, ends and replaces them one after the other.
    """

    def __init__(self, reactor: Any, config: Config, path: str, logfile: str | None) -> None:
        self.config = config
        self.reactor = reactor
        self.started_at = reactor.seconds()
        self._path = path
        self._logfile = None if logfile is None else os.path.abspath(logfile)
        self._sockets = Sockets()
        self._incarnation = 0
        self._announced = False
        self._stopping = False
        self._covering: dict[int, int] = {}
        self._to_be_told: set[int] = set()
        self._watch = LoopingCall(self._check)
        self._watch.clock = reactor
        self._control: ControlService | None = None
        self.rolling = Rolling(self)
        names = node_names(config.cluster.name, config.workers)
        self.workers = [Worker(reactor, self, n, name) for n, name in enumerate(names, 1)]

    def startService(self) -> None:
        """Starts the workers when the reactor runs."""
        super().startService()
        self.reactor.callWhenRunning(self._start)

    def _start(self) -> None:
        try:
            self._prepare()
        except (PortTaken, OSError) as error:
            self._fail(error)
            return
        watch_signals(self.reactor, self._reload)
        for worker in self.workers:
            worker.start()
        self._watch.start(1.0, now=False).addErrback(_watch_failed)

    def _fail(self, error: Exception) -> None:
        print(f"mongoosetw cannot start: {error}", file=sys.__stderr__, flush=True)
        logger.error("start_failed %s", error)
        end_with(self.reactor, 1)

    def _prepare(self) -> None:
        """Makes what the workers share.

        :raises PortTaken: a port is.
        :raises OSError: a file cannot be written.
        """
        config = self.config
        data_dir = config.general.data_dir
        os.makedirs(os.path.join(data_dir, FOLDER), mode=0o700, exist_ok=True)
        raise_file_limit()
        self._sockets = open_sockets(config, len(self.workers))
        control = supervisor_control(self)
        self._control = ControlService(self.reactor, control, socket_path(config))
        self._control.startService()

    # -- the workers' Employer

    def orders(self, index: int) -> tuple[Orders, list[int]]:
        """What to tell a new process, and the sockets to pass."""
        self._incarnation = new_incarnation(self._incarnation)
        if self._announced and self._sockets.refusing:
            self._sockets.accept()
        if self._sockets.refusing:
            self._to_be_told.add(index)
        passed: list[int] = []
        numbered = {}
        for place, descriptors in self._sockets.descriptors().items():
            first = FIRST_SOCKET + len(passed)
            numbered[place] = list(range(first, first + len(descriptors)))
            passed += descriptors
        orders = Orders(
            path=self._path,
            index=index,
            workers=len(self.workers),
            incarnation=self._incarnation,
            sockets=to_text(numbered),
            listening=not self._sockets.refusing,
            logfile=self._logfile,
        )
        return orders, passed

    def changed(self, worker: Worker) -> None:
        """A worker's state is another."""
        if self._stopping:
            return
        running = [other for other in self.workers if other.available]
        if running and not self._announced and not any(w.starts for w in self.workers):
            self._open()
        if self._announced:
            self._let_in(running)
            self._cover(worker, {other.index for other in running})

    def _open(self) -> None:
        """Lets clients in, now that no worker starts any more.

        Before, they would wait for the slowest, and all that came meanwhile go to the quickest.
        """
        try:
            self._sockets.check()
        except PortTaken as error:
            self._fail(error)
            return
        self._sockets.accept()
        self._announced = True
        announce(self.config, self._path, self.config.general.hosts)

    def _let_in(self, running: Sequence[Worker]) -> None:
        """Has workers take clients that were started when there were none to take."""
        for index in self._to_be_told & {worker.index for worker in running}:
            self._to_be_told.discard(index)
            self._tell_to_cover(index, index, on=True)

    def _cover(self, changed: Worker, running: set[int]) -> None:
        """Has connections that the kernel gives to a worker that is not there taken by another."""
        if changed.state is State.STARTING:
            return
        for index, by in list(self._covering.items()):
            if index in running or by not in running:
                del self._covering[index]
                if by in running:
                    self._tell_to_cover(by, index, on=False)
        going = [w for w in self.workers if w.draining or w.state is State.STOPPED]
        if len(going) == len(self.workers) and not self._sockets.refusing:
            self._sockets.refuse()
        for worker in self.workers:
            if running and worker.index not in running and worker.index not in self._covering:
                by = min(running, key=lambda n: (n - worker.index) % len(self.workers))
                self._covering[worker.index] = by
                self._tell_to_cover(by, worker.index, on=True)

    def _tell_to_cover(self, by: int, index: int, *, on: bool) -> None:
        args = {"index": str(index), "on": on}
        told = Deferred.fromCoroutine(self.ask(self.workers[by - 1], "cover", args))
        told.addErrback(self._not_told, by, index)

    def _not_told(self, failure: Failure, by: int, index: int) -> None:
        failure.trap(Unreachable, CommandError)
        if by == index:
            self._to_be_told.add(index)  # until it is heard of again

    def hopeless(self, worker: Worker) -> None:
        """A worker ends whenever it is started: the operator has to look, loudly."""
        logger.critical("crash_loop worker=%s how=%s", worker.name, worker.last_end)
        if self.rolling.busy:
            return  # what others run was good: they stay, and the operator can go back to it
        print(
            f"mongoosetw gives up: the worker {worker.name} ends whenever it is started "
            f"({worker.last_end}); see the log",
            file=sys.__stderr__,
            flush=True,
        )
        end_with(self.reactor, 1)

    def _check(self) -> None:
        options = self.config.cluster
        for worker in self.workers:
            worker.check(options.peer_timeout / 2, options.worker_timeout)

    # -- what the operator wants

    async def ask(self, worker: Worker, command: str, args: dict[str, Any]) -> Any:
        """The answer of a worker to a command.

        :raises CommandError: it refused.
        :raises Unreachable: it does not answer.
        """
        if worker.state is not State.RUNNING:
            raise Unreachable(f"{worker.name} is {worker.state}")
        path = control_socket(self.config.general.data_dir, worker.index)
        patience = _SECONDS_FOR_A_LOOK if command in _LOOKS else _SECONDS
        return await ask(self.reactor, path, command, args, patience)

    def _reload(self) -> None:
        self.take_configuration()
        for worker in self.workers:
            if worker.state is not State.STARTING:  # it reads the file anyway
                worker.signal(signal.SIGHUP)

    def take_configuration(self) -> None:
        """Takes over what concerns the supervisor itself; the workers report errors."""
        try:
            config = load(self._path, options_of)
        except (ConfigErrors, OSError) as error:
            logger.error("reload_refused %s", error)
            return
        set_level(config.general.loglevel)

    def left_alone(self) -> None:
        """Ends the supervisor when all of its workers have left."""
        if all(worker.state is State.STOPPED for worker in self.workers):
            self.stop()

    def stop(self) -> None:
        """Ends everything, once the answer to who asked for it has left."""
        self.reactor.callLater(0.1, self.reactor.stop)

    def stopService(self) -> "Deferred[Any]":
        """Stops all workers; the reactor waits for them."""
        super().stopService()
        self._stopping = True
        if self._watch.running:
            self._watch.stop()
        ended: list[Deferred[None]] = []
        for worker in self.workers:
            done: Deferred[None] = Deferred()
            ended.append(done)
            worker.stop(lambda done=done: done.callback(None), PATIENCE)  # type: ignore[misc]
        return DeferredList(ended).addCallback(self._all_ended)

    def _all_ended(self, result: object) -> Any:
        self._sockets.close()
        return None if self._control is None else self._control.stopService()


def _watch_failed(failure: Any) -> None:
    logger.error("workers_watch_failed", exc_info=failure.value)
