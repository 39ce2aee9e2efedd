"""What a stream offers its client (RFC 6120 §4.3.2), rendered once for all streams alike."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from mongoosetw.c2s.login import sasl_context
from mongoosetw.hooks.c2s import StreamFeatures
from mongoosetw.xmpp import negotiation, sasl

if TYPE_CHECKING:  # types only
    from mongoosetw.c2s.stream import ClientStream
    from mongoosetw.host import Host

_KINDS_KNOWN: Final = 100


@dataclass(frozen=True, slots=True)
class Offer:
    """The features of a stream.

    :ivar xml: ``<stream:features/>``.
    :ivar mechanisms: the SASL mechanisms that are among them.
    """

    xml: bytes
    mechanisms: tuple[str, ...]


def offer(stream: "ClientStream", host: "Host") -> Offer:
    """The features that the stream offers now.

    Kept in ``host.offers``, which is emptied when handlers or the configuration change.
    """
    if stream.user is not None:
        return _remembered(stream, host, None)
    return _remembered(stream, host, sasl_context(stream, host))


def _remembered(stream: "ClientStream", host: "Host", context: sasl.SaslContext | None) -> Offer:
    if context is not None and context.certified:
        return _render(stream, host, context)[0]  # EXTERNAL depends on the certificate
    bindings = None if context is None else sasl.channel_bindings(context)
    kind = (stream.listener, stream.secure, bindings)
    known = host.offers.get(kind)
    if known is None:
        known, alike = _render(stream, host, context)
        if alike and len(host.offers) < _KINDS_KNOWN:
            host.offers[kind] = known
    return known


def _render(
    stream: "ClientStream", host: "Host", context: sasl.SaslContext | None
) -> tuple[Offer, bool]:
    """An offer, and whether it is the same for streams alike."""
    found: list[bytes] = []
    mechanisms: tuple[str, ...] = ()
    listener = stream.listener
    if context is None:
        found.append(negotiation.BIND)
        if listener.options.backwards_compatible_session:
            found.append(negotiation.SESSION)
    else:
        if listener.offers_starttls and not stream.secure:
            found.append(negotiation.starttls(required=listener.tls_required))
        if stream.secure or not listener.tls_required:
            names = host.mechanisms(listener.accounts(host))
            mechanisms = tuple(sasl.available(names, context))
            plus = any(name.endswith("-PLUS") for name in mechanisms)
            bindings = sasl.channel_bindings(context) if plus else ()
            if mechanisms:
                found.append(negotiation.mechanisms(mechanisms, bindings))
    event = StreamFeatures(host, stream, context is None, found)
    host.hooks.fire(event)
    return Offer(negotiation.features(event.features), mechanisms), event.alike
