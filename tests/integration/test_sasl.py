"""SASL on real sockets: passwords, channel bindings, certificates, guests."""

import hashlib
import re
import subprocess
import sys
from pathlib import Path

from cryptography.hazmat.primitives.serialization import Encoding
from OpenSSL import SSL

from tests.integration.certificates import Authority
from tests.integration.live import LiveTestCase, threaded
from tests.integration.raw import RawClient
from tests.integration.scram import Scram

SLIXMPP = Path(__file__).with_name("slixmpp_login.py").resolve()
HASHES = {"SHA-1": "sha1", "SHA-256": "sha256", "SHA-512": "sha512"}
TLS_1_2, TLS_1_3 = SSL.TLS1_2_VERSION, SSL.TLS1_3_VERSION


def context(version: int = TLS_1_3, certificate: Path | None = None) -> SSL.Context:
    """A client's TLS of one version, perhaps with a certificate."""
    made = SSL.Context(SSL.TLS_CLIENT_METHOD)
    made.set_min_proto_version(version)
    made.set_max_proto_version(version)
    if certificate is not None:
        made.use_certificate_file(str(certificate))
        made.use_privatekey_file(str(certificate))
    return made


class PlainTests(LiveTestCase):
    """Passwords in the clear."""

    listener_options = "tls.mode = 'starttls'"

    @threaded
    def test_needs_tls(self) -> None:
        """PLAIN is neither offered nor accepted before TLS, and both after."""
        client = self.client()
        self.assertNotIn("PLAIN<", client.open())
        self.assertIn("<invalid-mechanism/>", client.plain("alice"))
        client = self.client()
        self.assertIn("<mechanism>PLAIN</mechanism>", client.secure())
        self.assertIn("<success", client.plain("alice"))
        self.assertTrue(client.bind().startswith("alice@localhost/"))

    @threaded
    def test_wrong_passwords(self) -> None:
        """Wrong passwords and unknown users look alike; the third ends the stream."""
        client = self.client()
        client.secure()
        answers = [client.plain(user, "wrong") for user in ("alice", "nobody", "alice")]
        self.assertEqual(len(set(answers)), 1)
        self.assertIn("<not-authorized/>", answers[0])
        self.assertIn("<policy-violation", client.rest())


class ConfiguredPlainTests(LiveTestCase):
    """Where the operator allows it."""

    @threaded
    def test_without_tls(self) -> None:
        """PLAIN works without TLS if configured."""
        client = self.client()
        self.assertIn("<mechanism>PLAIN</mechanism>", client.open())
        self.assertIn("<success", client.plain("alice"))


class RequiredTests(LiveTestCase):
    """TLS before anything else."""

    listener_options = "tls.mode = 'starttls_required'"

    @threaded
    def test_required(self) -> None:
        """Only STARTTLS is offered, and whoever skips it is refused with policy-violation."""
        client = self.client()
        features = client.open()
        self.assertIn("<starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'><required/>", features)
        self.assertNotIn("mechanism", features)
        for skipped in (
            "<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='SCRAM-SHA-1'/>",
            "<iq type='get' id='r'><query xmlns='jabber:iq:register'/></iq>",
            "<authenticate xmlns='urn:xmpp:sasl:2'/>",
        ):
            client = self.client()
            client.open()
            client.send(skipped)
            self.assertIn("<policy-violation", client.rest())
        self.assertIn("PLAIN<", self.client().secure())


