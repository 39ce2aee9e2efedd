"""TLS contexts: versions, ciphers, certificates by SNI, ALPN, channel bindings."""

import hashlib
from collections.abc import Mapping
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from OpenSSL import SSL

from mongoosetw.config.schema import ListenTLS
from mongoosetw.xmpp.jid import JID, InvalidJID

# Forward secrecy and authenticated encryption only (RFC 7525 §4.2; RFC 9325).
CIPHERS = "ECDHE+AESGCM:ECDHE+CHACHA20:!aNULL:!eNULL"
ALPN_CLIENT = b"xmpp-client"  # XEP-0368 §4
_XMPP_ADDRESS = x509.ObjectIdentifier("1.3.6.1.5.5.7.8.5")  # RFC 6120 §13.7.1.4


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
    context.set_cipher_list((options.ciphers or CIPHERS).encode())
    if options.password:
        context.set_passwd_cb(lambda *_: options.password.encode())
    context.use_certificate_chain_file(certfile)
    context.use_privatekey_file(keyfile or certfile)
    context.check_privatekey()
    context.set_alpn_select_callback(_select_protocol)
    _ask_for_certificate(context, options)
    return context


def _ask_for_certificate(context: SSL.Context, options: ListenTLS) -> None:
    """XEP-0178 §2: the client's certificate is asked for, and may be missing."""
    if options.verify_mode == "none":
        return
    if options.cacertfile:
        context.load_verify_locations(options.cacertfile)
    self_signed = options.verify_mode == "selfsigned_peer"
    context.set_verify(SSL.VERIFY_PEER, lambda *args: bool(args[4]) or self_signed)
    context.set_session_id(b"mongoosetw")


def _select_protocol(connection: SSL.Connection, offered: list[bytes]) -> Any:
    return ALPN_CLIENT if ALPN_CLIENT in offered else SSL.NO_OVERLAPPING_PROTOCOLS


def choose_by_name(default: SSL.Context, by_domain: Mapping[str, SSL.Context]) -> None:
    """Has ``default`` hand over to the context of the domain that the client names (SNI)."""

    def choose(connection: SSL.Connection) -> None:
        name = connection.get_servername()
        context = by_domain.get(name.decode("ascii", "replace").lower()) if name else None
        if context is not None:
            connection.set_context(context)

    default.set_tlsext_servername_callback(choose)


def exporter_binding(connection: SSL.Connection) -> bytes | None:
    """Channel binding data of type ``tls-exporter`` (RFC 9266 §4.2): TLS 1.3 only."""
    if connection.get_protocol_version_name() != "TLSv1.3":
        return None
    return connection.export_keying_material(b"EXPORTER-Channel-Binding", 32, b"")


def end_point_binding(connection: SSL.Connection) -> bytes | None:
    """Channel binding data of type ``tls-server-end-point`` (RFC 5929 §4.1)."""
    certificate = connection.get_certificate(as_cryptography=True)
    if certificate is None or certificate.signature_hash_algorithm is None:
        return None
    name = certificate.signature_hash_algorithm.name
    name = "sha256" if name in ("md5", "sha1") else name
    return hashlib.new(name, certificate.public_bytes(Encoding.DER)).digest()


def certificate_jids(connection: SSL.Connection) -> tuple[JID, ...]:
    """The XMPP addresses of the client's certificate (XEP-0178 §2)."""
    certificate = connection.get_peer_certificate(as_cryptography=True)
    if certificate is None:
        return ()
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return ()
    found = []
    for name in names.get_values_for_type(x509.OtherName):
        if name.type_id == _XMPP_ADDRESS:
            try:
                found.append(JID.parse(name.value[2:].decode()))  # DER: tag, length, UTF-8
            except (InvalidJID, UnicodeDecodeError):
                continue
    return tuple(found)
