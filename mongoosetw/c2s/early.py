"""What modules take of a client that has no session yet."""

from typing import TYPE_CHECKING

from mongoosetw.hooks.bus import STOP, HookFailed
from mongoosetw.hooks.c2s import UnauthenticatedIQ, UnauthenticatedNonza, UnboundNonza
from mongoosetw.xmpp.errors import StanzaError, StreamError, stanza_error
from mongoosetw.xmpp.parser import Nonza
from mongoosetw.xmpp.stanza import Stanza

if TYPE_CHECKING:  # types only
    from mongoosetw.c2s.stream import ClientStream
    from mongoosetw.host import Host


def require_tls(stream: "ClientStream") -> None:
    """Refuses everything but STARTTLS where that comes first (RFC 6120 §5.3.1).

    :raises StreamError: as it says.
    """
    if stream.listener.tls_required and not stream.secure:
        raise StreamError("policy-violation", "TLS is required")


async def unauthenticated_iq(stream: "ClientStream", host: "Host", iq: Stanza) -> None:
    """An iq before the login.

    :raises StreamError: nobody takes it, or TLS has to come first.
    """
    require_tls(stream)
    try:
        if await host.hooks.run(UnauthenticatedIQ(host, stream, iq)) is not STOP:
            raise StreamError("not-authorized")
    except (StanzaError, HookFailed) as error:
        stream.write(iq.error(stanza_error(error)).to_bytes())


async def early_nonza(stream: "ClientStream", host: "Host", nonza: Nonza) -> None:
    """An element that is no stanza, before there is a session.

    :raises StreamError: nobody takes it, or TLS has to come first.
    """
    require_tls(stream)
    hook = UnauthenticatedNonza if stream.user is None else UnboundNonza
    try:
        outcome = await host.hooks.run(hook(host, stream, nonza))
    except HookFailed as error:
        raise StreamError("internal-server-error") from error
    if outcome is not STOP:
        raise StreamError("not-authorized" if stream.user is None else "unsupported-stanza-type")
