"""SASL for servers, without I/O: mechanisms take the client's data, return steps (RFC 6120 §6)."""

from mongoosetw.xmpp.sasl.keys import ScramKeys
from mongoosetw.xmpp.sasl.mechanism import Mechanism, SaslContext, channel_bindings
from mongoosetw.xmpp.sasl.mechanisms import (
    DEFAULT_MECHANISMS,
    InvalidMechanism,
    available,
    create,
    wire_name,
)
from mongoosetw.xmpp.sasl.steps import (
    Challenge,
    Failure,
    NeedKeys,
    NeedPassword,
    Step,
    Success,
)

__all__ = [
    "DEFAULT_MECHANISMS",
    "Challenge",
    "Failure",
    "InvalidMechanism",
    "Mechanism",
    "NeedKeys",
    "NeedPassword",
    "SaslContext",
    "ScramKeys",
    "Step",
    "Success",
    "available",
    "channel_bindings",
    "create",
    "wire_name",
]
