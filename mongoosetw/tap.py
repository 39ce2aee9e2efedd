"""``twistd mongoose``: builds the service from the command line (Twisted's ``tap``)."""

import logging
import os
import resource
import signal
import sys
from collections.abc import Callable
from typing import Any

from twisted.application.service import MultiService, Service
from twisted.internet import defer
from twisted.python import usage

from mongoosetw import logs
from mongoosetw.c2s.listener import CertificateUnusable
from mongoosetw.config.errors import ConfigErrors
from mongoosetw.config.load import Config, load
from mongoosetw.control import ControlService
from mongoosetw.control_commands import server_control
from mongoosetw.http.listener import http_service
from mongoosetw.loading import LoadError, options_of
from mongoosetw.server import Server
from mongoosetw.server_metrics import show
from mongoosetw.storage.database import Database, DatabaseUnavailable
from mongoosetw.storage.migrate import SchemaRefused

logger = logging.getLogger(__name__)


class Options(usage.Options):
    """Command line of ``twistd mongoose``."""

    optParameters = [
        ["config", "c", "mongoosetw.toml", "Configuration file."],
    ]


class NodeService(Service):
    """Runs one node: database, server and ports, in this order, and back."""

    def __init__(self, reactor: Any, config: Config, path: str) -> None:
        self._reactor = reactor
        self._config = config
        self._path = path
        self._server: Server | None = None
        self._ports: list[Any] = []
        self._hide: Callable[[], None] = lambda: None
        self._control: ControlService | None = None

    def startService(self) -> None:
        """Starts the node when the reactor runs."""
        super().startService()
        self._reactor.callWhenRunning(self._run)

    def _run(self) -> None:
        started = defer.Deferred.fromCoroutine(self._start())
        started.addErrback(self._failed)

    async def _start(self) -> None:
        config = self._config
        os.makedirs(config.general.data_dir, mode=0o700, exist_ok=True)
        _raise_file_limit()
        db = Database.open(config.rdbms, config.general.data_dir, self._reactor)
        server = Server(
            config, db, self._reactor, load=lambda: load(self._path, options_of)
        )
        server.when_stopped = self._reactor.stop
        self._server = server
        await server.start()
        server.listen(self._reactor)
        for options in config.listen.http:
            service = http_service(self._reactor, options)
            service.startService()
            self._ports.append(service)
        self._hide = show(server)
        control = server_control(server, self._reactor.callLater)
        self._control = ControlService(self._reactor, control, socket_path(config))
        self._control.startService()
        signal.signal(signal.SIGHUP, self._hang_up)
        self._announce(config)

    def _announce(self, config: Config) -> None:
        ports = ", ".join(f"{o.ip_address}:{o.port}" for o in config.listen.c2s)
        assert self._server is not None
        domains = list(self._server.hosts)
        ctl = f"mongoosectl --config {self._path}"
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

    def _hang_up(self, *_: object) -> None:
        self._reactor.callFromThread(self._reload)

    def _reload(self) -> None:
        assert self._server is not None
        reloaded = defer.Deferred.fromCoroutine(self._server.reload())
        reloaded.addErrback(lambda failure: logger.error("reload_refused %s", failure.value))

    def _failed(self, failure: Any) -> None:
        known = failure.check(
            SchemaRefused, CertificateUnusable, DatabaseUnavailable, LoadError, OSError
        )
        if known or "CannotListen" in str(failure.type):
            print(f"mongoosetw cannot start: {failure.value}", file=sys.__stderr__, flush=True)
        else:
            failure.printTraceback(file=sys.__stderr__)
        logger.error("start_failed %s", failure.value)
        self._reactor.addSystemEventTrigger("after", "shutdown", os._exit, 1)
        self._reactor.stop()

    def stopService(self) -> "defer.Deferred[Any]":
        """Stops the node; the reactor waits for it."""
        super().stopService()
        return defer.Deferred.fromCoroutine(self._stop())

    async def _stop(self) -> None:
        if self._control is not None:
            self._control.stopService()
        self._hide()
        for service in self._ports:
            await service.stopService()
        if self._server is not None:
            await self._server.shut_down()


def socket_path(config: Config) -> str:
    """Where the control socket is."""
    general = config.general
    return general.control_socket or os.path.join(general.data_dir, "mongoosectl.sock")


def _raise_file_limit() -> None:
    """One connection is one descriptor: take all that the system grants."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def makeService(options: Options) -> MultiService:
    """Builds the service; a bad configuration ends the process with status 1."""
    from twisted.internet import reactor

    path = os.path.abspath(str(options["config"]))
    try:
        config = load(path, options_of)
    except (ConfigErrors, OSError) as error:
        print(error, file=sys.stderr)
        raise SystemExit(1) from None
    observer = logs.configure(
        config.general.loglevel,
        json_lines=config.general.log_format == "json",
        logfile=logs.twistd_logfile(options.parent or {}),
    )
    service = logs.LoggedService(observer)
    NodeService(reactor, config, path).setServiceParent(service)
    return service
