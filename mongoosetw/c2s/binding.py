"""Resource binding (RFC 6120 §7) and the session request of RFC 3921."""

import secrets
from typing import TYPE_CHECKING

from mongoosetw.c2s.session import Session
from mongoosetw.hooks.bus import HookFailed
from mongoosetw.hooks.c2s import OpenSession, SessionOpened
from mongoosetw.xmpp import ns
from mongoosetw.xmpp.errors import StanzaError
from mongoosetw.xmpp.jid import JID, InvalidJID
from mongoosetw.xmpp.stanza import Stanza, escape

if TYPE_CHECKING:  # types only
    from mongoosetw.c2s.stream import ClientStream
    from mongoosetw.host import Host

_BIND = (ns.BIND, "bind")
_SESSION = (ns.SESSION, "session")
_DEFAULT_MAX_SESSIONS = 100


def is_bind(stanza: Stanza) -> bool:
    """Whether this is a request to bind a resource."""
    return stanza.type == "set" and _BIND in stanza.children


def is_session(stanza: Stanza) -> bool:
    """Whether this is the session request of RFC 3921 §3."""
    return stanza.type == "set" and _SESSION in stanza.children


async def bind(stream: "ClientStream", stanza: Stanza) -> None:
    """Binds a resource and answers; on an error the client may try again (§7.6.2, §7.7.2)."""
    assert stream.host is not None and stream.user is not None
    try:
        jid = _wanted_address(stream.user, stanza)
        session = Session(stream, stream.host, jid)
        await stream.host.hooks.run(OpenSession(session))
    except StanzaError as error:
        stream.write(stanza.error(error).to_bytes())
        return
    except HookFailed:
        stream.write(stanza.error("internal-server-error").to_bytes())
        return
    if stream.state_.value == "closed":
        return
    register(stream.host, session)
    stream.bound(session)
    payload = f"<bind xmlns='{ns.BIND}'><jid>{escape(str(jid))}</jid></bind>"
    stream.write(stanza.result(payload).to_bytes())
    stream.host.hooks.fire(SessionOpened(session))


def register(host: "Host", session: Session) -> None:
    """Makes the session known; one with the same address has to go (§7.7.2.2 case 3)."""
    older = host.sessions.get(session.jid)
    if older is not None:
        older.close("conflict", "Replaced by new connection")
        host.sessions.remove(older)
    most = host.access.number("max_user_sessions", session.bare, _DEFAULT_MAX_SESSIONS)
    others = host.sessions.of(session.bare)
    if len(others) >= most:
        others[0].close("conflict", "Replaced by new connection")
    host.sessions.add(session)


def _wanted_address(user: JID, stanza: Stanza) -> JID:
    """The full JID that the client asks for, or one with a resource that we make.

    :raises StanzaError: ``bad-request`` for a malformed resource (§7.7.2.1).
    """
    element = stanza.child(*_BIND)
    wanted = ""
    if element is not None:
        wanted = next((str(e) for e in element.elements() if e.name == "resource"), "")
    try:
        return user.with_resource(wanted or secrets.token_hex(8))
    except InvalidJID as error:
        raise StanzaError("bad-request", text=str(error)) from error
