"""Whole stanzas, read at once rather than from a stream."""

from typing import Final

from mongoosetw.xmpp import ns
from mongoosetw.xmpp.parser import StreamParser
from mongoosetw.xmpp.stanza import Name, Stanza

_HEADER: Final = f"<stream:stream xmlns='{ns.CLIENT}' xmlns:stream='{ns.STREAM}'>".encode()


def parse_stanza(xml: bytes) -> Stanza:
    """Reads one whole stanza.

    :raises ValueError: it is not one well-formed stanza.
    """
    parser = StreamParser()
    events = parser.feed(_HEADER + xml)[1:]
    parser.close()
    if len(events) != 1 or not isinstance(events[0], Stanza):
        raise ValueError(f"not one stanza: {events}")
    return events[0]


def child_names(inner: bytes) -> tuple[Name, ...]:
    """The names of the elements that stand side by side in ``inner``."""
    return parse_stanza(b"<message>" + inner + b"</message>").children
