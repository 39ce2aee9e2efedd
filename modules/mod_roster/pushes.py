"""Roster pushes (RFC 6121 §2.1.6), and those that were lost with a link between nodes."""

import hashlib
from collections.abc import Iterable
from typing import Final

from modules.mod_roster.contacts import Contacts, Rosters
from modules.mod_roster.store import Item
from mongoosetw.hooks.c2s import SessionLike
from mongoosetw.host import Host
from mongoosetw.metrics import Count
from mongoosetw.xmpp import ns
from mongoosetw.xmpp.jid import JID
from mongoosetw.xmpp.stanza import Stanza, escape

INTERESTED: Final = "roster"
"""Flag of a session that gets roster pushes (RFC 6121 §2.1.6)."""


class Pushes:
    """Tells the clients of a user what has changed in the roster.

    :param versioned: pushes name the roster's version.
    :param pushed: counts them.
    """

    def __init__(self, host: Host, rosters: Rosters, pushed: Count, *, versioned: bool) -> None:
        self._host = host
        self._rosters = rosters
        self._pushed = pushed
        self._versioned = versioned

    def push(self, user: JID, contacts: Contacts, item: Item) -> None:
        """An item that the roster shows has been added or changed."""
        self._send(self._host.sessions.of(user), contacts, item_xml(item))

    def push_removal(self, user: JID, contacts: Contacts, contact: JID) -> None:
        """The roster does not show a contact any more (§2.5)."""
        self._send(self._host.sessions.of(user), contacts, _gone(contact))

    def interested(self) -> set[JID]:
        """The users whose clients on this node get pushes."""
        return {s.bare for s in self._host.sessions.local() if INTERESTED in s.flags}

    def follow(self, user: JID) -> None:
        """Another node has changed a roster, and pushes that.

        The roster is read again at once: what is in memory is what clients here have been told.
        """
        if any(INTERESTED in session.flags for session in self._local(user)):
            self._host.insist(lambda: self._read(user))

    async def _read(self, user: JID) -> None:
        await self._rosters.get(user)

    def make_up(self, user: JID, before: Contacts | None) -> None:
        """Another node has changed a roster, and its pushes may be lost.

        :param before: the contacts as this node's clients know them; without them nothing is told.
        """
        if before is not None and any(self._local(user)):
            self._host.insist(lambda: self._make_up(user, before))

    async def _make_up(self, user: JID, before: Contacts) -> None:
        contacts = await self._rosters.get(user)
        shown = {item.jid: item for item in before.listed()}
        for item in contacts.listed():
            if shown.pop(item.jid, None) != item:
                self._send(self._local(user), contacts, item_xml(item))
        for contact in shown:
            self._send(self._local(user), contacts, _gone(contact))

    def _local(self, user: JID) -> list[SessionLike]:
        return [session for session in self._host.sessions.of(user) if session.local]

    def _send(self, sessions: Iterable[SessionLike], contacts: Contacts, item: str) -> None:
        version = f" ver='{version_of(contacts)}'" if self._versioned else ""
        payload = f"<query xmlns='{ns.ROSTER}'{version}>{item}</query>"
        for session in sessions:
            if INTERESTED in session.flags:
                identifier = f"push-{abs(hash((item, session.jid))):x}"
                push = Stanza.make("iq", to=session.jid, type="set", id=identifier, inner=payload)
                session.send(push)
                self._pushed.value += 1


def item_xml(item: Item) -> str:
    """An item as clients are told it (§2.1.2)."""
    head = f"<item jid='{escape(str(item.jid))}' subscription='{item.state.subscription}'"
    if item.name:
        head += f" name='{escape(item.name)}'"
    if item.state.ask:
        head += " ask='subscribe'"
    if item.state.approved:
        head += " approved='true'"
    groups = "".join(f"<group>{escape(group)}</group>" for group in item.groups)
    return f"{head}>{groups}</item>" if groups else f"{head}/>"


def _gone(contact: JID) -> str:
    return f"<item jid='{escape(str(contact))}' subscription='remove'/>"


def version_of(contacts: Contacts) -> str:
    """§2.6: made from what the roster shows, when it is first asked for after a change."""
    if contacts.version is None:
        text = "".join(sorted(map(item_xml, contacts.listed())))
        contacts.version = hashlib.sha256(text.encode()).hexdigest()[:20]
    return contacts.version
