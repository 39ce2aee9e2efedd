"""Begins and ends to serve a domain while the server runs."""

import logging
from typing import TYPE_CHECKING

from mongoosetw.c2s.listener import CertificateUnusable
from mongoosetw.host import Host
from mongoosetw.loading import start_modules, stop_modules
from mongoosetw.xmpp.errors import StreamError

if TYPE_CHECKING:  # types only
    from mongoosetw.server import Server

logger = logging.getLogger(__name__)
_GONE = "host-gone"  # RFC 6120 §4.9.3.5


async def prepare_host(server: "Server", domain: str, host_type: str) -> Host:
    """A host with its modules, which is not served yet.

    :raises LoadError: a module is missing.
    """
    host = Host(server, domain, server.config.hosts[host_type])
    try:
        await start_modules(host, host.config.modules)
    except BaseException:
        await stop_modules(host)
        host.release()
        raise
    return host


async def open_host(server: "Server", domain: str, host_type: str) -> Host:
    """Serves a domain from now on.

    :raises LoadError: a module is missing; the domain is not served then.
    """
    host = await prepare_host(server, domain, host_type)
    server.hosts[host.domain] = host
    server.router.add_host(host)
    if server.cluster is not None:
        server.cluster.attach(host)
    _renew_certificates(server)
    logger.info("domain_opened domain=%s host_type=%s", domain, host_type)
    return host


async def close_host(server: "Server", host: Host) -> None:
    """Serves a domain no longer: its clients are told that the host is gone."""
    del server.hosts[host.domain]
    server.router.remove_host(host)
    for listener in server.listeners:
        for stream in list(listener.streams):
            if stream.host is host:
                stream.close(StreamError(_GONE))
    for session in host.sessions.local():
        # What is left has no stream: a module keeps it for a client that may come back.
        session.close(_GONE)
    if server.cluster is not None:
        server.cluster.detach(host)
    await dismantle(host)
    _renew_certificates(server)
    logger.info("domain_closed domain=%s", host.domain)


async def dismantle(host: Host) -> None:
    """Stops the modules of a host that is not served, when they have done what they began."""
    await host.settle()
    await stop_modules(host)
    host.release()


def _renew_certificates(server: "Server") -> None:
    """A self-signed certificate names all domains."""
    for listener in server.listeners:
        options = listener.options
        if options.tls is None or options.tls.certfile or not listener.is_open:
            continue
        try:
            listener.reconfigure(options, listener.read_certificates(options.tls))
        except CertificateUnusable as error:
            logger.error("certificate_not_renewed reason=%s", error)