class ScramTests(LiveTestCase):
    """SCRAM with and without channel binding."""

    listener_options = "tls.mode = 'starttls'"

    def exporter(self, client: RawClient) -> bytes:
        """Data of tls-exporter (RFC 9266)."""
        assert client.tls is not None
        return client.tls.export_keying_material(b"EXPORTER-Channel-Binding", 32, b"")

    def end_point(self, client: RawClient) -> bytes:
        """Data of tls-server-end-point (RFC 5929 §4): the certificate is signed with SHA-256."""
        assert client.tls is not None
        certificate = client.tls.get_peer_certificate(as_cryptography=True)
        return hashlib.sha256(certificate.public_bytes(Encoding.DER)).digest()

    def scram(
        self, hash_name: str, binding: tuple[str, bytes] | None = None, flag: str = ""
    ) -> Scram:
        """An exchange of alice's."""
        return Scram("alice", "secret", HASHES[hash_name], binding, flag)

    @threaded
    def test_without_binding(self) -> None:
        """Each hash logs in, with TLS and without, and the server proves that it knows the keys."""
        for name in HASHES:
            client = self.client()
            client.open()
            self.assertIn("<success", client.scram(f"SCRAM-{name}", self.scram(name)))
            client = self.client()
            client.secure()
            self.assertIn("<success", client.scram(f"SCRAM-{name}", self.scram(name)))
            self.assertTrue(client.bind().startswith("alice@localhost/"))

    @threaded
    def test_with_binding(self) -> None:
        """Each hash logs in with each channel binding that the version of TLS has."""
        data = {
            "tls-exporter": self.exporter,
            "tls-unique": lambda client: client.tls.get_finished(),
            "tls-server-end-point": self.end_point,
        }
        for version, other in ((TLS_1_3, "tls-exporter"), (TLS_1_2, "tls-unique")):
            for name in HASHES:
                for kind in (other, "tls-server-end-point"):
                    client = self.client()
                    client.secure(context(version))
                    exchange = self.scram(name, (kind, data[kind](client)))
                    self.assertIn("<success", client.scram(f"SCRAM-{name}-PLUS", exchange))

    @threaded
    def test_announced(self) -> None:
        """The channel bindings of the connection are announced (XEP-0440), and no others."""
        announced = re.compile("<channel-binding type='([^']*)'/>")
        cases = {
            TLS_1_3: ["tls-exporter", "tls-server-end-point"],
            TLS_1_2: ["tls-unique", "tls-server-end-point"],
        }
        for version, types in cases.items():
            features = self.client().secure(context(version))
            self.assertEqual(announced.findall(features), types)
            self.assertIn("<sasl-channel-binding xmlns='urn:xmpp:sasl-cb:0'>", features)
            self.assertEqual(len(re.findall("SHA-[0-9]+-PLUS<", features)), 3)
        features = self.client().open()
        self.assertNotIn("sasl-channel-binding", features)
        self.assertNotIn("-PLUS", features)

    @threaded
    def test_wrong_binding(self) -> None:
        """Data of another connection, another type, or a type that there is not, are refused."""
        other = self.client()
        other.secure()
        client = self.client()
        client.secure()
        for kind, data in (
            ("tls-exporter", self.exporter(other)),
            ("tls-exporter", self.end_point(client)),
            ("tls-unique", b"x" * 12),
        ):
            client = self.client()
            client.secure()
            answer = client.scram("SCRAM-SHA-256-PLUS", self.scram("SHA-256", (kind, data)))
            self.assertIn("<failure", answer)
            self.assertIn("<not-authorized/>", answer)

    @threaded
    def test_downgrade(self) -> None:
        """A client that was made to believe that the server cannot bind is protected."""
        client = self.client()
        client.secure()
        answer = client.scram("SCRAM-SHA-256", self.scram("SHA-256", flag="y"))
        self.assertIn("<not-authorized/>", answer)
        client = self.client()
        client.open()
        answer = client.scram("SCRAM-SHA-256", self.scram("SHA-256", flag="y"))
        self.assertIn("<success", answer)

    @threaded
    def test_flag_and_mechanism(self) -> None:
        """A binding without -PLUS, and -PLUS without a binding, are malformed."""
        for mechanism, flag in (("SCRAM-SHA-1", "p=tls-exporter"), ("SCRAM-SHA-1-PLUS", "n")):
            client = self.client()
            client.secure()
            answer = client.scram(mechanism, self.scram("SHA-1", flag=flag))
            self.assertIn("<malformed-request/>", answer)

    @threaded
    def test_renewed_certificate(self) -> None:
        """After a renewal each connection binds to the certificate that it was shown."""
        old = self.client()
        old.secure()
        for file in (self.folder / "data").glob("self-signed*"):
            file.unlink()
        self.reload()
        new = self.client()
        new.secure()
        self.assertNotEqual(self.end_point(old), self.end_point(new))
        for client in (old, new):
            exchange = self.scram("SHA-1", ("tls-server-end-point", self.end_point(client)))
            self.assertIn("<success", client.scram("SCRAM-SHA-1-PLUS", exchange))

    @threaded
    def test_wrong_password(self) -> None:
        """A wrong password and an unknown user get the same answers."""
        answers = []
        for user in ("alice", "nobody"):
            client = self.client()
            client.open()
            answers.append(client.scram("SCRAM-SHA-1", Scram(user, "wrong", "sha1")))
        self.assertEqual(answers[0], answers[1])
        self.assertIn("<not-authorized/>", answers[0])


