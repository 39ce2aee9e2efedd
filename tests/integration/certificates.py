"""Certificates for tests: an authority, what it issues, what it revokes."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

XMPP_ADDRESS = x509.ObjectIdentifier("1.3.6.1.5.5.7.8.5")
_DAY = timedelta(days=1)


def xmpp_address(jid: str) -> x509.GeneralName:
    """An ``id-on-xmppAddr`` (RFC 6120 §13.7.1.4): a UTF8String in DER."""
    text = jid.encode()
    assert len(text) < 128
    return x509.OtherName(XMPP_ADDRESS, b"\x0c" + bytes([len(text)]) + text)


def _name(common_name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])


class Authority:
    """A certificate authority with its files in a folder.

    :ivar file: its own certificate.
    """

    def __init__(self, folder: Path, name: str = "authority") -> None:
        self._folder = folder
        self._issuer = _name(name)
        self._key = ec.generate_private_key(ec.SECP256R1())
        self.file = folder / f"{name}.pem"
        own = self._builder(self._issuer, self._issuer, self._key.public_key())
        own = own.add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        certificate = own.sign(self._key, hashes.SHA256())
        self.file.write_bytes(certificate.public_bytes(Encoding.PEM))

    def _builder(
        self,
        issuer: x509.Name,
        subject: x509.Name,
        key: ec.EllipticCurvePublicKey,
        days: int = 30,
    ) -> x509.CertificateBuilder:
        now = datetime.now(UTC)
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(issuer)
            .public_key(key)
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - 2 * _DAY)
            .not_valid_after(now + days * _DAY)
        )

    def issue(
        self,
        *jids: str,
        common_name: str = "",
        domain: str = "",
        file: str = "",
        days: int = 30,
        self_signed: bool = False,
    ) -> Path:
        """Makes a certificate for XMPP addresses, or for a domain; a PEM file with its key.

        :param days: until it expires; negative: it has.
        :param self_signed: by its own key instead of the authority's.
        """
        key = ec.generate_private_key(ec.SECP256R1())
        subject = _name(common_name or domain or "some body")
        issuer = subject if self_signed else self._issuer
        builder = self._builder(issuer, subject, key.public_key(), days)
        names = [xmpp_address(jid) for jid in jids]
        if domain:
            names.append(x509.DNSName(domain))
        if names:
            builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
        certificate = builder.sign(key if self_signed else self._key, hashes.SHA256())
        path = self._folder / (file or f"{certificate.serial_number}.pem")
        path.write_bytes(
            key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
            + certificate.public_bytes(Encoding.PEM)
        )
        return path

    def revoke(self, *certificates: Path) -> Path:
        """Makes the list of what is revoked; a PEM file."""
        now = datetime.now(UTC)
        crl = x509.CertificateRevocationListBuilder().issuer_name(self._issuer)
        crl = crl.last_update(now - _DAY).next_update(now + 30 * _DAY)
        for certificate in certificates:
            serial = x509.load_pem_x509_certificate(certificate.read_bytes()).serial_number
            revoked = x509.RevokedCertificateBuilder().serial_number(serial)
            crl = crl.add_revoked_certificate(revoked.revocation_date(now - _DAY).build())
        path = self._folder / "revoked.pem"
        path.write_bytes(crl.sign(self._key, hashes.SHA256()).public_bytes(Encoding.PEM))
        return path
