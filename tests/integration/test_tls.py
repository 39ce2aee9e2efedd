"""TLS on real sockets: versions, ciphers, names, certificates that change while it runs."""

import ssl

from cryptography import x509

from mongoosetw.config.errors import ConfigErrors
from tests.integration.certificates import Authority
from tests.integration.live import LiveTestCase, threaded
from tests.integration.raw import RawClient, header

HOSTS = ("localhost", "one.example", "bücher.example")


class TLSTestCase(LiveTestCase):
    """A server with a certificate for each of its domains."""

    hosts = HOSTS
    mode = "starttls"
    tls_options = ""

    def prepare(self) -> None:
        """An authority, and a certificate for each domain."""
        self.authority = Authority(self.folder)
        self.authority.issue(domain="localhost", file="default.pem")
        self.authority.issue(domain="one.example", file="one.pem")
        self.authority.issue(domain="xn--bcher-kva.example", file="books.pem")

    def configuration(self) -> str:
        """Names the certificates."""
        own = [("One.Example", "one.pem"), ("bücher.example", "books.pem")]
        certificates = ", ".join(f'{{domain = "{d}", certfile = "{f}"}}' for d, f in own)
        return "\n".join(
            (
                f"[general]\nhosts = {list(self.hosts)}",
                f"[[listen.c2s]]\nport = {self.port}\nip_address = '127.0.0.1'",
                f"tls.mode = '{self.mode}'\ntls.certfile = 'default.pem'",
                f"tls.certificates = [{certificates}]\n{self.tls_options}",
                "[auth]\npassword.scram_iterations = 4096",
            )
        )

    def shown(self, client: RawClient) -> str:
        """The domain of the certificate that a client was shown."""
        assert client.tls is not None
        certificate = client.tls.get_peer_certificate(as_cryptography=True)
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName)
        return str(names.value.get_values_for_type(x509.DNSName)[0])

    def standard(self, context: ssl.SSLContext) -> ssl.SSLSocket:
        """A connection of the standard library's TLS, after the handshake.

        :raises OSError: the handshake failed.
        """
        client = self.client()
        if self.mode != "tls":
            client.open()
            client.send("<starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>")
            client.until("/>")
        connection = context.wrap_socket(client.socket, server_hostname="localhost")
        self.addCleanup(connection.close)
        return connection

    def context(self) -> ssl.SSLContext:
        """What the standard library's client wants: our authority, verified names."""
        return ssl.create_default_context(cafile=str(self.authority.file))


class StartTLSTests(TLSTestCase):
    """STARTTLS (RFC 6120 §5)."""

    @threaded
    def test_certificate_by_name(self) -> None:
        """Each domain shows its own certificate, asked for by SNI; other names get the default."""
        cases = {
            "one.example": "one.example",
            "ONE.example": "one.example",
            "xn--bcher-kva.example": "xn--bcher-kva.example",
            "elsewhere.example": "localhost",
        }
        for name, domain in cases.items():
            client = self.client()
            client.secure(name=name)
            self.assertEqual(self.shown(client), domain, name)

    @threaded
    def test_verified_by_a_standard_client(self) -> None:
        """Python's own TLS accepts the certificate and gets on with the stream."""
        connection = self.standard(self.context())
        connection.sendall(header().encode())
        self.assertIn(b"id=", connection.recv(4096))

    @threaded
    def test_versions(self) -> None:
        """TLS 1.2 and 1.3 are spoken, 1.1 is refused."""
        for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
            context = self.context()
            context.minimum_version = context.maximum_version = version
            shown = self.standard(context).version()
            self.assertEqual(shown, version.name.replace("_", "."))
        context = self.context()
        context.set_ciphers("ALL:@SECLEVEL=0")
        context.minimum_version = ssl.TLSVersion.TLSv1
        context.maximum_version = ssl.TLSVersion.TLSv1_1
        self.assertRaises(ssl.SSLError, self.standard, context)

    @threaded
    def test_weak_ciphers(self) -> None:
        """Ciphers without forward secrecy, without authentication, or with CBC are refused."""
        for ciphers in ("AES256-SHA", "AES128-GCM-SHA256", "ADH:AECDH", "ECDHE-ECDSA-AES128-SHA"):
            context = self.context()
            context.set_ciphers(f"{ciphers}:@SECLEVEL=0")
            context.maximum_version = ssl.TLSVersion.TLSv1_2
            self.assertRaises(ssl.SSLError, self.standard, context)

    @threaded
    def test_alpn(self) -> None:
        """The protocol xmpp-client is chosen; a client that names others only is served, too."""
        for offered, chosen in ((["h2", "xmpp-client"], "xmpp-client"), (["h2"], None)):
            context = self.context()
            context.set_alpn_protocols(offered)
            self.assertEqual(self.standard(context).selected_alpn_protocol(), chosen)

    @threaded
    def test_reload(self) -> None:
        """A renewed certificate is shown to new connections, and old ones go on."""
        old = self.client("one.example")
        old.secure()
        before = self.serial(old)
        self.authority.issue(domain="one.example", file="one.pem")
        self.reload()
        new = self.client("one.example")
        new.secure()
        self.assertNotEqual(self.serial(new), before)
        self.assertIn("<success", old.plain("alice"))
        self.assertIn("alice@one.example/", old.bind())

    def serial(self, client: RawClient) -> int:
        """The serial number of the certificate that a client was shown."""
        assert client.tls is not None
        number: int = client.tls.get_peer_certificate().get_serial_number()
        return number

    @threaded
    def test_reload_of_broken_files(self) -> None:
        """A broken certificate or key changes nothing; the error names the option and the file."""
        good = (self.folder / "one.pem").read_text()
        key, certificate = good.split("-----BEGIN CERTIFICATE-----")
        other = self.authority.issue(domain="one.example").read_text()
        broken = {
            "nonsense": "holds no certificate",
            key: "holds no certificate",
            "-----BEGIN CERTIFICATE-----" + certificate: "holds no private key",
            key + other[other.index("-----BEGIN CERT") :]: "is not the key",
        }
        for text, reason in broken.items():
            (self.folder / "one.pem").write_text(text)
            error = str(self.assertRaises(ConfigErrors, self.reload))
            self.assertIn("listen.c2s[0].tls.certificates[0].certfile", error)
            self.assertIn(str(self.folder / "one.pem"), error)
            self.assertIn(reason, error)
        client = self.client("one.example")
        client.secure()
        self.assertEqual(self.shown(client), "one.example")


