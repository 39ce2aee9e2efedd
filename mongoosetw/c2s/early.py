"""What modules take of a client that has no session yet."""

from typing import TYPE_CHECKING

from mongoosetw.hooks.bus import STOP, HookFailed
from mongoosetw.hooks.c2s import UnauthenticatedIQ, UnboundNonza
from mongoosetw.xmpp.errors import StanzaError, StreamError
from mongoosetw.xmpp.parser import Nonza
from mongoosetw.xmpp.stanza import Stanza

if TYPE_CHECKING:  # types only
    from mongoosetw.c2s.stream import ClientStream
    from mongoosetw.host import Host


async def unauthenticated_iq(stream: "ClientStream", host: "Host", iq: Stanza) -> None:
    """An iq before the login.

    :raises StreamError: nobody takes it, or TLS has to come first.
    """
    if stream.listener.tls_required and not stream.secure:
        raise StreamError("policy-violation", "TLS is required")
    try:
        if await host.hooks.run(UnauthenticatedIQ(host, stream, iq)) is not STOP:
            raise StreamError("not-authorized")
    except (StanzaError, HookFailed) as error:
        reason = error if isinstance(error, StanzaError) else "internal-server-error"
        stream.write(iq.error(reason).to_bytes())


async def unbound_nonza(stream: "ClientStream", host: "Host", nonza: Nonza) -> None:
    """An element that is no stanza, between login and binding.

    :raises StreamError: nobody takes it.
    """
    try:
        outcome = await host.hooks.run(UnboundNonza(host, stream, nonza))
    except HookFailed as error:
        raise StreamError("internal-server-error") from error
    if outcome is not STOP:
        raise StreamError("unsupported-stanza-type")
