"""The header of a stream: what the client's says, and ours in answer (RFC 6120 §4.7)."""

import re
from os import urandom
from typing import TYPE_CHECKING, Final

from mongoosetw.xmpp import negotiation
from mongoosetw.xmpp.errors import StreamError
from mongoosetw.xmpp.jid import JID, InvalidJID

if TYPE_CHECKING:  # types only
    from mongoosetw.c2s.stream import ClientStream
    from mongoosetw.host import Host

_VERSION: Final = re.compile(r"0*[1-9][0-9]*\.[0-9]+")
"""1.0 or later: whoever speaks more is answered with 1.0 (RFC 6120 §4.7.5)."""


def answer_header(stream: "ClientStream", attributes: dict[str, str]) -> "Host":
    """Answers the client's header with ours; the host that the client wants.

    :raises StreamError: what is wrong with the client's header.
    """
    server = stream.listener.server
    wanted = attributes.get("to", server.default_domain)
    host = server.host_for_name(wanted)
    write_header(stream, host, attributes.get("from"))
    if host is None or (stream.user is not None and host.domain != stream.user.domain):
        raise StreamError("host-unknown")
    if not _VERSION.fullmatch(attributes.get("version", "0.9")):
        raise StreamError("unsupported-version")  # RFC 6120 §4.9.3.25
    if stream.user is not None and not _is(stream.user, attributes.get("from")):
        raise StreamError("invalid-from")  # RFC 6120 §4.9.3.9
    return host


def _is(user: JID, claimed: str | None) -> bool:
    """Whether a client may say this. Some name their machine, as Perl's XML::Stream does."""
    if claimed is None or "@" not in claimed:
        return True
    try:
        return JID.parse(claimed).bare == user
    except InvalidJID:
        return False


def write_header(stream: "ClientStream", host: "Host | None" = None, to: str | None = None) -> None:
    """Writes our header; for a client that named no host of ours, in the default one's name."""
    server = stream.listener.server
    general = server.config.general
    name = "" if general.hide_service_name else server.default_domain
    domain = host.domain if host is not None else name
    identifier = urandom(10).hex()  # RFC 6120 §4.7.3: unique, and not to be guessed
    stream.write(negotiation.header(domain, identifier, general.language, to))
    stream.opened = True