class DirectTLSTests(StartTLSTests):
    """The same with TLS from the first byte (XEP-0368)."""

    mode = "tls"

    def client(self, domain: str = "localhost") -> RawClient:
        """Does without STARTTLS."""
        client = super().client(domain)
        client.secure = lambda context=None, name=None: (  # type: ignore[method-assign]
            client.start_tls(context, name) or client.open()
        )
        return client

    @threaded
    def test_no_starttls(self) -> None:
        """STARTTLS is not offered, and is refused."""
        client = self.client()
        self.assertNotIn("<starttls", client.secure())
        client.send("<starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>")
        self.assertIn("<unsupported-stanza-type", client.rest())

    @threaded
    def test_xml_without_tls(self) -> None:
        """A client that speaks XML at once is cut off; others are not disturbed."""
        client = self.client()
        client.send(header())
        client.socket.settimeout(20)
        try:
            while client.socket.recv(4096):
                pass
        except ConnectionResetError:
            pass
        self.client().secure()


class OptionTests(TLSTestCase):
    """Operators may narrow what is spoken."""

    tls_options = "tls.versions = ['tlsv1.3']"

    @threaded
    def test_versions(self) -> None:
        """With TLS 1.3 alone, TLS 1.2 is refused."""
        self.assertEqual(self.standard(self.context()).version(), "TLSv1.3")
        context = self.context()
        context.maximum_version = ssl.TLSVersion.TLSv1_2
        self.assertRaises(ssl.SSLError, self.standard, context)


class CipherTests(TLSTestCase):
    """Option ``ciphers``."""

    tls_options = "tls.ciphers = 'ECDHE-ECDSA-AES256-GCM-SHA384:TLS_CHACHA20_POLY1305_SHA256'"

    @threaded
    def test_ciphers(self) -> None:
        """Only the named ciphers are spoken, of TLS 1.2 and of TLS 1.3."""
        context = self.context()
        cipher = self.standard(context).cipher()
        assert cipher is not None
        self.assertEqual(cipher[0], "TLS_CHACHA20_POLY1305_SHA256")
        context.maximum_version = ssl.TLSVersion.TLSv1_2
        context.set_ciphers("ECDHE-ECDSA-AES128-GCM-SHA256")
        self.assertRaises(ssl.SSLError, self.standard, context)

    @threaded
    def test_unknown_ciphers(self) -> None:
        """A list without a known cipher is an error of the configuration."""
        text = self.configuration().replace("ECDHE-ECDSA-AES256-GCM-SHA384", "NONE-SUCH")
        self.write_configuration(text)
        error = str(self.assertRaises(ConfigErrors, self.reload))
        self.assertIn("listen.c2s[0].tls.ciphers", error)
