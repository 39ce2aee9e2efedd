"""A worker: one of several nodes of a machine, run by their supervisor.

``python -m mongoosetw.cluster.worker`` is for the supervisor alone. It says in the environment
variable :data:`VARIABLE` what the worker has to know, passes the listening sockets, and holds two
pipes: the worker ends when its standard input ends, and shows on another one that it lives.
"""

import json
import os
import sys
from dataclasses import asdict, dataclass
from typing import Any, Final

from twisted.application.service import MultiService
from twisted.internet.defer import Deferred
from twisted.internet.protocol import Protocol, connectionDone
from twisted.internet.stdio import StandardIO
from twisted.internet.task import LoopingCall
from twisted.logger import globalLogBeginner
from twisted.python.failure import Failure

from mongoosetw import logs
from mongoosetw.cluster.asking import Unreachable, ask
from mongoosetw.cluster.discovery import Seat, control_socket
from mongoosetw.cluster.scrape import label
from mongoosetw.cluster.sockets import Place, from_text
from mongoosetw.config.errors import ConfigErrors
from mongoosetw.config.load import Config, load
from mongoosetw.control import Args, Control, required
from mongoosetw.http.exposition import exposition
from mongoosetw.http.listener import HTTPListener
from mongoosetw.loading import options_of
from mongoosetw.node import NodeService, socket_path
from mongoosetw.server import Server

VARIABLE: Final = "MONGOOSETW_WORKER"
LIFE: Final = 3
"""File descriptor of the pipe on which a worker shows that it lives."""
BEAT: Final = 1.0
"""Seconds between two signs of life."""
READY: Final = b"R"
ALIVE: Final = b"."


@dataclass(frozen=True, slots=True)
class Orders:
    """What a supervisor tells its worker.

    :ivar path: of the configuration file.
    :ivar index: of the worker, from 1 on.
    :ivar sockets: descriptors by port, one for each worker.
    :ivar listening: clients are let in; otherwise the worker is told when (``cover``).
    :ivar logfile: where to log; None for standard error.
    """

    path: str
    index: int
    workers: int
    incarnation: int
    sockets: dict[str, list[int]]
    listening: bool
    logfile: str | None

    def to_text(self) -> str:
        """For the environment."""
        return json.dumps(asdict(self))


class Life(Protocol):
    """The pipes between a worker and its supervisor."""

    transport: Any

    def __init__(self, reactor: Any) -> None:
        self._reactor = reactor
        self._beating = LoopingCall(self._beat)
        self._beating.clock = reactor

    def ready(self) -> None:
        """The worker can serve clients; from now on it gives signs of life."""
        self.transport.write(READY)
        self._beating.start(BEAT, now=False).addErrback(lambda failure: None)

    def _beat(self) -> None:
        self.transport.write(ALIVE)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """The supervisor is gone: another one would start workers of the same names."""
        if self._beating.running:
            self._beating.stop()
        if self._reactor.running:
            self._reactor.stop()


class WorkerService(NodeService):
    """One of a machine's nodes."""

    def __init__(self, reactor: Any, config: Config, orders: Orders, life: Life) -> None:
        super().__init__(reactor, config, orders.path)
        self._orders = orders
        self._life = life
        self._sockets = from_text(orders.sockets)
        self._listeners: dict[Place, Any] = {}

    @property
    def seat(self) -> Seat:
        """Which of the machine's nodes this is."""
        return Seat(self._orders.index, self._orders.workers, self._orders.incarnation)

    @property
    def name(self) -> str:  # type: ignore[override]
        """The node's name."""
        return self.seat.name(self.config.cluster.name)

    def open_ports(self, server: Server) -> None:
        """Accepts connections on this worker's share of the supervisor's sockets.

        :raises CertificateUnusable: a certificate is.
        """
        listen = self.config.listen
        for c2s in listen.c2s:
            clients = server.listener(c2s)
            clients.prepare()
            self._listeners[c2s.ip_address, c2s.port] = clients
        for http in listen.http:
            listener = HTTPListener(http, self._metrics)
            self._listeners[http.ip_address, http.port] = listener
            self._ports.append(listener)
        if self._orders.listening:
            self.cover(self._orders.index, on=True)

    def cover(self, index: int, *, on: bool) -> None:
        """Accepts, or no longer, the connections that the kernel gives to a worker."""
        for place, listener in self._listeners.items():
            if place in self._sockets:
                descriptor = self._sockets[place][index - 1]
                if on:
                    listener.listen_on(self._reactor, descriptor)
                else:
                    listener.leave(descriptor)

    def _metrics(self) -> "Deferred[bytes]":
        """The metrics of all workers, as their supervisor has them."""
        return Deferred.fromCoroutine(self._scrape())

    async def _scrape(self) -> bytes:
        try:
            found = await ask(self._reactor, socket_path(self.config), "metrics", {}, 10.0)
        except Unreachable:
            return label(exposition().decode(), self.name).encode()
        return str(found).encode()

    def add_commands(self, control: Control, server: Server) -> None:
        """What only a supervisor asks."""

        @control.command("cover")
        def cover(args: Args) -> bool:
            self.cover(int(required(args, "index")), on=bool(args.get("on")))
            return True

        @control.command("own metrics")
        def metrics(args: Args) -> str:
            return exposition().decode()

    def control_path(self) -> str:
        """Where the supervisor asks this worker."""
        path = control_socket(self.config.general.data_dir, self._orders.index)
        os.makedirs(os.path.dirname(path), mode=0o700, exist_ok=True)
        return path

    def announce(self) -> None:
        """Tells the supervisor that this node runs."""
        self._life.ready()


def main() -> None:
    """Runs a worker until it is told to end."""
    from twisted.internet import reactor

    loop: Any = reactor
    orders = Orders(**json.loads(os.environ.pop(VARIABLE)))
    try:
        config = load(orders.path, options_of)
    except (ConfigErrors, OSError) as error:
        print(error, file=sys.stderr)
        raise SystemExit(1) from None
    life = Life(loop)
    service = WorkerService(loop, config, orders, life)
    observer = logs.configure(
        config.general.loglevel,
        json_lines=config.general.log_format == "json",
        logfile=orders.logfile,
        node=service.name,
    )
    globalLogBeginner.beginLoggingTo([observer], redirectStandardIO=False)
    pipes: Any = StandardIO
    pipes(life, stdin=0, stdout=LIFE, reactor=loop)
    top = MultiService()
    service.setServiceParent(top)
    loop.addSystemEventTrigger("before", "shutdown", top.stopService)
    top.startService()
    loop.run()


if __name__ == "__main__":
    main()
