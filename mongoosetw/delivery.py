"""Local delivery: RFC 6121 §8.5, the rules of its table, for one host."""

from collections.abc import Collection, Iterable
from typing import TYPE_CHECKING

from mongoosetw.cluster.sessions.remote import Elsewhere
from mongoosetw.hooks.bus import STOP, HookFailed
from mongoosetw.hooks.c2s import SessionLike
from mongoosetw.hooks.presence import PresenceRecipients
from mongoosetw.hooks.privacy import PrivacyCheck
from mongoosetw.hooks.routing import OfflineMessage
from mongoosetw.xmpp.errors import StanzaError
from mongoosetw.xmpp.fanout import Fanout
from mongoosetw.xmpp.jid import JID
from mongoosetw.xmpp.stanza import Stanza

if TYPE_CHECKING:  # types only
    from mongoosetw.host import Host


def deliver_message_to_bare(host: "Host", stanza: Stanza) -> bool:
    """Delivers a message for an account to its available resources.

    :returns: False if it is for nobody who is there and may be stored or bounced.
    :raises StanzaError: RFC 6121 §8.5.2.1.1 refuses its type.
    """
    assert stanza.to is not None
    if stanza.type == "groupchat":
        raise StanzaError("service-unavailable")  # RFC 6121 §8.5.2.1.1
    if stanza.type == "error":
        return True  # RFC 6121 §8.5.2.1.1: silently ignored
    able = _able(host, stanza.to.bare)
    # RFC 6121 §8.5.2.1.1: a headline is for all of them; is there none, it is ignored (§8.5.2.2.1)
    headline = stanza.type == "headline"
    chosen = able if headline else most_available(able)
    shared = len(chosen) > 1
    if shared:  # what is logged for other nodes' sessions has its id then for all
        chosen = sorted(chosen, key=_is_local)
    for session in chosen:
        session.deliver(stanza, shared=shared)
    return headline or bool(chosen)


def _is_local(session: SessionLike) -> bool:
    return session.local


def _able(host: "Host", user: JID) -> list[SessionLike]:
    """The resources that take messages for the account: those of no negative priority."""
    return [s for s in host.sessions.of(user) if s.available and (s.priority or 0) >= 0]


def is_anybody_able(host: "Host", user: JID) -> bool:
    """Whether a resource is there that takes messages for the account (bare JID)."""
    return bool(_able(host, user))


def most_available(sessions: list[SessionLike]) -> list[SessionLike]:
    """The resources with the highest priority, all of them (RFC 6121 §8.5.2.1.1)."""
    if len(sessions) < 2:
        return sessions
    highest = max(s.priority or 0 for s in sessions)
    return [s for s in sessions if (s.priority or 0) == highest]


async def undeliverable_message(host: "Host", stanza: Stanza, user: JID) -> None:
    """No resource can take the message: the offline modules, else an error (§8.5.2.2.1).

    :raises StanzaError: ``service-unavailable``: nobody stored it.
    """
    if stanza.type in ("error", "headline"):
        return
    known = await host.accounts.exists(user)
    if not known or await host.hooks.run(OfflineMessage(stanza, host, user)) is not STOP:
        raise StanzaError("service-unavailable")


def deliver_presence(host: "Host", stanza: Stanza) -> None:
    """Delivers presence that a module has addressed; nobody there: ignored (§8.5.2.2.2)."""
    to = stanza.to
    assert to is not None
    if to.is_bare:
        for session in host.sessions.told_of_presence(to):
            session.deliver(stanza)
    elif (found := host.sessions.get(to)) is not None:
        found.deliver(stanza)


def may_see(session: SessionLike, contacts: Collection[JID]) -> Collection[JID]:
    """Those of the contacts to whom a session's presence may be shown.

    :raises HookFailed: a check failed.
    """
    hooks = session.host.hooks
    if not contacts or not hooks.handled(PresenceRecipients):
        return contacts
    event = PresenceRecipients(session, contacts)
    hooks.fire(event)
    return event.recipients


async def hidden_from(sessions: Iterable[SessionLike], contact: JID) -> frozenset[SessionLike]:
    """Those of some sessions, on whatever node they are, that are not shown to a contact."""
    hidden = set()
    for session in sessions:
        if not session.local:
            shown = await is_shown(session.host, session.jid, contact)
        else:
            shown = bool(may_see(session, (contact,)))
        if not shown:
            hidden.add(session)
    return frozenset(hidden)


async def is_shown(host: "Host", jid: JID, contact: JID) -> bool:
    """As :func:`may_see`, of a client on whatever node, or one that is gone."""
    hooks = host.hooks
    if not hooks.handled(PrivacyCheck):
        return True
    presence = Stanza.make("presence", from_=jid, to=contact)
    check = PrivacyCheck(jid, presence, "out")
    try:
        await hooks.run(check)
    except HookFailed:
        return False
    return check.allowed


def show_presence(session: SessionLike, to: JID) -> None:
    """Delivers a session's last presence, if it is available, to somebody who may see it.

    :param to: a client, or a contact.
    """
    if isinstance(session, Elsewhere):
        session.show(to)
    elif session.presence is not None and may_see(session, (to,)):
        addressed = Fanout(session.presence).to(to)
        host = session.host.server.host_for(to.domain)
        if to.is_bare or host is None:
            session.host.route(addressed)
        elif (client := host.sessions.get(to)) is not None:
            client.deliver(addressed)


def hide_presence(session: SessionLike, to: JID) -> None:
    """Tells somebody who has seen a session that it is not available any more."""
    if isinstance(session, Elsewhere):
        session.hide(to)  # there it is sent behind all that the session has shown
    else:
        session.host.route(gone(session.jid, to))


def gone(contact: JID, to: JID) -> Stanza:
    """What tells somebody that a contact is not available any more (RFC 6121 §4.5)."""
    return Stanza.make("presence", from_=contact, to=to, type="unavailable")
