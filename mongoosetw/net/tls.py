"""TLS contexts: versions, ciphers, certificates by SNI, ALPN, channel bindings."""

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import idna
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID
from OpenSSL import SSL, crypto

from mongoosetw.config.schema import ListenTLS
from mongoosetw.xmpp.jid import JID, InvalidJID

# Forward secrecy and authenticated encryption only (RFC 7525 §4.2; RFC 9325).
CIPHERS = "ECDHE+AESGCM:ECDHE+CHACHA20:!aNULL:!eNULL"
ALPN_CLIENT = b"xmpp-client"  # XEP-0368 §4
_XMPP_ADDRESS = x509.ObjectIdentifier("1.3.6.1.5.5.7.8.5")  # RFC 6120 §13.7.1.4
# X509_verify_cert(3): what a certificate that only its own key vouches for is reported as.
_SELF_SIGNED: Final = 18
_NO_CRL: Final = 3
_UNVERIFIED: Final = "unverified"
_BY_ITSELF: Final = "self-signed"


def server_context(options: ListenTLS, certfile: str, keyfile: str) -> SSL.Context:
    """A context for a listener, with one certificate.

    :raises SSL.Error: a file cannot be read or key and certificate do not match.
    """
    context = SSL.Context(SSL.TLS_SERVER_METHOD)
    lowest = SSL.TLS1_2_VERSION if "tlsv1.2" in options.versions else SSL.TLS1_3_VERSION
    highest = SSL.TLS1_3_VERSION if "tlsv1.3" in options.versions else SSL.TLS1_2_VERSION
    context.set_min_proto_version(lowest)
    context.set_max_proto_version(highest)
    context.set_options(
        SSL.OP_NO_COMPRESSION | SSL.OP_NO_TICKET | SSL.OP_CIPHER_SERVER_PREFERENCE
        | SSL.OP_NO_RENEGOTIATION
    )  # fmt: skip
    context.set_session_cache_mode(SSL.SESS_CACHE_OFF)
    context.set_mode(SSL.MODE_RELEASE_BUFFERS)
    set_ciphers(context, options.ciphers)
    if options.password:
        context.set_passwd_cb(lambda *_: options.password.encode())
    context.use_certificate_chain_file(certfile)
    context.use_privatekey_file(keyfile or certfile)
    context.check_privatekey()
    context.set_alpn_select_callback(_select_protocol)
    ask_for_certificate(context, options)
    return context


def reason(error: SSL.Error) -> str:
    """What OpenSSL has to say of an error."""
    details = error.args[0] if error.args and isinstance(error.args[0], list) else []
    return ", ".join(str(entry[-1]) for entry in details) or str(error)


def set_ciphers(context: SSL.Context, ciphers: str) -> None:
    """Allows only the named ciphers; those of TLS 1.3 are the ones that begin with ``TLS_``.

    :param ciphers: OpenSSL's list, empty for the safe one.
    :raises SSL.Error: none of them is known.
    """
    names = ciphers.split(":") if ciphers else []
    suites = [name for name in names if name.startswith("TLS_")]
    older = [name for name in names if not name.startswith("TLS_")]
    if suites:
        context.set_tls13_ciphersuites(":".join(suites).encode())
    context.set_cipher_list((":".join(older) or CIPHERS).encode())


def ask_for_certificate(context: SSL.Context, options: ListenTLS) -> None:
    """Has clients asked for a certificate (XEP-0178 §2), if the options say so.

    :raises SSL.Error: ``cacertfile`` is unusable.
    :raises ValueError: a file of ``crl_files`` is.
    """
    mode = options.verification
    if mode == "none":
        return
    if options.cacertfile:
        context.load_verify_locations(options.cacertfile)
    else:
        context.set_default_verify_paths()
    _check_revocation(context, options.crl_files)
    required = options.disconnect_on_failure
    flags = SSL.VERIFY_PEER | (SSL.VERIFY_FAIL_IF_NO_PEER_CERT if required else 0)

    def verify(connection: SSL.Connection, _: object, error: int, __: int, good: int) -> bool:
        if good:
            return True
        own = connection.get_app_data() == _BY_ITSELF
        if mode == "selfsigned_peer" and (error == _SELF_SIGNED or (own and error == _NO_CRL)):
            connection.set_app_data(_BY_ITSELF)
            return True
        connection.set_app_data(_UNVERIFIED)
        return not required

    context.set_verify(flags, verify)
    context.set_session_id(b"mongoosetw")


