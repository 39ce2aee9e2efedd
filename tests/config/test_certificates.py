"""Tests of self-signed certificates."""

import os
import stat
from pathlib import Path
from unittest.mock import patch

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    PrivateFormat,
    load_pem_private_key,
)
from twisted.trial.unittest import SynchronousTestCase

from mongoosetw.config import certificates
from mongoosetw.config.certificates import certificate_problem, ensure_self_signed


class SelfSignedTests(SynchronousTestCase):
    """A certificate is made once and kept."""

    def setUp(self) -> None:
        """Choose a directory that does not exist."""
        self.directory = self.mktemp()

    def test_content(self) -> None:
        """The certificate names all domains and has a P-256 key."""
        certfile, keyfile = ensure_self_signed(self.directory, ["b.org", "a.org", "bücher.example"])
        certificate = x509.load_pem_x509_certificate(Path(certfile).read_bytes())
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        self.assertEqual(
            names.get_values_for_type(x509.DNSName), ["a.org", "b.org", "xn--bcher-kva.example"]
        )
        key = certificate.public_key()
        assert isinstance(key, ec.EllipticCurvePublicKey)
        self.assertEqual(key.curve.name, "secp256r1")
        self.assertIsNone(certificate_problem(certfile, keyfile))

    def test_only_the_owner_reads(self) -> None:
        """Nobody else may read the key."""
        for name in ensure_self_signed(self.directory, ["a.org"]):
            self.assertEqual(stat.S_IMODE(os.stat(name).st_mode), 0o600)

    def test_kept(self) -> None:
        """The same domains get the same certificate, whatever their order; others another."""
        first = ensure_self_signed(self.directory, ["a.org", "b.org"])
        content = Path(first[0]).read_bytes()
        self.assertEqual(ensure_self_signed(self.directory, ["b.org", "a.org"]), first)
        self.assertEqual(Path(first[0]).read_bytes(), content)
        self.assertNotEqual(ensure_self_signed(self.directory, ["a.org"]), first)

    def test_replaced(self) -> None:
        """A broken or an expiring certificate is made again."""
        certfile, keyfile = ensure_self_signed(self.directory, ["a.org"])
        Path(certfile).write_text("nonsense")
        ensure_self_signed(self.directory, ["a.org"])
        self.assertIsNone(certificate_problem(certfile, keyfile))
        content = Path(certfile).read_bytes()
        with patch.object(certificates, "RENEW_BEFORE", certificates.VALIDITY):
            ensure_self_signed(self.directory, ["a.org"])
        self.assertNotEqual(Path(certfile).read_bytes(), content)


class ProblemTests(SynchronousTestCase):
    """What is wrong with a certificate is said in words."""

    def setUp(self) -> None:
        """Make a certificate."""
        self.certfile, self.keyfile = ensure_self_signed(self.mktemp(), ["a.org"])

    def test_one_file(self) -> None:
        """Certificate and key may be in one file."""
        both = Path(self.mktemp())
        both.write_bytes(Path(self.certfile).read_bytes() + Path(self.keyfile).read_bytes())
        self.assertIsNone(certificate_problem(str(both)))
        self.assertIn("no private key", str(certificate_problem(self.certfile)))

    def test_not_pem(self) -> None:
        """A file without a certificate is named."""
        problem = certificate_problem(self.keyfile, self.keyfile)
        self.assertEqual(problem, f"{self.keyfile} holds no certificate in PEM form")

    def test_password(self) -> None:
        """An encrypted key needs its password, which is not shown."""
        key = load_pem_private_key(Path(self.keyfile).read_bytes(), None)
        encryption = BestAvailableEncryption(b"hunter2")
        pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, encryption)
        Path(self.keyfile).write_bytes(pem)
        self.assertIsNone(certificate_problem(self.certfile, self.keyfile, "hunter2"))
        self.assertIn("needs a password", str(certificate_problem(self.certfile, self.keyfile)))
        problem = certificate_problem(self.certfile, self.keyfile, "hunter3")
        self.assertIn("its password is another", str(problem))
        self.assertNotIn("hunter", str(problem).replace(self.keyfile, ""))
