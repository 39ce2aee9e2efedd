"""Tests of SCRAM: the exchanges of the RFCs, channel binding, and what attackers try."""

import base64
import hashlib
import hmac

from twisted.trial.unittest import SynchronousTestCase

from mongoosetw.xmpp.jid import JID
from mongoosetw.xmpp.sasl import (
    Challenge,
    Failure,
    Mechanism,
    NeedKeys,
    SaslContext,
    ScramKeys,
    Step,
    Success,
    create,
)
from mongoosetw.xmpp.sasl.keys import HASHES, derive


def context(**changes: object) -> SaslContext:
    """A TLS 1.3 stream to example.com."""
    values: dict[str, object] = {
        "domain": "example.com",
        "secure": True,
        "bindings": {"tls-exporter": lambda: b"exported"},
        "nonce": lambda: "server",
        "secret": b"secret",
    }
    return SaslContext(**(values | changes))  # type: ignore[arg-type]


def proof(password: str, hash_name: str, first: str, server: str, final: str) -> str:
    """What a client answers that knows the password (RFC 5802 §3)."""
    fields = dict(field.split("=", 1) for field in server.split(","))
    salt = base64.b64decode(fields["s"])
    salted = hashlib.pbkdf2_hmac(hash_name, password.encode(), salt, int(fields["i"]))
    key = hmac.digest(salted, b"Client Key", hash_name)
    message = f"{first},{server},{final}".encode()
    signature = hmac.digest(hashlib.new(hash_name, key).digest(), message, hash_name)
    return base64.b64encode(bytes(a ^ b for a, b in zip(key, signature, strict=True))).decode()


class Client:
    """A SCRAM client against one mechanism of the server."""

    def __init__(
        self, mechanism: Mechanism, gs2: str = "n,,", user: str = "user", binding: bytes = b""
    ) -> None:
        self.mechanism = mechanism
        self.gs2, self.user, self.binding = gs2, user, binding
        self.first = f"n={user},r=client"

    def begin(self) -> Step:
        return self.mechanism.respond(f"{self.gs2}{self.first}".encode())

    def finish(self, keys: ScramKeys | None, password: str, hash_name: str = "sha256") -> Step:
        challenge = self.mechanism.supply_keys(keys)
        assert isinstance(challenge, Challenge)
        server = challenge.data.decode()
        channel = base64.b64encode(self.gs2.encode() + self.binding).decode()
        final = f"c={channel},r={server.split(',')[0][2:]}"
        answer = proof(password, hash_name, self.first, server, final)
        return self.mechanism.respond(f"{final},p={answer}".encode())


KEYS = derive("pencil", "sha256", 64, b"salt")


