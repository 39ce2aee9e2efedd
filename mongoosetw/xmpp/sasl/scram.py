"""SASL SCRAM with and without channel binding (RFC 5802, RFC 7677, RFC 9266)."""

import base64
import binascii
import hashlib
import hmac
import re
from typing import ClassVar, Final, NamedTuple

from mongoosetw.xmpp.jid import JID
from mongoosetw.xmpp.sasl.keys import ScramKeys
from mongoosetw.xmpp.sasl.mechanism import (
    Mechanism,
    SaslContext,
    authorization,
    channel_bindings,
    local_name,
    malformed,
)
from mongoosetw.xmpp.sasl.steps import Challenge, Failure, NeedKeys, Step, Success

__all__ = ["Scram"]

# RFC 5802 §7; "m=" would announce an extension that nobody has defined, so it does not match.
_CLIENT_FIRST: Final = re.compile(
    r"(?P<gs2>(?P<flag>[ny]|p=(?P<binding>[A-Za-z0-9.-]+)),(?:a=(?P<authzid>[^,]+))?,)"
    r"(?P<bare>n=(?P<name>[^,]+),r=(?P<nonce>[!-+\--~]+)(?:,[A-Za-z]=[^,]+)*)"
)
_CLIENT_FINAL: Final = re.compile(
    r"(?P<bare>c=(?P<channel>[A-Za-z0-9+/=]+),r=(?P<nonce>[!-+\--~]+)(?:,[A-Za-z]=[^,]+)*)"
    r",p=(?P<proof>[A-Za-z0-9+/=]+)"
)
_WRONG: Final = Failure("not-authorized", "the user name or the password is wrong")


class _First(NamedTuple):
    """What is kept of the client's first message and of the server's answer."""

    channel: bytes
    nonce: str
    transcript: str