class ExternalTests(LiveTestCase):
    """Certificates of clients (XEP-0178)."""

    listener_options = "tls.mode = 'starttls'\ntls.cacertfile = '{folder}/authority.pem'"
    extra = "sasl_mechanisms = ['scram_sha256', 'external']"

    def prepare(self) -> None:
        """An authority."""
        self.authority = Authority(self.folder)

    def features(self, certificate: Path | None, client: RawClient | None = None) -> str:
        """The features that a client with a certificate gets, empty if TLS is refused.

        TLS 1.3 refuses a client's certificate only after the client's side of the handshake.
        """
        try:
            return (client or self.client()).secure(context(TLS_1_3, certificate))
        except (AssertionError, ConnectionError, SSL.Error):
            return ""

    def login(self, certificate: Path, authzid: str = "") -> str:
        """The answer to EXTERNAL, or the features if that is not offered."""
        client = self.client()
        features = self.features(certificate, client)
        if "EXTERNAL" not in features:
            return features
        answer = client.auth("EXTERNAL", authzid.encode())
        return f"{answer} {client.bind()}" if "<success" in answer else answer

    @threaded
    def test_one_address(self) -> None:
        """A certificate with one address logs in, with or without naming it."""
        certificate = self.authority.issue("alice@localhost")
        for authzid in ("", "alice@localhost"):
            self.assertIn(" alice@localhost/", self.login(certificate, authzid))
        self.assertIn("<invalid-authzid/>", self.login(certificate, "bob@localhost"))

    @threaded
    def test_empty_initial_response(self) -> None:
        """A client that leaves the initial response out is asked."""
        client = self.client()
        self.features(self.authority.issue("alice@localhost"), client)
        self.assertIn("<challenge", client.auth("EXTERNAL"))
        self.assertIn("<success", client.respond(b""))

    @threaded
    def test_several_addresses(self) -> None:
        """A certificate with several addresses logs in as the one that is named."""
        certificate = self.authority.issue("alice@localhost", "bob@localhost")
        self.assertIn(" bob@localhost/", self.login(certificate, "bob@localhost"))
        self.assertIn("<invalid-authzid/>", self.login(certificate))

    @threaded
    def test_no_account(self) -> None:
        """An address of the domain without an account is refused, one elsewhere not even tried."""
        self.assertIn("<not-authorized/>", self.login(self.authority.issue("nobody@localhost")))
        for jids in (("alice@elsewhere.example",), ()):
            features = self.login(self.authority.issue(*jids, common_name="alice"))
            self.assertIn("SCRAM-SHA-256", features)
            self.assertNotIn("EXTERNAL", features)

    @threaded
    def test_refused(self) -> None:
        """No certificate, an expired, a self-signed and a stranger's one end the handshake."""
        stranger = Authority(self.folder, "stranger")
        for certificate in (
            None,
            self.authority.issue("alice@localhost", days=-1),
            self.authority.issue("alice@localhost", self_signed=True),
            stranger.issue("alice@localhost"),
        ):
            self.assertEqual(self.features(certificate), "")


class RevokedTests(ExternalTests):
    """The same, with a list of revoked certificates."""

    listener_options = ExternalTests.listener_options + "\ntls.crl_files = ['{folder}/revoked.pem']"

    def prepare(self) -> None:
        """A list with nothing in it yet."""
        super().prepare()
        self.authority.revoke()

    @threaded
    def test_revoked(self) -> None:
        """A certificate that is on the list after a reload is refused from then on."""
        certificates = [self.authority.issue("alice@localhost") for _ in range(2)]
        for certificate in certificates:
            self.assertIn("<success", self.login(certificate))
        self.authority.revoke(certificates[0])
        self.reload()
        self.assertEqual(self.features(certificates[0]), "")
        self.assertIn("<success", self.login(certificates[1]))


class OptionalTests(ExternalTests):
    """Clients with a bad certificate or none may stay (``disconnect_on_failure = false``)."""

    listener_options = ExternalTests.listener_options + "\ntls.disconnect_on_failure = false"

    @threaded
    def test_refused(self) -> None:
        """A bad certificate proves nothing, but there are other mechanisms."""
        stranger = Authority(self.folder, "stranger")
        for certificate in (
            None,
            self.authority.issue("alice@localhost", days=-1),
            self.authority.issue("alice@localhost", self_signed=True),
            stranger.issue("alice@localhost"),
        ):
            client = self.client()
            features = self.features(certificate, client)
            self.assertNotIn("EXTERNAL", features)
            answer = client.scram("SCRAM-SHA-256", Scram("alice", "secret", "sha256"))
            self.assertIn("<success", answer)


class CommonNameTests(ExternalTests):
    """Names in the subject (``sasl_external = ["standard", "common_name"]``)."""

    extra = ExternalTests.extra + "\nsasl_external = ['standard', 'common_name']"

    @threaded
    def test_no_account(self) -> None:
        """The common name stands for the user where there is no address."""
        for name in ("alice", "alice@localhost"):
            certificate = self.authority.issue(common_name=name)
            for authzid in ("", "alice@localhost"):
                self.assertIn(" alice@localhost/", self.login(certificate, authzid))
            self.assertIn("<invalid-authzid/>", self.login(certificate, "bob@localhost"))
        self.assertIn("<not-authorized/>", self.login(self.authority.issue(common_name="nobody")))


