"""Local delivery: RFC 6121 §8.5, the rules of its table, for one host."""

from collections.abc import Collection
from typing import TYPE_CHECKING

from mongoosetw.hooks.bus import STOP
from mongoosetw.hooks.c2s import SessionLike
from mongoosetw.hooks.presence import PresenceRecipients
from mongoosetw.hooks.routing import OfflineMessage
from mongoosetw.xmpp.errors import StanzaError
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
    able = [s for s in host.sessions.of(stanza.to.bare) if s.available and (s.priority or 0) >= 0]
    if stanza.type == "headline":
        # RFC 6121 §8.5.2.1.1: to all non-negative resources, none: ignored (§8.5.2.2.1)
        for session in able:
            session.deliver(stanza)
        return True
    for session in most_available(able):
        session.deliver(stanza)
    return bool(able)


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
        for session in host.sessions.available(to):
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