class ExchangeTests(SynchronousTestCase):
    """Exchanges that succeed."""

    def run_vector(
        self, name: str, nonces: tuple[str, str], salt: str, answer: str, verifier: str
    ) -> None:
        hash_name = {"SCRAM-SHA-1": "sha1", "SCRAM-SHA-256": "sha256"}[name]
        mechanism = create(name, context(nonce=lambda: nonces[1], bindings={}))
        step = mechanism.respond(f"n,,n=user,r={nonces[0]}".encode())
        self.assertEqual(step, NeedKeys("user", hash_name))
        step = mechanism.supply_keys(derive("pencil", hash_name, 4096, base64.b64decode(salt)))
        nonce = "".join(nonces)
        self.assertEqual(step, Challenge(f"r={nonce},s={salt},i=4096".encode()))
        step = mechanism.respond(f"c=biws,r={nonce},p={answer}".encode())
        self.assertEqual(step, Success("user", None, f"v={verifier}".encode()))

    def test_sha1_of_rfc_5802(self) -> None:
        """The exchange of RFC 5802 §5 goes as printed there."""
        self.run_vector(
            "SCRAM-SHA-1",
            ("fyko+d2lbbFgONRv9qkxdawL", "3rfcNHYJY1ZVvWVs7j"),
            "QSXCR+Q6sek8bf92",
            "v0X8v3Bz2T0CJGbJQyF0X+HI4Ts=",
            "rmF9pqV8S7suAoZWja4dJRkFsKQ=",
        )

    def test_sha256_of_rfc_7677(self) -> None:
        """The exchange of RFC 7677 §3 goes as printed there."""
        self.run_vector(
            "SCRAM-SHA-256",
            ("rOprNGfwEbeRWgbNEkqO", "%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0"),
            "W22ZaJ0SNY7soEsUEjb6gQ==",
            "dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=",
            "6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=",
        )

    def test_every_hash(self) -> None:
        """Each hash has a mechanism that lets the right password in."""
        for hash_name in HASHES:
            client = Client(create(f"SCRAM-SHA-{hash_name[3:]}", context()))
            self.assertEqual(client.begin(), NeedKeys("user", hash_name))
            keys = derive("pencil", hash_name, 16, b"salt")
            self.assertIsInstance(client.finish(keys, "pencil", hash_name), Success)

    def test_no_initial_response(self) -> None:
        """A client that sends nothing first is asked with an empty challenge."""
        mechanism = create("SCRAM-SHA-256", context())
        self.assertEqual(mechanism.respond(None), Challenge(b""))
        client = Client(mechanism)
        client.begin()
        self.assertIsInstance(client.finish(KEYS, "pencil"), Success)

    def test_escaped_name(self) -> None:
        """Escapes in the user name are undone, and the name is prepared."""
        client = Client(create("SCRAM-SHA-256", context()), user="A=2Cb=3D")
        self.assertEqual(client.begin(), NeedKeys("a,b=", "sha256"))

    def test_own_authzid(self) -> None:
        """The user's own address is granted as authorization identity."""
        client = Client(create("SCRAM-SHA-256", context()), gs2="n,a=user@example.com,")
        client.begin()
        step = client.finish(KEYS, "pencil")
        assert isinstance(step, Success)
        self.assertEqual(step.authzid, JID.parse("user@example.com"))


class BindingTests(SynchronousTestCase):
    """Channel binding (RFC 5802 §6)."""

    def bound(self, binding: bytes, name: str = "tls-exporter", **changes: object) -> Step:
        mechanism = create("SCRAM-SHA-256-PLUS", context(**changes))
        client = Client(mechanism, f"p={name},,", binding=binding)
        step = client.begin()
        return client.finish(KEYS, "pencil") if isinstance(step, NeedKeys) else step

    def test_same_channel(self) -> None:
        """Client and server that see the same TLS connection agree."""
        self.assertIsInstance(self.bound(b"exported"), Success)

    def test_end_point(self) -> None:
        """The certificate's hash is a channel binding, too."""
        step = self.bound(
            b"hash", "tls-server-end-point", bindings={"tls-server-end-point": lambda: b"hash"}
        )
        self.assertIsInstance(step, Success)

    def test_another_channel(self) -> None:
        """A man in the middle has another TLS connection, and is found out."""
        step = self.bound(b"other")
        assert isinstance(step, Failure)
        self.assertEqual(step.condition, "not-authorized")

    def test_binding_that_is_not_there(self) -> None:
        """A channel binding that the connection does not have is refused."""
        self.assertIsInstance(self.bound(b"x", "tls-unique"), Failure)
        self.assertIsInstance(self.bound(b"exported", bindings={}), Failure)
        self.assertIsInstance(self.bound(b"exported", secure=False), Failure)

    def test_flag_and_mechanism_disagree(self) -> None:
        """-PLUS needs the flag p, the others must not have it."""
        for name, gs2 in (
            ("SCRAM-SHA-256-PLUS", "n,,"),
            ("SCRAM-SHA-256-PLUS", "y,,"),
            ("SCRAM-SHA-256", "p=tls-exporter,,"),
        ):
            step = Client(create(name, context()), gs2).begin()
            assert isinstance(step, Failure)
            self.assertEqual(step.condition, "malformed-request")

    def test_downgrade(self) -> None:
        """A client that was not shown -PLUS although it was offered is not let in."""
        for offered in (None, ["SCRAM-SHA-256-PLUS", "SCRAM-SHA-256"]):
            step = Client(create("SCRAM-SHA-256", context(), offered), "y,,").begin()
            assert isinstance(step, Failure)
            self.assertEqual(step.condition, "not-authorized")

    def test_no_downgrade(self) -> None:
        """Where -PLUS is not offered, a client may say that it saw none."""
        for mechanism in (
            create("SCRAM-SHA-256", context(), ["SCRAM-SHA-256", "PLAIN"]),
            create("SCRAM-SHA-256", context(bindings={})),
        ):
            client = Client(mechanism, "y,,")
            client.begin()
            self.assertIsInstance(client.finish(KEYS, "pencil"), Success)


