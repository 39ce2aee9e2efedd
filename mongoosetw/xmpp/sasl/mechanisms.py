"""The table of SASL mechanisms: which can be offered on a stream, and a new exchange of one."""

from collections.abc import Callable, Collection, Iterable
from typing import Final

from mongoosetw.xmpp.sasl.anonymous import Anonymous
from mongoosetw.xmpp.sasl.external import External, certified_accounts
from mongoosetw.xmpp.sasl.keys import HASHES
from mongoosetw.xmpp.sasl.mechanism import Mechanism, SaslContext, channel_bindings
from mongoosetw.xmpp.sasl.plain import Plain
from mongoosetw.xmpp.sasl.scram import Scram, scram_mechanism

__all__ = ["DEFAULT_MECHANISMS", "InvalidMechanism", "available", "create", "wire_name"]

DEFAULT_MECHANISMS: Final = (
    "SCRAM-SHA-512-PLUS",
    "SCRAM-SHA-256-PLUS",
    "SCRAM-SHA-1-PLUS",
    "SCRAM-SHA-512",
    "SCRAM-SHA-256",
    "SCRAM-SHA-1",
    "PLAIN",
    "ANONYMOUS",
)
"""The mechanisms that are offered where possible, in this order, unless configured otherwise."""


class InvalidMechanism(ValueError):
    """The client chose a mechanism that is unknown or not offered (RFC 6120 §6.5.8)."""


def _scram_classes() -> dict[str, type[Scram]]:
    classes = {}
    for hash_name in HASHES:
        name = "SCRAM-SHA-" + hash_name.removeprefix("sha")
        classes[name] = scram_mechanism(name, hash_name, with_binding=False)
        classes[name + "-PLUS"] = scram_mechanism(name + "-PLUS", hash_name, with_binding=True)
    return classes


_SCRAM: Final = _scram_classes()
_SIMPLE: Final[dict[str, Callable[[SaslContext], Mechanism]]] = {
    "PLAIN": Plain,
    "EXTERNAL": External,
    "ANONYMOUS": Anonymous,
}
# The names that configurations use, such as "scram_sha256_plus".
_BY_OPTION: Final = {
    name.replace("SHA-", "SHA").replace("-", "_").lower(): name for name in (*_SCRAM, *_SIMPLE)
}


def wire_name(name: str) -> str:
    """The registered name of a mechanism, from itself or an option's value (``scram_sha256_plus``).

    Raises InvalidMechanism if there is no such mechanism.
    """
    found = _BY_OPTION.get(name, name)
    if found not in _SCRAM and found not in _SIMPLE:
        raise InvalidMechanism(f"no such SASL mechanism: {name}")
    return found


def available(names: Iterable[str], context: SaslContext) -> list[str]:
    """The registered names of those of `names` that the stream can offer, in the same order.

    Raises InvalidMechanism if one of them does not exist.
    """
    return [name for name in map(wire_name, names) if _possible(name, context)]


def _possible(name: str, context: SaslContext) -> bool:
    if name == "PLAIN":
        return context.secure or context.allow_plain_without_tls
    if name == "EXTERNAL":
        # XEP-0178 §2: only if the client presented a certificate that names one of our accounts.
        return bool(certified_accounts(context))
    return bool(channel_bindings(context)) if name.endswith("-PLUS") else True


def create(name: str, context: SaslContext, offered: Collection[str] | None = None) -> Mechanism:
    """A new exchange of the mechanism with the registered name `name`.

    `offered` are the mechanisms that the client was shown: others are refused, and a SCRAM client
    that saw none with channel binding is trusted when it says so. None: all that are possible.
    Raises InvalidMechanism.
    """
    if offered is not None and name not in offered:
        raise InvalidMechanism(f"SASL mechanism was not offered: {name}")
    if name in _SIMPLE:
        return _SIMPLE[name](context)
    if name not in _SCRAM:
        raise InvalidMechanism(f"no such SASL mechanism: {name}")
    bindings = bool(channel_bindings(context))
    shown = offered is None or any(other.endswith("-PLUS") for other in offered)
    return _SCRAM[name](context, plus_offered=bindings and shown)
