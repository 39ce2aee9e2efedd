"""Certificates: self-signed ones where none is configured, and a check of those that are."""

import fcntl
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from pathlib import Path
from time import time

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
)
from cryptography.x509.oid import NameOID
from OpenSSL import SSL

VALIDITY = timedelta(days=3650)
RENEW_BEFORE = timedelta(days=30)
_COMMON_NAME_LENGTH = 64


def ensure_self_signed(directory: str, domains: Sequence[str]) -> tuple[str, str]:
    """Return a certificate for ``domains``, making it if there is none that is still valid.

    The certificate (ECDSA P-256, every domain in subjectAltName, RFC 6125) and its key are files
    that only their owner can read, named by the set of domains.

    :param directory: where the files lie; made if it does not exist.
    :param domains: at least one domain.
    :returns: paths of the certificate and of the private key, both PEM.
    :raises OSError: if the files can't be written.
    """
    names = sorted(set(domains))
    stem = f"self-signed-{sha256(chr(0).join(names).encode()).hexdigest()[:16]}"
    certfile = Path(directory, f"{stem}.crt")
    keyfile = Path(directory, f"{stem}.key")
    Path(directory).mkdir(mode=0o700, parents=True, exist_ok=True)
    with _alone(directory):
        if certificate_problem(str(certfile), str(keyfile)) or _expires_soon(certfile):
            _make(certfile, keyfile, names)
    return str(certfile), str(keyfile)


@contextmanager
def _alone(directory: str) -> Iterator[None]:
    """Workers that start together take turns: a key and its certificate are two files."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def certificate_problem(certfile: str, keyfile: str = "", password: str = "") -> str | None:
    """Say what is wrong with a certificate and its key; None if nothing is.

    :param certfile: PEM file of the certificate and its chain.
    :param keyfile: PEM file of the private key; ``certfile`` if empty.
    :param password: the private key's password, or empty.
    """
    keyfile = keyfile or certfile
    try:
        certificate = x509.load_pem_x509_certificates(Path(certfile).read_bytes())[0]
    except OSError as error:
        return f"{certfile} can't be read: {error.strerror}"
    except ValueError:
        return f"{certfile} holds no certificate in PEM form"
    try:
        key = load_pem_private_key(Path(keyfile).read_bytes(), password.encode() or None)
    except OSError as error:
        return f"{keyfile} can't be read: {error.strerror}"
    except TypeError:
        return f"{keyfile} needs a password, or needs none and one was given"
    except (ValueError, UnsupportedAlgorithm):
        return f"{keyfile} holds no private key in PEM form, or its password is another"
    encoding = (Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    if certificate.public_key().public_bytes(*encoding) != key.public_key().public_bytes(*encoding):
        return f"{keyfile} is not the key of the certificate in {certfile}"
    return None


def authorities_problem(cacertfile: str) -> str | None:
    """Say what is wrong with a PEM file of authorities; None if nothing is."""
    try:
        SSL.Context(SSL.TLS_METHOD).load_verify_locations(cacertfile)
    except SSL.Error:
        return f"{cacertfile} can't be read, or holds no certificate in PEM form"
    return None


def certificate_expires(certfile: str) -> float:
    """Return when a certificate expires, in seconds since 1970.

    :param certfile: PEM file of a certificate that is known to be good.
    """
    certificate = x509.load_pem_x509_certificate(Path(certfile).read_bytes())
    return certificate.not_valid_after_utc.timestamp()


def _expires_soon(certfile: Path) -> bool:
    return certificate_expires(str(certfile)) - RENEW_BEFORE.total_seconds() < time()


def _make(certfile: Path, keyfile: Path, domains: list[str]) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, domains[0][:_COMMON_NAME_LENGTH])])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + VALIDITY)
        .add_extension(_alternative_names(domains), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )
    _write(keyfile, key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    _write(certfile, certificate.public_bytes(Encoding.PEM))


def _alternative_names(domains: list[str]) -> x509.SubjectAlternativeName:
    # A certificate holds A-labels (RFC 5280 §7.2), JIDs hold U-labels (RFC 7622 §3.2).
    return x509.SubjectAlternativeName([x509.DNSName(_to_ascii(domain)) for domain in domains])


def _to_ascii(domain: str) -> str:
    if domain.isascii():
        return domain
    return domain.encode("idna").decode("ascii")


def _write(path: Path, content: bytes) -> None:
    """Replace a file in one step, so that no reader sees half of it."""
    temporary = path.with_suffix(path.suffix + f".{os.getpid()}")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
    os.replace(temporary, path)