def _check_revocation(context: SSL.Context, files: tuple[str, ...]) -> None:
    store = context.get_cert_store()
    assert store is not None
    for file in files:
        store.add_crl(x509.load_pem_x509_crl(Path(file).read_bytes()))
    if files:
        store.set_flags(crypto.X509StoreFlags.CRL_CHECK)


def _select_protocol(connection: SSL.Connection, offered: list[bytes]) -> Any:
    return ALPN_CLIENT if ALPN_CLIENT in offered else SSL.NO_OVERLAPPING_PROTOCOLS


def choose_by_name(default: SSL.Context, by_domain: Mapping[str, SSL.Context]) -> None:
    """Has ``default`` hand over to the context of the domain that the client names (SNI)."""
    # RFC 6066 §3: names travel as A-labels, and without regard to case.
    by_name = {dns_name(domain): context for domain, context in by_domain.items()}

    def choose(connection: SSL.Connection) -> None:
        name = connection.get_servername()
        context = by_name.get(name.decode("ascii", "replace").lower()) if name else None
        if context is not None:
            connection.set_context(context)

    default.set_tlsext_servername_callback(choose)


def dns_name(domain: str) -> str:
    """A domain as DNS and certificates write it.

    :raises InvalidJID: it is no domain.
    """
    name = JID.parse(domain).domain
    return name if name.isascii() else idna.encode(name).decode()


def has_exporter_binding(connection: SSL.Connection) -> bool:
    """Whether the connection has channel binding data of type ``tls-exporter``.

    RFC 9266 §4.2: before TLS 1.3 the exporter is safe only with the extended master secret,
    and whether the connection has that is not visible here.
    """
    return connection.get_protocol_version_name() == "TLSv1.3"


def exporter_binding(connection: SSL.Connection) -> bytes:
    """Channel binding data of type ``tls-exporter`` (RFC 9266 §4.2)."""
    return connection.export_keying_material(b"EXPORTER-Channel-Binding", 32, b"")


def has_unique_binding(connection: SSL.Connection) -> bool:
    """Whether there is channel binding data of type ``tls-unique``: before TLS 1.3 only.

    It needs the extended master secret where sessions are resumed or renegotiated (RFC 7627
    §6.4). We do neither.
    """
    return bool(connection.get_protocol_version_name() == "TLSv1.2")


def unique_binding(connection: SSL.Connection) -> bytes:
    """That data: the first Finished message, which is the client's (RFC 5929 §3.1)."""
    finished: bytes | None = connection.get_peer_finished()
    assert finished is not None, "the handshake is done"
    return finished


def end_point_binding(connection: SSL.Connection) -> bytes | None:
    """Channel binding data of type ``tls-server-end-point`` (RFC 5929 §4.1)."""
    certificate = connection.get_certificate(as_cryptography=True)
    if certificate is None or certificate.signature_hash_algorithm is None:
        return None
    name = certificate.signature_hash_algorithm.name
    name = "sha256" if name in ("md5", "sha1") else name
    return hashlib.new(name, certificate.public_bytes(Encoding.DER)).digest()


def is_self_signed(connection: SSL.Connection) -> bool:
    """Whether the client's certificate was accepted although only it vouches for itself."""
    return bool(connection.get_app_data() == _BY_ITSELF)


def peer_certificate(connection: SSL.Connection) -> x509.Certificate | None:
    """The client's certificate, unless it was found invalid."""
    if connection.get_app_data() == _UNVERIFIED:
        return None
    return connection.get_peer_certificate(as_cryptography=True)


def certificate_jids(certificate: x509.Certificate) -> tuple[JID, ...]:
    """The XMPP addresses of a client's certificate (XEP-0178 §2)."""
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except (x509.ExtensionNotFound, ValueError):
        return ()
    found = []
    for name in names.get_values_for_type(x509.OtherName):
        if name.type_id == _XMPP_ADDRESS:
            try:
                found.append(JID.parse(_der_text(name.value)))
            except (InvalidJID, UnicodeDecodeError):
                continue
    return tuple(found)


def _der_text(der: bytes) -> str:
    """The text of a UTF8String in DER: tag, length (X.690 §8.1.3), bytes."""
    start = 2 + (der[1] & 0x7F if len(der) > 1 and der[1] & 0x80 else 0)
    return der[start:].decode()


def common_name(certificate: x509.Certificate) -> str:
    """The common name of a certificate's subject, or nothing."""
    names = certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    return str(names[0].value) if names else ""
