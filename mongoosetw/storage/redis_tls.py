"""TLS of the connections to Redis."""

import re
from pathlib import Path
from typing import Any, Final

from OpenSSL import SSL
from twisted.internet.interfaces import IOpenSSLClientConnectionCreator
from twisted.internet.ssl import (
    Certificate,
    PrivateCertificate,
    optionsForClientTLS,
    platformTrust,
    trustRootFromCertificates,
)
from zope.interface import implementer

from mongoosetw.config.redis import RedisTLS

_CERTIFICATE: Final = re.compile(
    "-----BEGIN CERTIFICATE-----.*?-----END CERTIFICATE-----", re.DOTALL
)


def session_maker(host: str, options: RedisTLS) -> Any:
    """Makes the TLS sessions with a server; reads the files anew each time.

    :raises OSError: a file cannot be read.
    """
    if options.verify_mode == "none":
        return _Unverified(options)
    own = trust = None
    if options.certfile:
        files = (options.certfile, options.keyfile or options.certfile)
        own = PrivateCertificate.loadPEM("\n".join(Path(file).read_text() for file in files))
    if options.cacertfile:
        found = _CERTIFICATE.findall(Path(options.cacertfile).read_text())
        trust = trustRootFromCertificates([Certificate.loadPEM(text) for text in found])
    return optionsForClientTLS(host, trustRoot=trust or platformTrust(), clientCertificate=own)


@implementer(IOpenSSLClientConnectionCreator)
class _Unverified:
    """Encrypts, but does not check who is at the other end."""

    def __init__(self, options: RedisTLS) -> None:
        self._options = options

    def clientConnectionForTLS(self, tlsProtocol: Any) -> SSL.Connection:
        """A session."""
        context = SSL.Context(SSL.TLS_CLIENT_METHOD)
        context.set_min_proto_version(SSL.TLS1_2_VERSION)
        if self._options.certfile:
            context.use_certificate_chain_file(self._options.certfile)
            context.use_privatekey_file(self._options.keyfile or self._options.certfile)
        return SSL.Connection(context, None)
