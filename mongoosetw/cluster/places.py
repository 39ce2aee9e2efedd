"""Addresses of nodes: ``unix:/path`` on one machine, ``tls:host:port`` between machines."""

from typing import Any

from twisted.internet.endpoints import (
    HostnameEndpoint,
    TCP4ServerEndpoint,
    TCP6ServerEndpoint,
    UNIXClientEndpoint,
    UNIXServerEndpoint,
    wrapClientTLS,
)
from twisted.internet.interfaces import IStreamClientEndpoint, IStreamServerEndpoint
from twisted.internet.protocol import Factory
from twisted.protocols.tls import TLSMemoryBIOFactory

from mongoosetw.cluster.tls import LinkTLS

CONNECT_TIMEOUT = 5
"""Seconds that connecting may take, TLS aside."""


def unix(path: str) -> str:
    """The address of a socket of this machine."""
    return f"unix:{path}"


def tls(host: str, port: int) -> str:
    """The address of a port of another machine."""
    return f"tls:[{host}]:{port}" if ":" in host else f"tls:{host}:{port}"


class Places:
    """Makes endpoints of addresses.

    :param session: makes TLS sessions.
    """

    def __init__(self, reactor: Any, session: LinkTLS) -> None:
        self._reactor = reactor
        self._session = session

    def to(self, address: str) -> IStreamClientEndpoint:
        """What connects to a node."""
        kind, _, where = address.partition(":")
        if kind == "unix":
            return UNIXClientEndpoint(self._reactor, where, timeout=CONNECT_TIMEOUT)
        host, _, port = where.rpartition(":")
        plain = HostnameEndpoint(
            self._reactor, host.strip("[]"), int(port), timeout=CONNECT_TIMEOUT
        )
        wrapped: IStreamClientEndpoint = wrapClientTLS(self._session, plain)
        return wrapped

    def at_path(self, path: str) -> IStreamServerEndpoint:
        """What listens for nodes of this machine."""
        return UNIXServerEndpoint(self._reactor, path, mode=0o600)

    def at_port(self, host: str, port: int) -> IStreamServerEndpoint:
        """What listens for nodes of other machines; their factory is :meth:`over_tls`."""
        kind = TCP6ServerEndpoint if ":" in host else TCP4ServerEndpoint
        return kind(self._reactor, port, interface=host)

    def over_tls(self, factory: Factory) -> Any:
        """A factory whose connections speak TLS from the first byte on."""
        return TLSMemoryBIOFactory(self._session, False, factory)
