"""Presence (RFC 6121 §4): initial, later, directed and unavailable presence, and probes."""

from mongoosetw.hooks.bus import STOP, Order, Outcome
from mongoosetw.hooks.c2s import SessionClosed, SessionLike, UserSendPresence
from mongoosetw.hooks.presence import PresenceChanged, UnsetPresence, UserAvailable
from mongoosetw.hooks.roster import SubscriptionLists
from mongoosetw.hooks.routing import FilterLocalPacket
from mongoosetw.host import Host
from mongoosetw.module import Module, Needs, NoOptions, on
from mongoosetw.xmpp import ns
from mongoosetw.xmpp.errors import StanzaError
from mongoosetw.xmpp.jid import JID
from mongoosetw.xmpp.stanza import Stanza

_DIRECTED_LIMIT = 10_000


def priority_of(stanza: Stanza) -> int:
    """The presence's priority (RFC 6121 §4.7.2.3), 0 without one.

    :raises StanzaError: it is no integer between -128 and 127.
    """
    element = stanza.child(ns.CLIENT, "priority")
    if element is None:
        return 0
    try:
        priority = int(str(element))
    except ValueError:
        raise StanzaError("bad-request") from None
    if not -128 <= priority <= 127:
        raise StanzaError("bad-request")
    return priority


class Presence(Module[NoOptions]):
    """RFC 6121 §4: who is there.

    Sends a client's presence to the subscribers of its user and to the user's other clients,
    answers probes, remembers directed presence, and says goodbye for a client whose connection was
    lost. Who is subscribed to whom, mod_roster knows. Without this module nobody is available, so
    that messages reach only full addresses.
    """

    name = "mod_presence"
    requires = (Needs("mod_roster", hard=False),)

    def __init__(self, host: Host, options: NoOptions) -> None:
        super().__init__(host, options)
        self._directed: dict[JID, set[JID]] = {}

    @on(UserSendPresence, Order.DEFAULT)
    async def sent(self, event: UserSendPresence) -> Outcome:
        """A client says that it is there, or not."""
        stanza, session = event.stanza, event.session
        if stanza.type not in ("", "unavailable"):
            if stanza.type in ("error", "probe") and stanza.to is not None:
                return None  # routed as it is
            raise StanzaError("bad-request")
        if stanza.to is not None:
            self._note_directed(session, stanza)
            return None
        if stanza.type == "unavailable":
            await self._leave(session, stanza)
        else:
            await self._appear(session, stanza)
        return STOP

    def _note_directed(self, session: SessionLike, stanza: Stanza) -> None:
        """§4.6: who got directed presence is told of the end."""
        assert stanza.to is not None
        sent_to = self._directed.setdefault(session.jid, set())
        if stanza.type == "unavailable":
            sent_to.discard(stanza.to)
        elif len(sent_to) < _DIRECTED_LIMIT:
            sent_to.add(stanza.to)
        if not sent_to:
            del self._directed[session.jid]

    async def _appear(self, session: SessionLike, stanza: Stanza) -> None:
        priority = priority_of(stanza)
        initial = session.presence is None
        session.presence = stanza
        session.priority = priority
        self.host.sessions.changed(session)
        lists = await self._lists(session.bare)
        self._broadcast(session, stanza, lists.from_them)
        if initial:
            self._look_around(session, lists.to_them)
            await self.host.hooks.run(UserAvailable(session, stanza))
        else:
            self.host.hooks.fire(PresenceChanged(session, stanza))

    async def _lists(self, user: JID) -> SubscriptionLists:
        lists = SubscriptionLists(user)
        await self.host.hooks.run(lists)
        return lists

    def _broadcast(self, session: SessionLike, stanza: Stanza, contacts: set[JID]) -> None:
        """§4.2.2, §4.4.2: to every subscriber, and to the user's own resources."""
        host_for = self.host.server.host_for
        for contact in contacts:
            host = host_for(contact.domain)
            if host is None:
                self.host.route(stanza.copy(to=contact))
                continue
            for other in host.sessions.available(contact):
                other.deliver(stanza.copy(to=contact))
        for own in self.host.sessions.available(session.bare):
            own.deliver(stanza.copy(to=session.bare))

    def _look_around(self, session: SessionLike, contacts: set[JID]) -> None:
        """§4.2.2, §4.3: what the contacts' presence is; those on other servers are probed."""
        for contact in contacts:
            host = self.host.server.host_for(contact.domain)
            if host is None:
                probe = Stanza.make("presence", from_=session.bare, to=contact, type="probe")
                self.host.route(probe)
                continue
            for other in host.sessions.available(contact):
                if other.presence is not None:
                    session.deliver(other.presence.copy(from_=other.jid, to=session.jid))
        for own in self.host.sessions.available(session.bare):
            if own.jid != session.jid and own.presence is not None:
                session.deliver(own.presence.copy(from_=own.jid, to=session.jid))

    async def _leave(self, session: SessionLike, stanza: Stanza) -> None:
        """§4.5: the client goes unavailable, or its connection was lost."""
        for address in self._directed.pop(session.jid, ()):
            self.host.route(stanza.copy(to=address))
        if session.presence is None:
            return
        session.presence = None
        session.priority = None
        self.host.sessions.changed(session)
        lists = await self._lists(session.bare)
        self._broadcast(session, stanza, lists.from_them)
        status = stanza.child(ns.CLIENT, "status")
        event = UnsetPresence(session, "" if status is None else str(status))
        self.host.hooks.fire(event)

    @on(SessionClosed, Order.EARLY)
    def closed(self, event: SessionClosed) -> Outcome:
        """§4.5.2: the server speaks for a client that can no longer."""
        session = event.session
        if session.presence is not None or session.jid in self._directed:
            gone = Stanza.make("presence", from_=session.jid, type="unavailable")
            self.host.in_background(self._leave(session, gone))
        return None

    @on(FilterLocalPacket, Order.DEFAULT)
    async def probed(self, event: FilterLocalPacket) -> Outcome:
        """§4.3.2: a probe is answered for those who may see the user."""
        stanza = event.stanza
        if stanza.kind != "presence" or stanza.type != "probe":
            return None
        if stanza.to is None or stanza.from_ is None:
            return STOP
        user, asker = stanza.to.bare, stanza.from_
        lists = await self._lists(user)
        if asker.bare not in lists.from_them and asker.bare != user:
            refusal = Stanza.make("presence", from_=user, to=asker, type="unsubscribed")
            self.host.route(refusal)
            return STOP
        present = self.host.sessions.available(user)
        for session in present:
            if session.presence is not None:
                self.host.route(session.presence.copy(from_=session.jid, to=asker))
        if not present:
            away = Stanza.make("presence", from_=user, to=asker, type="unavailable")
            self.host.route(away)
        return STOP
