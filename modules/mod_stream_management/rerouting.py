"""What becomes of stanzas that a client has not acknowledged when its session is over."""

from collections.abc import Iterable

from mongoosetw.c2s.session import Session
from mongoosetw.hooks.bus import STOP
from mongoosetw.hooks.routing import UnacknowledgedMessage
from mongoosetw.xmpp.delay import delayed
from mongoosetw.xmpp.errors import StanzaError
from mongoosetw.xmpp.sm import Unacknowledged, stanza_of


def reroute(session: Session, items: Iterable[Unacknowledged]) -> None:
    """Treats stanzas as if they had been sent to an unavailable resource (XEP-0198 §4)."""
    host = session.host
    for data, entry, at in items:
        stanza = stanza_of(data, entry)
        if stanza.kind == "iq":
            # RFC 6121 §8.5.3.2.3; answers to an iq are dropped by the router
            host.router.bounce(stanza, StanzaError("service-unavailable"))
        elif stanza.kind == "message":
            if host.hooks.fire(UnacknowledgedMessage(stanza, session)) is not STOP:
                if stanza.type in ("", "normal"):
                    # It was accepted once: RFC 6121 §8.5.3.2.1 would refuse it now.
                    stanza = stanza.copy(to=session.bare)
                host.route(delayed(stanza, host.domain, at))
