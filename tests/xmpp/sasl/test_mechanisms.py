"""Tests of PLAIN, EXTERNAL and ANONYMOUS, and of what is offered when."""

from twisted.trial.unittest import SynchronousTestCase

from mongoosetw.xmpp.jid import JID
from mongoosetw.xmpp.sasl import (
    DEFAULT_MECHANISMS,
    Challenge,
    Failure,
    InvalidMechanism,
    NeedPassword,
    SaslContext,
    Step,
    Success,
    available,
    channel_bindings,
    create,
    wire_name,
)

TLS = SaslContext("example.com", secure=True)
ROMEO = JID.parse("romeo@example.com")


def condition(step: Step) -> str:
    """The failure's condition."""
    assert isinstance(step, Failure), step
    return step.condition


class OfferTests(SynchronousTestCase):
    """Which mechanisms a stream offers."""

    def test_order_is_kept(self) -> None:
        """Mechanisms are offered in the configured order, by their registered names."""
        names = ["plain", "scram_sha1", "scram_sha512"]
        self.assertEqual(available(names, TLS), ["PLAIN", "SCRAM-SHA-1", "SCRAM-SHA-512"])

    def test_plain_needs_tls(self) -> None:
        """PLAIN is offered without TLS only if configured."""
        self.assertEqual(available(["PLAIN"], SaslContext("example.com")), [])
        insecure = SaslContext("example.com", allow_plain_without_tls=True)
        self.assertEqual(available(["PLAIN"], insecure), ["PLAIN"])

    def test_plus_needs_a_channel(self) -> None:
        """-PLUS is offered only where the connection has channel binding data."""
        bound = SaslContext("example.com", True, {"tls-exporter": lambda: b"x"})
        self.assertEqual(available(DEFAULT_MECHANISMS, bound), list(DEFAULT_MECHANISMS))
        self.assertNotIn("SCRAM-SHA-1-PLUS", available(DEFAULT_MECHANISMS, TLS))

    def test_channel_bindings(self) -> None:
        """The announced bindings are those that the connection really has."""
        data = {"tls-exporter": lambda: b"x", "tls-server-end-point": lambda: b"y"}
        bound = SaslContext("example.com", True, data)
        self.assertEqual(channel_bindings(bound), ("tls-exporter", "tls-server-end-point"))
        self.assertEqual(channel_bindings(SaslContext("example.com", False, data)), ())
        self.assertEqual(channel_bindings(TLS), ())

    def test_external_needs_a_certificate(self) -> None:
        """EXTERNAL is offered to clients whose certificate names an account of the domain."""
        self.assertEqual(available(["external"], TLS), [])
        for jid, offered in ((ROMEO, ["EXTERNAL"]), (JID.parse("a@example.net"), [])):
            stream = SaslContext("example.com", True, certificate_jids=(jid,))
            self.assertEqual(available(["external"], stream), offered)

    def test_unknown_names(self) -> None:
        """A name that does not exist, or was not offered, is refused."""
        self.assertRaises(InvalidMechanism, available, ["scram_md5"], TLS)
        self.assertRaises(InvalidMechanism, create, "X", TLS)
        self.assertRaises(InvalidMechanism, create, "PLAIN", TLS, ["SCRAM-SHA-1"])
        self.assertEqual(wire_name("scram_sha256_plus"), "SCRAM-SHA-256-PLUS")


