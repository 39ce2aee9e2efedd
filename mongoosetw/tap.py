"""``twistd mongoose``: builds the service from the command line (Twisted's ``tap``)."""

import os
import sys

from twisted.application.service import MultiService
from twisted.python import usage

from mongoosetw import logs
from mongoosetw.config.errors import ConfigErrors
from mongoosetw.config.load import load
from mongoosetw.loading import options_of


class Options(usage.Options):
    """Command line of ``twistd mongoose``."""

    optParameters = [
        ["config", "c", "mongoosetw.toml", "Configuration file."],
    ]


def makeService(options: Options) -> MultiService:
    """Builds the service; a bad configuration ends the process with status 1."""
    from twisted.internet import reactor

    path = os.path.abspath(str(options["config"]))
    try:
        config = load(path, options_of)
    except (ConfigErrors, OSError) as error:
        print(error, file=sys.stderr)
        raise SystemExit(1) from None
    logfile = logs.twistd_logfile(options.parent or {})
    observer = logs.configure(
        config.general.loglevel,
        json_lines=config.general.log_format == "json",
        logfile=logfile,
        node="" if config.workers == 1 else config.cluster.name,
    )
    service = logs.LoggedService(observer)
    if config.workers == 1:
        from mongoosetw.node import NodeService

        NodeService(reactor, config, path).setServiceParent(service)
    else:
        from mongoosetw.cluster.supervisor import SupervisorService

        SupervisorService(reactor, config, path, logfile).setServiceParent(service)
    return service
