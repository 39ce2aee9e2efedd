"""What the SASL mechanisms of a server share: their surroundings, and the shape of one exchange."""

import base64
import secrets
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar, Final

from mongoosetw.xmpp.jid import JID, InvalidJID
from mongoosetw.xmpp.sasl.keys import ScramKeys
from mongoosetw.xmpp.sasl.steps import Failure, Step

__all__ = ["Mechanism", "SaslContext", "channel_bindings", "random_nonce"]

_PROCESS_SECRET: Final = secrets.token_bytes(32)


def random_nonce() -> str:
    """A fresh nonce of 144 random bits in characters that SCRAM allows (RFC 5802 §5.1)."""
    return base64.b64encode(secrets.token_bytes(18)).decode()


@dataclass(slots=True)
class SaslContext:
    """What a mechanism may know about the stream it authenticates.

    Attributes:
        domain: the domain that the client wants to log in to.
        secure: whether the stream is protected by TLS.
        tls_exporter: keying material of RFC 9266, or None if the connection has none.
        tls_server_end_point: hash of the server's certificate (RFC 5929 §4), or None.
        certificate_jids: XMPP addresses of the client's verified certificate.
        allow_plain_without_tls: whether PLAIN may run on an unprotected stream.
        nonce: gives an unpredictable nonce of printable ASCII without commas.
        tls_version: the protocol's name, such as ``"TLSv1.3"``, or None if unknown.
        secret: the key from which the salts of unknown users are made; nodes of one cluster
            should share it, lest two nodes answer differently for an account that does not exist.
        iterations: the iteration count that unknown users are shown.
    """

    domain: str
    secure: bool = False
    tls_exporter: bytes | None = None
    tls_server_end_point: bytes | None = None
    certificate_jids: tuple[JID, ...] = ()
    allow_plain_without_tls: bool = False
    nonce: Callable[[], str] = random_nonce
    tls_version: str | None = None
    secret: bytes = _PROCESS_SECRET
    iterations: int = 10000


def channel_binding_data(context: SaslContext) -> dict[str, bytes]:
    """The channel bindings that the stream can have and their data, the preferred one first."""
    data: dict[str, bytes] = {}
    # RFC 9266 §4.2: before TLS 1.3 the exporter is safe only with the extended master secret,
    # and whether the connection has that is not visible here.
    if context.tls_exporter is not None and context.tls_version in (None, "TLSv1.3"):
        data["tls-exporter"] = context.tls_exporter
    if context.tls_server_end_point is not None:
        data["tls-server-end-point"] = context.tls_server_end_point
    return data if context.secure else {}


def channel_bindings(context: SaslContext) -> list[str]:
    """Names of the channel bindings to announce (XEP-0440), the preferred one first."""
    return list(channel_binding_data(context))


class Mechanism(ABC):
    """One exchange of one SASL mechanism, as seen by the server.

    The driver calls :meth:`respond` with the client's decoded data and acts on the step it gets;
    after ``Success`` or ``Failure`` the exchange is over.
    """

    name: ClassVar[str] = ""

    def __init__(self, context: SaslContext) -> None:
        self.context = context

    @abstractmethod
    def respond(self, data: bytes | None) -> Step:
        """The step after the client's `data`; None: no initial response (RFC 6120 §6.4.2)."""

    def supply_keys(self, keys: ScramKeys | None) -> Step:
        """The step after the keys that ``NeedKeys`` asked for; None if there are none."""
        return malformed("keys were not asked for")

    def supply_verdict(self, ok: bool) -> Step:
        """The step after the password check that ``NeedPassword`` asked for."""
        return malformed("a verdict was not asked for")


def malformed(text: str) -> Failure:
    """The failure for data that breaks the mechanism's grammar (RFC 6120 §6.5.7)."""
    return Failure("malformed-request", text)


def local_name(name: str, domain: str) -> str | None:
    """The localpart that a simple user name stands for, or None (RFC 6120 §6.3.7)."""
    try:
        return JID.of(name, domain).local
    except InvalidJID:
        return None


def authorization(text: str, username: str, domain: str) -> JID | Failure:
    """The identity to act as when `username` asks for `text` (RFC 6120 §6.3.8).

    Only the user's own bare address is granted.
    """
    try:
        wanted = JID.parse(text)
    except InvalidJID:
        return Failure("invalid-authzid", "the authorization identity is no XMPP address")
    if wanted != JID.of(username, domain):
        return Failure("invalid-authzid", "acting for another account is not permitted")
    return wanted