class PlainTests(SynchronousTestCase):
    """PLAIN (RFC 4616)."""

    def test_login(self) -> None:
        """The password is checked for the prepared user name."""
        mechanism = create("PLAIN", TLS)
        self.assertEqual(mechanism.respond(None), Challenge(b""))
        step = mechanism.respond(b"\0Romeo\0secret")
        self.assertEqual(step, NeedPassword("romeo", "secret"))
        self.assertEqual(mechanism.supply_verdict(True), Success("romeo"))

    def test_wrong_password(self) -> None:
        """A negative verdict is the client's failure."""
        mechanism = create("PLAIN", TLS)
        mechanism.respond(b"\0romeo\0wrong")
        self.assertEqual(condition(mechanism.supply_verdict(False)), "not-authorized")

    def test_authzid(self) -> None:
        """One's own address is granted, another's is not."""
        mechanism = create("PLAIN", TLS)
        mechanism.respond(b"romeo@example.com\0romeo\0secret")
        self.assertEqual(mechanism.supply_verdict(True), Success("romeo", ROMEO))
        step = create("PLAIN", TLS).respond(b"juliet@example.com\0romeo\0secret")
        self.assertEqual(condition(step), "invalid-authzid")

    def test_refused_without_tls(self) -> None:
        """The server does not take a password in the clear."""
        step = create("PLAIN", SaslContext("example.com")).respond(b"\0romeo\0secret")
        self.assertEqual(condition(step), "encryption-required")

    def test_malformed(self) -> None:
        """What breaks the grammar is refused."""
        for data in (b"", b"romeo", b"\0romeo", b"\0\0x", b"\0romeo\0", b"\0a\0b\0c", b"\0a\0\xff"):
            step = create("PLAIN", TLS).respond(data)
            self.assertEqual(condition(step), "malformed-request", data)

    def test_impossible_name(self) -> None:
        """A name that no account can have fails like a wrong password."""
        self.assertEqual(condition(create("PLAIN", TLS).respond(b"\0a b\0c")), "not-authorized")

    def test_verdict_out_of_turn(self) -> None:
        """A verdict that nobody asked for lets nobody in."""
        mechanism = create("PLAIN", TLS)
        self.assertEqual(condition(mechanism.supply_verdict(True)), "malformed-request")
        self.assertEqual(condition(mechanism.supply_keys(None)), "malformed-request")
        mechanism.respond(b"\0romeo\0secret")
        step = mechanism.respond(b"\0juliet\0secret")
        self.assertEqual(condition(step), "malformed-request")

    def test_password_stays_out_of_logs(self) -> None:
        """The step's text form does not show the password."""
        self.assertNotIn("secret", repr(NeedPassword("romeo", "secret")))


class ExternalTests(SynchronousTestCase):
    """EXTERNAL (XEP-0178)."""

    def respond(self, data: bytes | None, *jids: str, common_name: str = "") -> Step:
        stream = SaslContext(
            "example.com",
            True,
            certificate_jids=tuple(JID.parse(jid) for jid in jids),
            common_name=common_name,
        )
        return create("EXTERNAL", stream).respond(data)

    def test_only_address(self) -> None:
        """Without an authorization identity the certificate's only address is taken."""
        self.assertEqual(self.respond(b"", "romeo@example.com"), Success("romeo"))
        step = self.respond(b"", "romeo@example.com", "romeo@example.net")
        self.assertEqual(step, Success("romeo"))

    def test_several_addresses(self) -> None:
        """With several addresses the client has to choose."""
        both = ("romeo@example.com", "juliet@example.com")
        self.assertEqual(condition(self.respond(b"", *both)), "invalid-authzid")
        self.assertEqual(self.respond(b"romeo@example.com", *both), Success("romeo", ROMEO))

    def test_foreign_address(self) -> None:
        """An address that the certificate does not name is refused."""
        step = self.respond(b"juliet@example.com", "romeo@example.com")
        self.assertEqual(condition(step), "invalid-authzid")
        self.assertEqual(condition(self.respond(b"@", "romeo@example.com")), "invalid-authzid")
        self.assertEqual(condition(self.respond(b"\xff")), "malformed-request")

    def test_no_address(self) -> None:
        """A certificate without an address of the domain opens nothing."""
        self.assertEqual(condition(self.respond(b"")), "not-authorized")
        step = self.respond(b"romeo@example.net", "romeo@example.net")
        self.assertEqual(condition(step), "not-authorized")

    def test_common_name(self) -> None:
        """A common name stands for a user or an address where no single address is named."""
        both = ("benvolio@example.com", "juliet@example.com")
        for name in ("Romeo", "romeo@example.com", "romeo@example.com/x"):
            for jids in ((), both):
                self.assertEqual(self.respond(b"", *jids, common_name=name), Success("romeo"))
            step = self.respond(b"romeo@example.com", *both, common_name=name)
            self.assertEqual(step, Success("romeo", ROMEO))
        step = self.respond(b"", "juliet@example.com", common_name="romeo")
        self.assertEqual(step, Success("juliet"))
        for name in ("a b", "romeo@example.net", "@", "example.com"):
            self.assertEqual(
                condition(self.respond(b"romeo@example.com", common_name=name)),
                "invalid-authzid" if name == "example.com" else "not-authorized",
            )

    def test_no_initial_response(self) -> None:
        """A client that sends nothing first is asked with an empty challenge."""
        self.assertEqual(self.respond(None, "romeo@example.com"), Challenge(b""))


class AnonymousTests(SynchronousTestCase):
    """ANONYMOUS (XEP-0175)."""

    def test_fresh_names(self) -> None:
        """Every guest gets a name of its own, whatever it sends."""
        steps = [create("ANONYMOUS", TLS).respond(data) for data in (None, b"", b"trace")]
        names = {step.username for step in steps if isinstance(step, Success)}
        self.assertEqual(len(names), 3)
        for name in names:
            self.assertEqual(JID.of(name, "example.com").local, name)
