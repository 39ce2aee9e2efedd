"""Whole stanzas, read at once rather than from a stream."""

import sys
from typing import Final

from mongoosetw.xmpp import ns
from mongoosetw.xmpp.parser import Limits, StreamParser
from mongoosetw.xmpp.stanza import Name, Stanza

_HEADER: Final = f"<stream:stream xmlns='{ns.CLIENT}' xmlns:stream='{ns.STREAM}'>".encode()
_BOUNDLESS: Final = Limits(sys.maxsize, sys.maxsize, sys.maxsize)


def parse_stanza(xml: bytes) -> Stanza:
    """Reads one whole stanza, of whatever size.

    Limits are for what a peer sends. Since then the server may have added something, as its
    sender or its id in an archive; and what was taken has to be read again.

    :raises ValueError: it is not one well-formed stanza.
    """
    parser = StreamParser(_BOUNDLESS)
    events = parser.feed(_HEADER + xml)[1:]
    parser.close()
    if len(events) != 1 or not isinstance(events[0], Stanza):
        raise ValueError(f"not one stanza: {events}")
    return events[0]


def child_names(inner: bytes) -> tuple[Name, ...]:
    """The names of the elements that stand side by side in ``inner``."""
    return parse_stanza(b"<message>" + inner + b"</message>").children