class RefusalTests(SynchronousTestCase):
    """Exchanges that fail."""

    def condition(self, step: Step) -> str:
        assert isinstance(step, Failure), step
        return step.condition

    def test_wrong_password(self) -> None:
        """A wrong password is refused."""
        client = Client(create("SCRAM-SHA-256", context()))
        client.begin()
        self.assertEqual(self.condition(client.finish(KEYS, "pen")), "not-authorized")

    def test_unknown_user_looks_known(self) -> None:
        """An unknown user gets a lasting salt, the usual exchange, and the same failure."""
        challenges = []
        for _ in range(2):
            client = Client(create("SCRAM-SHA-256", context()))
            client.begin()
            challenges.append(client.mechanism.supply_keys(None))
        self.assertEqual(challenges[0], challenges[1])
        self.assertIn(b",i=10000", challenges[0].data)  # type: ignore[union-attr]
        known, unknown = (Client(create("SCRAM-SHA-256", context())) for _ in range(2))
        known.begin()
        unknown.begin()
        self.assertEqual(known.finish(KEYS, "pen"), unknown.finish(None, "pen"))

    def test_unknown_users_differ(self) -> None:
        """Two unknown users do not share a salt, which would give them away."""
        steps = []
        for user in ("one", "two"):
            client = Client(create("SCRAM-SHA-256", context()), user=user)
            client.begin()
            steps.append(client.mechanism.supply_keys(None))
        self.assertNotEqual(steps[0], steps[1])

    def test_foreign_authzid(self) -> None:
        """Nobody may act for another account."""
        for authzid in ("other@example.com", "user@example.net", "@"):
            client = Client(create("SCRAM-SHA-256", context()), f"n,a={authzid},")
            self.assertEqual(self.condition(client.begin()), "invalid-authzid")

    def test_malformed_first_messages(self) -> None:
        """What breaks the grammar is refused at once."""
        for data in (
            b"",
            b"n,,",
            b"n=user,r=x",
            b"n,,n=user",
            b"n,,n=,r=x",
            b"n,,m=ext,n=user,r=x",
            b"n,,n=us=er,r=x",
            b"n,,n=user,r=\x01",
            b"n,,n=\xff,r=x",
        ):
            step = create("SCRAM-SHA-256", context()).respond(data)
            self.assertEqual(self.condition(step), "malformed-request", data)

    def test_malformed_final_messages(self) -> None:
        """A final message with a wrong nonce, binding or proof is refused."""
        for data, expected in (
            (b"", "malformed-request"),
            (b"c=biws,r=clientserver", "malformed-request"),
            (b"c=biws,r=clientserver,p=AAAA", "malformed-request"),
            (b"c=biws,r=clientserver,p=A", "malformed-request"),
            (b"c=biws,r=clientother,p=AAAA", "not-authorized"),
            (b"c=eSws,r=clientserver,p=AAAA", "not-authorized"),
        ):
            client = Client(create("SCRAM-SHA-256", context()))
            client.begin()
            client.mechanism.supply_keys(KEYS)
            step = client.mechanism.respond(data)
            self.assertEqual(self.condition(step), expected, data)

    def test_one_guess_only(self) -> None:
        """After a failed proof the exchange is over."""
        client = Client(create("SCRAM-SHA-256", context()))
        client.begin()
        client.finish(KEYS, "pen")
        self.assertEqual(self.condition(client.mechanism.respond(b"x")), "malformed-request")

    def test_out_of_turn(self) -> None:
        """A driver that mixes up the order gets a failure, not a login."""
        mechanism = create("SCRAM-SHA-256", context())
        self.assertEqual(self.condition(mechanism.supply_keys(KEYS)), "malformed-request")
        self.assertEqual(self.condition(mechanism.supply_verdict(True)), "malformed-request")
        mechanism.respond(b"n,,n=user,r=x")
        self.assertEqual(self.condition(mechanism.respond(b"n,,n=user,r=x")), "malformed-request")

    def test_secrets_stay_out_of_logs(self) -> None:
        """The text form of keys shows none of them."""
        self.assertNotIn(repr(KEYS.stored_key), repr(KEYS))