class Scram(Mechanism):
    """One SCRAM exchange; subclasses (see :func:`scram_mechanism`) fix hash and binding."""

    hash_name: ClassVar[str] = ""
    plus: ClassVar[bool] = False

    def __init__(self, context: SaslContext, plus_offered: bool) -> None:
        super().__init__(context)
        self._plus_offered = plus_offered
        self._username = ""
        self._authzid: JID | None = None
        self._client: re.Match[str] | None = None
        self._first: _First | None = None
        self._keys: ScramKeys | None = None
        self._known = False

    def respond(self, data: bytes | None) -> Step:
        """Takes the client's first or final message (RFC 5802 §5)."""
        if data is None:
            return Challenge(b"")
        try:
            text = data.decode()
        except UnicodeDecodeError:
            return malformed("a SCRAM message is UTF-8")
        if self._first is not None:
            return self._final(text, self._first)
        return malformed("one message at a time") if self._client else self._start(text)

    def _start(self, text: str) -> Step:
        """The client's first message: RFC 5802 §5, §7."""
        client = _CLIENT_FIRST.fullmatch(text)
        if client is None:
            return malformed("this is no SCRAM client-first-message")
        failure = self._binding_failure(client["flag"][0], client["binding"])
        if failure is not None:
            return failure
        name, authzid = _unescape(client["name"]), _unescape(client["authzid"] or "")
        if name is None or authzid is None:
            return malformed("'=' must be followed by 2C or 3D")
        return self._identify(client, name, authzid)

    def _binding_failure(self, flag: str, binding: str | None) -> Failure | None:
        # RFC 5802 §6: the flag must agree with the mechanism.
        if (flag == "p") is not self.plus:
            return malformed("channel binding flag and mechanism do not agree")
        # RFC 5802 §6: "y" is a client that was made to believe that the server cannot bind.
        if flag == "y" and self._plus_offered:
            return Failure("not-authorized", "channel binding was offered: somebody hid it")
        if binding is not None and binding not in channel_bindings(self.context):
            return Failure("not-authorized", f"channel binding {binding} is not available")
        return None

    def _identify(self, client: re.Match[str], name: str, authzid: str) -> Step:
        username = local_name(name, self.context.domain)
        if username is None:
            return _WRONG
        if authzid:
            granted = authorization(authzid, username, self.context.domain)
            if isinstance(granted, Failure):
                return granted
            self._authzid = granted
        self._client, self._username = client, username
        return NeedKeys(username, self.hash_name)

    def supply_keys(self, keys: ScramKeys | None) -> Step:
        """Makes the challenge from the account's keys, or from a decoy's (RFC 5802 §5.1)."""
        client = self._client
        if client is None or self._first is not None:
            return malformed("keys were not asked for")
        self._known = keys is not None
        self._keys = keys = keys or _decoy(self.context, self._username, self.hash_name)
        nonce = client["nonce"] + self.context.nonce()
        salt = base64.b64encode(keys.salt).decode()
        server_first = f"r={nonce},s={salt},i={keys.iterations}"
        channel = client["gs2"].encode()
        if self.plus:
            channel += self.context.bindings[client["binding"]]()
        self._first = _First(channel, nonce, f"{client['bare']},{server_first}")
        return Challenge(server_first.encode())

    def _final(self, text: str, first: _First) -> Step:
        """The client's final message: RFC 5802 §5, §7."""
        keys, self._keys = self._keys, None
        if keys is None:
            return malformed("the exchange is over")
        final = _CLIENT_FINAL.fullmatch(text)
        if final is None:
            return malformed("this is no SCRAM client-final-message")
        try:
            channel = base64.b64decode(final["channel"], validate=True)
            proof = base64.b64decode(final["proof"], validate=True)
        except binascii.Error:
            return malformed("this is not base64")
        # RFC 5802 §5.1: nonce and channel binding must be those of the first messages.
        same = final["nonce"] == first.nonce and hmac.compare_digest(channel, first.channel)
        if not same:
            return Failure("not-authorized", "nonce or channel binding differ")
        return self._verify(keys, f"{first.transcript},{final['bare']}".encode(), proof)

    def _verify(self, keys: ScramKeys, message: bytes, proof: bytes) -> Step:
        """RFC 5802 §3: whether the hash of (proof XOR signature) is the stored key."""
        signature = hmac.digest(keys.stored_key, message, self.hash_name)
        if len(proof) != len(signature):
            return malformed("the proof has the wrong length")
        mixed = int.from_bytes(proof, "big") ^ int.from_bytes(signature, "big")
        stored = hashlib.new(self.hash_name, mixed.to_bytes(len(proof), "big")).digest()
        verifier = hmac.digest(keys.server_key, message, self.hash_name)
        # `_known` last: an unknown user costs the same work as a wrong password.
        if not (hmac.compare_digest(stored, keys.stored_key) and self._known):
            return _WRONG
        return Success(self._username, self._authzid, b"v=" + base64.b64encode(verifier))


def scram_mechanism(mechanism: str, hash_name_: str, with_binding: bool) -> type[Scram]:
    """The class for the SCRAM mechanism named `mechanism`."""

    class Variant(Scram):
        name = mechanism
        hash_name = hash_name_
        plus = with_binding

    return Variant


def _decoy(context: SaslContext, username: str, hash_name: str) -> ScramKeys:
    """Keys for a user who has none: always the same salt, which nobody can tell from a real one."""
    seed = f"{hash_name}\0{username}\0{context.domain}".encode()
    salt = hmac.digest(context.secret, seed, "sha256")[:16]
    key = hmac.digest(context.secret, salt, hash_name)
    return ScramKeys(salt, context.iterations, key, key)


def _unescape(text: str) -> str | None:
    # RFC 5802 §5.1: "," and "=" are sent as "=2C" and "=3D"; any other "=" is an error.
    if "=" not in text:
        return text
    if re.search("=(?!2C|3D)", text):
        return None
    return text.replace("=2C", ",").replace("=3D", "=")
