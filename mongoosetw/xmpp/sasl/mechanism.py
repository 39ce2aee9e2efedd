"""What the SASL mechanisms of a server share: their surroundings, and the shape of one exchange."""

import secrets
from abc import ABC, abstractmethod
from binascii import b2a_base64
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from os import urandom
from typing import ClassVar, Final

from mongoosetw.xmpp.jid import JID, InvalidJID
from mongoosetw.xmpp.sasl.keys import ScramKeys
from mongoosetw.xmpp.sasl.steps import Failure, Step

__all__ = ["Mechanism", "SaslContext", "channel_bindings", "random_nonce"]

_PROCESS_SECRET: Final = secrets.token_bytes(32)


def random_nonce() -> str:
    """A fresh nonce of 144 random bits in characters that SCRAM allows (RFC 5802 §5.1)."""
    return b2a_base64(urandom(18), newline=False).decode()


@dataclass(slots=True)
class SaslContext:
    """What a mechanism may know about the stream it authenticates.

    Attributes:
        domain: the domain that the client wants to log in to.
        secure: whether the stream is protected by TLS.
        bindings: the channel bindings of the connection by name, the preferred one first, each with
            the function that makes its data: exchanges without channel binding never call it.
        certificate_jids: XMPP addresses of the client's verified certificate.
        common_name: its subject's common name, empty unless that may stand for an account.
        allow_plain_without_tls: whether PLAIN may run on an unprotected stream.
        nonce: gives an unpredictable nonce of printable ASCII without commas.
        secret: the key from which the salts of unknown users are made; nodes of one cluster
            should share it, lest two nodes answer differently for an account that does not exist.
        iterations: the iteration count that unknown users are shown.
    """

    domain: str
    secure: bool = False
    bindings: Mapping[str, Callable[[], bytes]] = field(default_factory=dict)
    certificate_jids: tuple[JID, ...] = ()
    common_name: str = ""
    allow_plain_without_tls: bool = False
    nonce: Callable[[], str] = random_nonce
    secret: bytes = _PROCESS_SECRET
    iterations: int = 10000


    @property
    def certified(self) -> bool:
        """Whether there is a certificate that may name accounts."""
        return bool(self.certificate_jids or self.common_name)


def channel_bindings(context: SaslContext) -> tuple[str, ...]:
    """Names of the channel bindings to announce (XEP-0440), the preferred one first."""
    return tuple(context.bindings) if context.secure else ()


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
