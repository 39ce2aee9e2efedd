"""What a client may send in each state of its stream, and the XML that answers it.

One table holds the rules (RFC 6120 §4.3, §5.3, §6.3, §7.1): an input that the table does
not have in a state is refused with the stream error that it names.
"""

from collections.abc import Iterable
from enum import Enum
from typing import Final

from mongoosetw.xmpp import ns
from mongoosetw.xmpp.errors import StreamError
from mongoosetw.xmpp.stanza import escape
from mongoosetw.xmpp.xep import XEP

XEPS = (XEP(440, "1.0.0"),)


class State(Enum):
    """How far a client's stream has come."""

    CONNECTED = "connected"  # waits for the first header
    OPEN = "open"  # features offered, not authenticated
    SASL = "sasl"  # an exchange is under way
    PROVEN = "proven"  # authenticated, waits for the new header
    BINDING = "binding"  # features offered, no resource yet
    BOUND = "bound"
    CLOSED = "closed"


class Input(Enum):
    """What a client can send."""

    HEADER = "header"
    STARTTLS = "starttls"
    AUTH = "auth"
    RESPONSE = "response"
    ABORT = "abort"
    IQ = "iq"
    STANZA = "stanza"
    NONZA = "nonza"
    CLOSE = "close"


_LEGAL: Final = {
    State.CONNECTED: {Input.HEADER, Input.CLOSE},
    State.OPEN: {
        Input.STARTTLS,
        Input.AUTH,
        Input.ABORT,
        Input.IQ,
        Input.NONZA,
        Input.CLOSE,
    },
    State.SASL: {Input.RESPONSE, Input.ABORT, Input.CLOSE},
    State.PROVEN: {Input.HEADER, Input.CLOSE},
    State.BINDING: {Input.IQ, Input.NONZA, Input.CLOSE},
    State.BOUND: {Input.IQ, Input.STANZA, Input.NONZA, Input.CLOSE},
    State.CLOSED: set(),
}

_NONZAS: Final = {
    (ns.TLS, "starttls"): Input.STARTTLS,
    (ns.SASL, "auth"): Input.AUTH,
    (ns.SASL, "response"): Input.RESPONSE,
    (ns.SASL, "abort"): Input.ABORT,
    (ns.STREAM, "stream"): Input.HEADER,
    (ns.STREAM, "error"): Input.CLOSE,  # RFC 6120 §4.9.1.1: the peer ends its stream
}


def classify(name: tuple[str, str]) -> Input:
    """What a top-level element that is no stanza asks for."""
    return _NONZAS.get(name, Input.NONZA)


def check(state: State, received: Input) -> None:
    """Refuses an input that is illegal in a state.

    :raises StreamError: ``not-authorized`` for anything too early (RFC 6120 §4.9.3.12),
        ``unsupported-stanza-type`` for negotiation that is over (§4.9.3.24).
    """
    if received in _LEGAL[state]:
        return
    if state in (State.BINDING, State.BOUND) and received is not Input.STANZA:
        raise StreamError("unsupported-stanza-type")
    raise StreamError("not-authorized")


def header(domain: str, stream_id: str, lang: str, to: str | None) -> bytes:
    """The server's stream header (RFC 6120 §4.7); without a domain it names no sender."""
    addressed = f" from='{escape(domain)}'" if domain else ""
    addressed += f" to='{escape(to)}'" if to else ""
    return (
        f"<?xml version='1.0'?><stream:stream xmlns='{ns.CLIENT}' xmlns:stream='{ns.STREAM}'"
        f" id='{stream_id}'{addressed} version='1.0' xml:lang='{lang}'>"
    ).encode()


def features(elements: Iterable[bytes]) -> bytes:
    """The stream features (RFC 6120 §4.3.2)."""
    return b"<stream:features>" + b"".join(elements) + b"</stream:features>"


def starttls(*, required: bool) -> bytes:
    """The STARTTLS feature (RFC 6120 §5.4.1)."""
    inner = "<required/>" if required else ""
    return f"<starttls xmlns='{ns.TLS}'>{inner}</starttls>".encode()


def mechanisms(names: Iterable[str], bindings: Iterable[str]) -> bytes:
    """The SASL feature (RFC 6120 §6.4.1), with XEP-0440's types of channel binding."""
    offered = "".join(f"<mechanism>{name}</mechanism>" for name in names)
    types = "".join(f"<channel-binding type='{name}'/>" for name in bindings)
    if types:
        types = f"<sasl-channel-binding xmlns='{ns.CHANNEL_BINDING}'>{types}</sasl-channel-binding>"
    return f"<mechanisms xmlns='{ns.SASL}'>{offered}</mechanisms>{types}".encode()


def sasl_failure(condition: str, text: str = "") -> bytes:
    """A failed exchange (RFC 6120 §6.4.5)."""
    reason = f"<text xml:lang='en'>{escape(text)}</text>" if text else ""
    return f"<failure xmlns='{ns.SASL}'><{condition}/>{reason}</failure>".encode()


def stream_error(error: StreamError) -> bytes:
    """The error element that ends a stream (RFC 6120 §4.9.2)."""
    text = ""
    if error.text:
        text = f"<text xmlns='{ns.STREAMS}' xml:lang='en'>{escape(error.text)}</text>"
    condition = f"<{error.condition} xmlns='{ns.STREAMS}'"
    if error.content:
        condition += f">{escape(error.content)}</{error.condition}>"
    else:
        condition += "/>"
    head = f"<stream:error>{condition}{text}"
    return head.encode() + error.app + b"</stream:error>"


CLOSING: Final = b"</stream:stream>"
PROCEED: Final = f"<proceed xmlns='{ns.TLS}'/>".encode()
BIND: Final = f"<bind xmlns='{ns.BIND}'/>".encode()
# RFC 3921 §3; optional since RFC 6121 appendix E
SESSION: Final = f"<session xmlns='{ns.SESSION}'><optional/></session>".encode()
