"""Resource binding (RFC 6120 §7) and the session request of RFC 3921."""

import re
from os import urandom
from typing import TYPE_CHECKING, Any, Final

from twisted.internet.defer import Deferred

from mongoosetw.auth.anonymous import GUEST
from mongoosetw.c2s.session import Session
from mongoosetw.hooks.bus import HookFailed, started
from mongoosetw.hooks.c2s import OpenSession, SessionLike, SessionOpened
from mongoosetw.xmpp import ns
from mongoosetw.xmpp.errors import StanzaError, stanza_error
from mongoosetw.xmpp.jid import JID, InvalidJID
from mongoosetw.xmpp.stanza import Stanza, escape

if TYPE_CHECKING:  # types only
    from mongoosetw.c2s.stream import ClientStream
    from mongoosetw.host import Host

_BIND = (ns.BIND, "bind")
_SESSION = (ns.SESSION, "session")
_DEFAULT_MAX_SESSIONS = 100
REPLACED: Final = ("conflict", "Replaced by new connection")
"""RFC 6120 §7.7.2.2: what a session is told in whose place there is a newer one."""
_GUEST: Final = frozenset({GUEST})
# What nearly all clients write; anything else is read as a tree.
_RESOURCE: Final = re.compile(
    rb"<bind xmlns=['\"]%b['\"] ?><resource>([^<&\r]*)</resource></bind>" % ns.BIND.encode()
)


def is_bind(stanza: Stanza) -> bool:
    """Whether this is a request to bind a resource."""
    return stanza.type == "set" and _BIND in stanza.children


def is_session(stanza: Stanza) -> bool:
    """Whether this is the session request of RFC 3921 §3."""
    return stanza.type == "set" and _SESSION in stanza.children


def bind(stream: "ClientStream", stanza: Stanza) -> Deferred[None] | None:
    """Binds a resource and answers; on an error the client may try again (§7.6.2, §7.7.2).

    :returns: a Deferred while a module has to wait.
    """
    assert stream.host is not None and stream.user is not None
    located = stream.host.prepare((stream.user,))
    if located is not None:
        return started(_bind_when(located, stream, stanza))
    try:
        if not stanza.id:
            raise StanzaError("bad-request")  # RFC 6120 §8.2.3
        session = Session(stream, stream.host, _wanted_address(stream.user, stanza))
        session.flags = _GUEST if stream.guest else session.flags
        pending = stream.host.hooks.fire(OpenSession(session))
    except (StanzaError, HookFailed) as error:
        _refuse(stream, stanza, error)
        return None
    if isinstance(pending, Deferred):
        return started(_open_later(pending, stream, session, stanza))
    return _come_home(stream, session, stanza)


async def _bind_when(
    located: Deferred[None], stream: "ClientStream", stanza: Stanza
) -> None:
    await located
    if not stream.closed:
        pending = bind(stream, stanza)
        if pending is not None:
            await pending


async def _open_later(
    pending: Deferred[Any], stream: "ClientStream", session: Session, stanza: Stanza
) -> None:
    try:
        await pending
    except (StanzaError, HookFailed) as error:
        _refuse(stream, stanza, error)
    else:
        coming = _come_home(stream, session, stanza)
        if coming is not None:
            await coming


def _come_home(
    stream: "ClientStream", session: Session, stanza: Stanza
) -> Deferred[None] | None:
    """Opens the session when what is on its way to one of another node has arrived there."""
    cluster = session.host.server.cluster
    coming = None if cluster is None else cluster.relay.comes_home(session.jid)
    if coming is None:
        _open(stream, session, stanza)
    else:
        coming.addCallback(lambda _: _open(stream, session, stanza))
    return coming


def _refuse(stream: "ClientStream", stanza: Stanza, error: Exception) -> None:
    stream.write(stanza.error(stanza_error(error)).to_bytes())


def _open(stream: "ClientStream", session: Session, stanza: Stanza) -> None:
    if stream.closed:
        return
    replaced = register(session.host, session)
    stream.bound(session)
    payload = f"<bind xmlns='{ns.BIND}'><jid>{escape(str(session.jid))}</jid></bind>"
    stream.write(stanza.result(payload).to_bytes())
    session.host.hooks.fire(SessionOpened(session, replaced))


def register(host: "Host", session: Session) -> SessionLike | None:
    """Makes the session known; one with the same address has to go (§7.7.2.2 case 3).

    :returns: that one.
    """
    others = host.sessions.of(session.bare)
    ids = host.server.session_ids
    if others:
        ids.stay_above(others[-1].sid)  # the clock of another node may be fast
    # Made anew: while this session had to wait, newer ones may have come, and gone.
    session.sid = ids.next()
    older = host.sessions.get(session.jid)
    if older is not None and older.local:
        older.close(*REPLACED)
    host.sessions.add(session)  # a node that has an older one closes it, when it is told
    close_surplus(host, session.bare)
    return older


def close_surplus(host: "Host", user: JID) -> None:
    """Closes the oldest sessions of a user who has too many; each node closes its own."""
    sessions = host.sessions.of(user)
    if len(sessions) < 2:
        return
    most = max(1, host.access.number("max_user_sessions", user, _DEFAULT_MAX_SESSIONS))
    if len(sessions) > most:
        for session in sessions[: len(sessions) - int(most)]:
            if session.local:
                session.close(*REPLACED)


def _wanted_address(user: JID, stanza: Stanza) -> JID:
    """The full JID that the client asks for, or one with a resource that we make.

    :raises StanzaError: ``bad-request`` for a malformed resource (§7.7.2.1).
    """
    plain = _RESOURCE.fullmatch(stanza.inner)
    if plain is not None:
        wanted = plain[1].decode()
    else:
        element = stanza.child(*_BIND)
        resources = () if element is None else element.elements()
        wanted = next((str(e) for e in resources if e.name == "resource"), "")
    try:
        return user.with_resource(wanted or urandom(8).hex())
    except InvalidJID as error:
        raise StanzaError("bad-request", text=str(error)) from error
