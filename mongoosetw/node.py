"""One node as a service: database, place in the cluster, server and ports, and back."""

import logging
import os
import resource
import signal
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any

from twisted.application.service import Service
from twisted.internet import defer
from twisted.internet.error import ReactorNotRunning

from mongoosetw import collector
from mongoosetw.c2s.listener import CertificateUnusable
from mongoosetw.cluster.discovery import Seat
from mongoosetw.cluster.membership import Membership
from mongoosetw.config.load import Config, load
from mongoosetw.control import Control, ControlService
from mongoosetw.control_commands import server_control
from mongoosetw.http.listener import http_service
from mongoosetw.loading import LoadError, options_of
from mongoosetw.server import Server
from mongoosetw.server_metrics import show
from mongoosetw.storage.database import Database, DatabaseUnavailable
from mongoosetw.storage.discovery import NumberRefused
from mongoosetw.storage.migrate import SchemaRefused

logger = logging.getLogger(__name__)
_EXPECTED = (
    SchemaRefused,
    CertificateUnusable,
    DatabaseUnavailable,
    LoadError,
    NumberRefused,
    OSError,
)
"""What can keep a node from starting; the text is for the operator."""


class NodeService(Service):
    """Runs the only node of a machine.

    A machine's node among others is a :class:`mongoosetw.cluster.worker.WorkerService`.
    """

    def __init__(self, reactor: Any, config: Config, path: str) -> None:
        """
        :param path: of the configuration file, for reloads.
        """
        self.config = config
        self.path = path
        self._reactor = reactor
        self._server: Server | None = None
        self._ports: list[Any] = []
        self._hide: Callable[[], None] = lambda: None
        self._control: ControlService | None = None
        self._running = False

    @property
    def seat(self) -> Seat:
        """Which of the machine's nodes this is."""
        return Seat(1, 1, time.time_ns() // 1000)

    def startService(self) -> None:
        """Starts the node when the reactor runs."""
        super().startService()
        self._reactor.callWhenRunning(self._run)

    def _run(self) -> None:
        watch_signals(self._reactor, self._reload)
        started = defer.Deferred.fromCoroutine(self._start())
        started.addErrback(self._failed)

    async def _start(self) -> None:
        config, reactor = self.config, self._reactor
        os.makedirs(config.general.data_dir, mode=0o700, exist_ok=True)
        raise_file_limit()
        db = Database.open(config.rdbms, config.general.data_dir, reactor, config.workers)
        membership = Membership(reactor, config, self.seat, self._number_lost)
        await membership.join(db)
        server = Server(
            config, db, reactor, load=lambda: load(self.path, options_of), membership=membership
        )
        server.when_stopped = reactor.stop
        self._server = server
        await server.start()
        if server.cluster is not None:
            await server.cluster.directory.ready()
        self.open_ports(server)
        self._hide = show(server)
        control = server_control(server, reactor.callLater)
        self.add_commands(control, server)
        self._control = ControlService(reactor, control, self.control_path())
        self._control.startService()
        collector.settle()
        self._running = True
        self.announce()

    def open_ports(self, server: Server) -> None:
        """Opens the ports of the configuration.

        :raises twisted.internet.error.CannotListenError: one is taken.
        """
        server.listen(self._reactor)
        for options in self.config.listen.http:
            self.add_port(http_service(self._reactor, options))

    def add_port(self, service: Any) -> None:
        """Starts a service that listens, to be stopped with the node."""
        service.startService()
        self._ports.append(service)

    def add_commands(self, control: Control, server: Server) -> None:
        """Adds commands that only this kind of node has."""

    def control_path(self) -> str:
        """Where the control socket is."""
        return socket_path(self.config)

    def announce(self) -> None:
        """Says that the node runs."""
        assert self._server is not None
        announce(self.config, self.path, list(self._server.hosts))

    def _reload(self) -> None:
        if self._server is None or not self._running:
            return  # it has read the configuration just now, or needs it no longer
        reloaded = defer.Deferred.fromCoroutine(self._server.reload())
        reloaded.addErrback(lambda failure: logger.error("reload_refused %s", failure.value))

    def _failed(self, failure: Any) -> None:
        if failure.check(*_EXPECTED) or "CannotListen" in str(failure.type):
            print(f"mongoosetw cannot start: {failure.value}", file=sys.__stderr__, flush=True)
        else:
            failure.printTraceback(file=sys.__stderr__)
        logger.error("start_failed %s", failure.value)
        end_with(self._reactor, 1)

    def _number_lost(self, reason: str) -> None:
        """Ids that this node made from now on could be another's: it has to end."""
        logger.critical("node_number_lost reason=%s", reason)
        end_with(self._reactor, 1)

    def stopService(self) -> "defer.Deferred[Any]":
        """Stops the node; the reactor waits for it."""
        super().stopService()
        return defer.Deferred.fromCoroutine(self._stop())

    async def _stop(self) -> None:
        self._running = False
        if self._control is not None:
            self._control.stopService()
        self._hide()
        for service in self._ports:
            await service.stopService()
        if self._server is not None:
            await self._server.shut_down()


def socket_path(config: Config) -> str:
    """Where the control socket of a machine is."""
    general = config.general
    return general.control_socket or os.path.join(general.data_dir, "mongoosectl.sock")


def announce(config: Config, path: str, domains: Sequence[str]) -> None:
    """Says on standard output what runs and what to do next.

    :param domains: that are served.
    """
    ports = ", ".join(f"{o.ip_address}:{o.port}" for o in config.listen.c2s)
    ctl = f"mongoosectl --config {path}"
    if domains:
        further = f"add a user: {ctl} account register alice@{domains[0]}"
    else:
        further = f"add a domain: {ctl} domain add DOMAIN {config.general.host_types[0]}"
    print(
        f"mongoosetw serves {', '.join(domains[:10]) or 'no domain'}"
        f"{' …' if domains[10:] else ''}; clients connect to {ports}\n"
        f"data: {config.general.data_dir}\n"
        f"{further}",
        file=sys.__stdout__,
        flush=True,
    )


def watch_signals(reactor: Any, reload: Callable[[], None]) -> None:
    """Has SIGHUP read the configuration again, SIGTERM and SIGINT end the process in good order.

    Twisted would stop for these two as well, but then end the process by the same signal again;
    so its exit status is 0 when it was told to stop and did.
    """

    def stop() -> None:
        with suppress(ReactorNotRunning):  # it is stopping already
            reactor.stop()

    for number, call in (
        (signal.SIGHUP, reload),
        (signal.SIGTERM, stop),
        (signal.SIGINT, stop),
    ):
        signal.signal(number, lambda *_, call=call: reactor.callFromThread(call))


def end_with(reactor: Any, status: int) -> None:
    """Ends the process with an exit status, after everything was stopped."""
    reactor.addSystemEventTrigger("after", "shutdown", os._exit, status)
    reactor.stop()


def raise_file_limit() -> None:
    """One connection is one descriptor: take all that the system grants."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
