"""Who was sent presence by clients of other nodes without being subscribed (RFC 6121 §4.6).

Their own node knows that too, and tells of the end; if it is lost itself, nobody else would.
"""

from collections.abc import Collection, Iterable
from typing import Final

from modules.mod_presence.contacts import say_gone, settled, with_lists
from mongoosetw.hooks.c2s import SessionLike
from mongoosetw.hooks.roster import SubscriptionLists
from mongoosetw.host import Host
from mongoosetw.xmpp.jid import JID
from mongoosetw.xmpp.stanza import Stanza

MOST: Final = 200
"""Strangers that are remembered for one client."""


class Strangers:
    """What clients of this node have been shown by strangers elsewhere."""

    def __init__(self, host: Host) -> None:
        self._host = host
        self._shown: dict[JID, dict[JID, None]] = {}

    def received(self, session: SessionLike, stanza: Stanza) -> None:
        """A session gets presence."""
        sender = stanza.from_
        if sender is None or sender.is_bare:
            return
        if stanza.type:
            self._forget(session.jid, sender)
        elif self._is_elsewhere(sender) and sender.bare != session.bare:
            self._note(session, sender)

    def _is_elsewhere(self, sender: JID) -> bool:
        host = self._host.server.host_for(sender.domain)
        if host is None:
            return False
        found = host.sessions.get(sender)
        return found is None or not found.local  # not every session need be known here

    def _note(self, session: SessionLike, sender: JID) -> None:
        def note(lists: SubscriptionLists) -> None:
            if sender.bare in lists.to_them:
                return
            shown = self._shown.setdefault(session.jid, {})
            if len(shown) < MOST:
                shown[sender] = None

        pending = with_lists(self._host, session.bare, note)
        if pending is not None:
            self._host.in_background(settled(pending))

    def _forget(self, recipient: JID, sender: JID) -> None:
        shown = self._shown.get(recipient)
        if shown is not None:
            shown.pop(sender, None)
            if not shown:
                del self._shown[recipient]

    def forget(self, session: SessionLike) -> None:
        """A session is over, or goes on elsewhere."""
        self._shown.pop(session.jid, None)

    def shown_to(self, session: SessionLike) -> list[JID]:
        """Who has shown presence to a session."""
        return list(self._shown.get(session.jid, ()))

    def unpack(self, session: SessionLike, senders: Iterable[JID]) -> None:
        """A session goes on here: those who are not known here are gone for it."""
        shown = dict.fromkeys(senders)
        if shown:
            self._shown[session.jid] = shown
            self._host.in_background(say_gone(shown, session, strangers=True))

    def lost(self, lost: Collection[JID]) -> None:
        """Clients have gone with their node."""
        for recipient, shown in list(self._shown.items()):
            session = self._host.sessions.get(recipient)
            gone = [sender for sender in shown if sender in lost]
            for sender in gone:
                self._forget(recipient, sender)
            if gone and session is not None:
                self._host.in_background(say_gone(gone, session, strangers=True))