class SelfSignedTests(ExternalTests):
    """``verify_mode = "selfsigned_peer"``: TLS lets self-signed certificates in."""

    listener_options = ExternalTests.listener_options + "\ntls.verify_mode = 'selfsigned_peer'"

    @threaded
    def test_refused(self) -> None:
        """A self-signed certificate is let in but proves nothing; others stay refused."""
        stranger = Authority(self.folder, "stranger")
        own = self.authority.issue("alice@localhost", self_signed=True)
        self.assertIn("SCRAM", self.features(own))
        self.assertNotIn("EXTERNAL", self.features(own))
        for certificate in (
            self.authority.issue("alice@localhost", days=-1),
            self.authority.issue("alice@localhost", self_signed=True, days=-1),
            stranger.issue("alice@localhost"),
        ):
            self.assertEqual(self.features(certificate), "")


class TrustedTests(SelfSignedTests):
    """The same where the operator has all certificates believed (method ``pki``)."""

    users = ()
    extra = ExternalTests.extra + "\nmethods = ['pki']"

    @threaded
    def test_refused(self) -> None:
        """A self-signed certificate logs in."""
        own = self.authority.issue("alice@localhost", self_signed=True)
        self.assertIn(" alice@localhost/", self.login(own))

    @threaded
    def test_no_account(self) -> None:
        """Nobody needs an account."""
        self.assertIn("<success", self.login(self.authority.issue("nobody@localhost")))


class AnonymousTests(LiveTestCase):
    """Guests (XEP-0175)."""

    listener_options = "tls.mode = 'starttls'"
    extra = "methods = ['internal', 'anonymous']"

    @threaded
    def test_guests(self) -> None:
        """Guests get names of their own, are known while they are there, and gone after."""
        clients = [self.client() for _ in range(2)]
        names = []
        for client in clients:
            self.assertIn("<mechanism>ANONYMOUS</mechanism>", client.open())
            self.assertIn("<success", client.auth("ANONYMOUS"))
            names.append(client.bind().partition("/")[0])
        self.assertNotEqual(*names)
        clients[0].send(f"<iq type='get' id='1' to='{names[1]}'><q xmlns='a:b'/></iq>")
        self.assertIn("service-unavailable", clients[0].until("</iq>"))
        clients[1].send("</stream:stream>")
        clients[1].rest()
        clients[0].send(f"<message id='2' to='{names[1]}'><body>x</body></message>")
        self.assertIn("service-unavailable", clients[0].until("</message>"))


class SlixmppTests(LiveTestCase):
    """A client that others wrote."""

    listener_options = (
        "tls.mode = 'starttls'\ntls.certfile = '{folder}/server.pem'\n"
        "tls.cacertfile = '{folder}/authority.pem'\ntls.disconnect_on_failure = false"
    )
    extra = (
        "methods = ['internal', 'anonymous']\n"
        "sasl_mechanisms = ['scram_sha512_plus', 'scram_sha512', 'scram_sha256_plus',"
        " 'scram_sha256', 'scram_sha1_plus', 'scram_sha1', 'plain', 'anonymous', 'external']"
    )

    def prepare(self) -> None:
        """Certificates of the server and of a client."""
        self.authority = Authority(self.folder)
        self.authority.issue(domain="localhost", file="server.pem")
        self.own = self.authority.issue("alice@localhost")

    def log_in(self, version: str, *mechanisms: str) -> dict[str, str]:
        """Who was logged in by which mechanism."""
        arguments = [str(self.port), str(self.authority.file), str(self.own), version]
        done = subprocess.run(
            [sys.executable, str(SLIXMPP), *arguments, *mechanisms],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        self.assertEqual(done.returncode, 0, done.stderr)
        return dict(line.split(" ") for line in done.stdout.splitlines())

    @threaded
    def test_each_mechanism(self) -> None:
        """slixmpp logs in by every mechanism that it has."""
        scram = [f"SCRAM-{name}" for name in HASHES]
        names = [*scram, "PLAIN", "EXTERNAL", "any"]
        found = self.log_in("TLSv1_3", *names, "ANONYMOUS")
        self.assertNotEqual(found.pop("ANONYMOUS"), "")
        self.assertEqual(found, dict.fromkeys(names, "alice@localhost"))

    @threaded
    def test_older_binding(self) -> None:
        """With TLS 1.2 slixmpp binds by tls-unique, as RFC 5802 has it."""
        names = [f"SCRAM-{name}-PLUS" for name in HASHES]
        found = self.log_in("TLSv1_2", *names, "any")
        self.assertEqual(found, dict.fromkeys([*names, "any"], "alice@localhost"))
