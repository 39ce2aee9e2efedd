"""TLS of the links between machines: TLS 1.3 only, and both ends show a certificate.

With an authority configured, a certificate of it is the proof of belonging. Without one the
certificates are made up, and the secret is the proof: it is checked together with data of the TLS
session (RFC 9266), which nobody in between can have at both ends.
"""

from typing import Any

from OpenSSL import SSL
from twisted.internet.interfaces import (
    IOpenSSLClientConnectionCreator,
    IOpenSSLServerConnectionCreator,
    ISSLTransport,
)
from zope.interface import implementer

from mongoosetw.cluster.config import Cluster
from mongoosetw.config.certificates import ensure_self_signed
from mongoosetw.net.tls import exporter_binding


@implementer(IOpenSSLClientConnectionCreator, IOpenSSLServerConnectionCreator)
class LinkTLS:
    """Makes the TLS sessions of both ends; reads the certificates anew each time."""

    def __init__(self, options: Cluster, data_dir: str) -> None:
        self._options = options
        self._data_dir = data_dir

    def clientConnectionForTLS(self, tlsProtocol: Any) -> SSL.Connection:
        """A session of the node that connects."""
        return SSL.Connection(self.context(), None)

    def serverConnectionForTLS(self, tlsProtocol: Any) -> SSL.Connection:
        """A session of the node that is connected to."""
        return SSL.Connection(self.context(), None)

    def context(self) -> SSL.Context:
        """The settings of both ends.

        :raises SSL.Error: a file cannot be read.
        """
        context = SSL.Context(SSL.TLS_METHOD)
        context.set_min_proto_version(SSL.TLS1_3_VERSION)
        context.set_options(SSL.OP_NO_TICKET)
        context.set_session_cache_mode(SSL.SESS_CACHE_OFF)
        files = self._options.tls
        if self._options.has_certificates:
            context.use_certificate_chain_file(files.certfile)
            context.use_privatekey_file(files.keyfile or files.certfile)
            context.load_verify_locations(files.cacertfile)
            context.set_verify(SSL.VERIFY_PEER | SSL.VERIFY_FAIL_IF_NO_PEER_CERT)
        else:
            certfile, keyfile = ensure_self_signed(self._data_dir, ["node.invalid"])
            context.use_certificate_chain_file(certfile)
            context.use_privatekey_file(keyfile)
        return context


def is_tls(transport: Any) -> bool:
    """Whether a transport will have a TLS session."""
    return bool(ISSLTransport.providedBy(transport))


def session_binding(transport: Any) -> bytes:
    """Data that only the two ends of this TLS session have (RFC 9266 §4.2)."""
    binding = exporter_binding(transport.getHandle())
    assert binding is not None, "nothing but TLS 1.3 is spoken"
    return binding
