"""Presence (RFC 6121 §4): initial, later, directed and unavailable presence, and probes."""

from collections.abc import Awaitable, Collection, Iterable, Mapping
from functools import partial
from itertools import chain

from twisted.internet.defer import Deferred

from modules.mod_presence.contacts import (
    UseLists,
    by_user,
    concerning,
    say_gone,
    seeing,
    settled,
    stop_after,
    with_contacts,
    with_lists,
)
from modules.mod_presence.rounds import Rounds
from modules.mod_presence.strangers import Strangers
from modules.mod_presence.views import Views
from mongoosetw.delivery import gone, hidden_from, may_see, show_presence
from mongoosetw.hooks.bus import STOP, Order, Outcome, started
from mongoosetw.hooks.c2s import SessionClosed, SessionLike, UserReceivePresence, UserSendPresence
from mongoosetw.hooks.cluster import (
    PresenceOverdue,
    PresenceUncertain,
    SessionMoved,
    SessionPacks,
    SessionsFound,
    SessionsLost,
    SessionUnpacks,
)
from mongoosetw.hooks.presence import PresenceChanged, UnsetPresence, UserAvailable
from mongoosetw.hooks.privacy import PrivacyChanged
from mongoosetw.hooks.roster import SubscriptionLists
from mongoosetw.hooks.routing import FilterLocalPacket
from mongoosetw.host import Host
from mongoosetw.module import Module, Needs, NoOptions, on
from mongoosetw.xmpp import ns
from mongoosetw.xmpp.errors import StanzaError
from mongoosetw.xmpp.fanout import Fanout
from mongoosetw.xmpp.jid import JID
from mongoosetw.xmpp.stanza import Stanza

_DIRECTED_LIMIT = 10_000


def priority_of(stanza: Stanza) -> int:
    """The presence's priority (RFC 6121 §4.7.2.3), 0 without one.

    :raises StanzaError: it is no integer between -128 and 127.
    """
    text = stanza.child_text(ns.CLIENT, "priority")
    if text is None:
        return 0
    try:
        priority = int(text)
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
        self._views = Views(self)
        self._rounds = Rounds(self)
        self.strangers = Strangers(host)

    @on(UserSendPresence, Order.DEFAULT)
    def sent(self, event: UserSendPresence) -> Awaitable[Outcome] | Outcome:
        """A client says that it is there, or not."""
        stanza, session = event.stanza, event.session
        if stanza.type not in ("", "unavailable"):
            if stanza.type in ("error", "probe") and stanza.to is not None:
                return None  # routed as it is
            raise StanzaError("bad-request")
        if stanza.to is not None:
            self._note_directed(session, stanza)
            return None
        step = self._leave if stanza.type == "unavailable" else self._appear
        pending = step(session, stanza)
        return STOP if pending is None else stop_after(pending)

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

    def _appear(self, session: SessionLike, stanza: Stanza) -> Awaitable[None] | None:
        priority = priority_of(stanza)
        initial = session.presence is None
        differs = initial or session.priority != priority
        session.presence = stanza
        session.priority = priority
        if differs:
            self.host.sessions.changed(session)

        def tell(lists: SubscriptionLists) -> Awaitable[None] | None:
            newer = self.host.sessions.get(session.jid)
            if newer is not None and newer.sid > session.sid:
                return None  # it was replaced meanwhile, and the newer one speaks for the address
            self._broadcast(session, stanza, lists.from_them)
            if not initial:
                self.host.hooks.fire(PresenceChanged(session, stanza))
                return None
            self._views.begins_anew(session)
            self._look_around(session, lists.to_them)
            pending = self.host.hooks.fire(UserAvailable(session, stanza))
            return settled(pending) if isinstance(pending, Deferred) else None

        return with_contacts(self.host, session.bare, tell)

    def _broadcast(self, session: SessionLike, stanza: Stanza, contacts: Collection[JID]) -> None:
        """§4.2.2, §4.4.2: to every subscriber, and to the user's own resources."""
        host_for = self.host.server.host_for
        fanout = Fanout(stanza)
        for contact in (*may_see(session, contacts), session.bare):
            host = host_for(contact.domain)
            if host is None:
                self.host.route(fanout.to(contact))
            elif others := host.sessions.told_of_presence(contact):
                addressed = fanout.to(contact)
                for other in others:
                    other.deliver(addressed)

    def _look_around(self, session: SessionLike, contacts: Collection[JID]) -> None:
        """§4.2.2, §4.3: what the contacts' presence is; those on other servers are probed."""
        for contact in (*contacts, session.bare):
            host = self.host.server.host_for(contact.domain)
            if host is None:
                self._probe(session, contact)
                continue
            for other in host.sessions.available(contact):
                if other.jid != session.jid:
                    show_presence(other, session.jid)

    def _probe(self, session: SessionLike, contact: JID) -> None:
        probe = Stanza.make("presence", from_=session.bare, to=contact, type="probe")
        self.host.route(probe)

    def _leave(self, session: SessionLike, stanza: Stanza) -> Awaitable[None] | None:
        """§4.5: the client goes unavailable, or its connection was lost."""
        for address in self._directed.pop(session.jid, ()):
            self.host.route(stanza.copy(to=address))
        if session.presence is None:
            return None
        session.presence = None
        session.priority = None
        self.host.sessions.changed(session)

        def tell(lists: SubscriptionLists) -> None:
            newer = self.host.sessions.get(session.jid)
            if newer is None or not newer.available:
                self._broadcast(session, stanza, lists.from_them)
            status = stanza.child_text(ns.CLIENT, "status") or ""
            self.host.hooks.fire(UnsetPresence(session, status))

        return with_contacts(self.host, session.bare, tell)

    @on(SessionClosed, Order.EARLY)
    def closed(self, event: SessionClosed) -> None:
        """§4.5.2: the server speaks for a client that can no longer."""
        session = event.session
        if self.host.sessions.get(session.jid) in (None, session):
            self._views.forget(session)
            self.strangers.forget(session)
        self._say_goodbye(session)

    def _say_goodbye(self, session: SessionLike) -> None:
        if session.presence is not None or session.jid in self._directed:
            gone = Stanza.make("presence", from_=session.jid, type="unavailable")
            pending = self._leave(session, gone)
            if pending is not None:
                self.host.in_background(settled(pending))

    @on(SessionPacks)
    def packs(self, event: SessionPacks) -> None:
        """Who got directed presence is told of the end by the node that has the session then."""
        session = event.session
        directed = [str(address) for address in self._directed.get(session.jid, ())]
        event.state[self.name] = {
            "directed": directed,
            "strangers": list(map(str, self.strangers.shown_to(session))),
            "seen": self._views.pack(session),
        }

    @on(SessionUnpacks)
    def unpacks(self, event: SessionUnpacks) -> None:
        """Remembers them; and who was seen there is compared with who is to be seen here."""
        state = event.state.get(self.name, {})
        if state.get("directed"):
            self._directed[event.session.jid] = set(map(JID.parse, state["directed"]))
        self.strangers.unpack(event.session, map(JID.parse, state.get("strangers", ())))
        self._views.unpack(event.session, state.get("seen", {}))

    @on(SessionMoved)
    def moved(self, event: SessionMoved) -> None:
        """Says nothing, for the client is there still, unless another one took its address."""
        place = self.host.sessions.get(event.session.jid)
        if place is not None and place.local:
            return  # it has come back: what is known by its address is known of it
        if place is not None and event.session.available and not place.available:
            self._say_goodbye(event.session)  # it is another client's: nobody else says so
        self._directed.pop(event.session.jid, None)
        self._views.forget(event.session)
        self.strangers.forget(event.session)

    @on(PresenceUncertain)
    def uncertain(self, event: PresenceUncertain) -> None:
        """Whoever may have missed something is shown how it is."""
        self._views.doubt(event.session, event.sender)

    @on(UserReceivePresence, Order.LATE)
    def received(self, event: UserReceivePresence) -> Outcome:
        """§4.6.3: remembers which strangers a client has been shown by other nodes."""
        self.strangers.received(event.session, event.stanza)
        return STOP if self._views.is_repeated(event.session, event.stanza) else None

    @on(FilterLocalPacket, Order.DEFAULT)
    def probed(self, event: FilterLocalPacket) -> Awaitable[Outcome] | Outcome:
        """§4.3.2: a probe is answered for those who may see the user."""
        stanza = event.stanza
        if stanza.kind != "presence" or stanza.type != "probe":
            return None
        if stanza.to is None or stanza.from_ is None:
            return STOP
        user, asker = stanza.to.bare, stanza.from_
        pending = with_lists(self.host, user, lambda lists: self._answer_probe(lists, user, asker))
        return STOP if pending is None else stop_after(pending)

    def _answer_probe(
        self, lists: SubscriptionLists, user: JID, asker: JID
    ) -> Awaitable[None] | None:
        if asker.bare not in lists.from_them and asker.bare != user:
            refusal = Stanza.make("presence", from_=user, to=asker, type="unsubscribed")
            self.host.route(refusal)
            return None
        return started(self._show_all(user, asker))

    async def _show_all(self, user: JID, asker: JID) -> None:
        sessions = self.host.sessions.available(user)
        hidden = await hidden_from(sessions, asker)
        shown = [session for session in sessions if session not in hidden]
        for session in shown:
            show_presence(session, asker)
        if not shown:
            self.host.route(gone(user, asker))

    # -- other nodes

    @on(SessionsFound)
    def found(self, event: SessionsFound) -> None:
        """Those who have missed each other, be it by a netsplit, see each other now."""
        found = by_user(event.found)
        if missed := seeing(event.missed, found.keys()):
            self._rounds.make(
                missed, lambda session: self._tell(session, partial(self._meet, session, found))
            )

    def _meet(
        self, session: SessionLike, found: Mapping[JID, list[SessionLike]], lists: SubscriptionLists
    ) -> None:
        for other in concerning(session, found, lists):
            self._views.expects(session, other.jid)
            show_presence(other, session.jid)

    @on(PresenceOverdue)
    def overdue(self, event: PresenceOverdue) -> None:
        """Those who were not known when clients have said something new are told of it now."""
        others = by_user(event.others)
        self._rounds.make(
            event.sessions,
            lambda session: self._tell(session, partial(self._show_again, session, others)),
        )

    def _show_again(
        self,
        session: SessionLike,
        others: Mapping[JID, list[SessionLike]],
        lists: SubscriptionLists,
    ) -> None:
        users = others.keys() & lists.from_them | others.keys() & {session.bare}
        for other in chain.from_iterable(others[user] for user in users):
            show_presence(session, other.jid)

    @on(SessionsLost)
    def lost(self, event: SessionsLost) -> None:
        """§4.5.2: nobody speaks for the clients of a lost node: each node tells its own clients."""
        lost = by_user(event.lost)
        jids = {other.jid for other in event.lost}
        for host in self.host.server.hosts.values():
            module = host.modules.get(self.name)
            if isinstance(module, Presence):
                module.strangers.lost(jids)
        for host in self.host.server.hosts.values() if lost and event.missed is None else ():
            self._tell_lost(host.sessions.local(), lost)
        if event.missed:
            self._tell_lost(event.missed, lost)

    def _tell_lost(
        self, sessions: Iterable[SessionLike], lost: Mapping[JID, list[SessionLike]]
    ) -> None:
        self._rounds.make(
            sessions, lambda session: self._tell(session, partial(self._miss, session, lost))
        )

    def _tell(self, session: SessionLike, use: UseLists) -> None:
        if not session.available:
            return
        pending = with_lists(session.host, session.bare, use)
        if pending is not None:
            session.host.in_background(settled(pending))

    def _miss(
        self, session: SessionLike, lost: Mapping[JID, list[SessionLike]], lists: SubscriptionLists
    ) -> Awaitable[None] | None:
        gone = [other.jid for other in concerning(session, lost, lists)]
        return started(say_gone(gone, session)) if gone else None

    # -- privacy (XEP-0016 §2.10, §2.11; XEP-0191 §3.3, §3.4)

    @on(PrivacyChanged)
    def rules_changed(self, event: PrivacyChanged) -> Awaitable[None] | None:
        """Who must no longer see the user sees the user leave, and the other way round."""
        session = event.session

        def tell(lists: SubscriptionLists) -> None:
            self._views.begins_anew(session)
            self._hide_or_show(event, lists.from_them)
            if session.available:
                for contact in lists.to_them:
                    self._lose_or_find(event, contact)

        return with_contacts(self.host, session.bare, tell)

    def _hide_or_show(self, event: PrivacyChanged, subscribers: Collection[JID]) -> None:
        """§2.11: past the rules, which hold already."""
        session = event.session
        directed = self._directed.get(session.jid, set())
        for contact in {*subscribers, *directed}:
            before = event.before.allows_presence(contact, "out")
            after = event.after.allows_presence(contact, "out")
            if before and not after and (session.available or contact in directed):
                self.host.route(gone(session.jid, contact))
                directed.discard(contact)
            elif after and not before and session.presence is not None and contact in subscribers:
                self.host.route(Fanout(session.presence).to(contact))

    def _lose_or_find(self, event: PrivacyChanged, contact: JID) -> None:
        """§2.10: the same for the user, who has seen a contact or sees it again."""
        session = event.session
        host = self.host.server.host_for(contact.domain)
        if host is None:
            change = _change(event, contact)
            if change == "lost":
                session.send(gone(contact, session.jid))
            elif change == "found":
                self._probe(session, contact)
            return
        for other in host.sessions.available(contact):
            change = _change(event, other.jid)
            if change == "lost":
                session.send(gone(other.jid, session.jid))
            elif change == "found":
                show_presence(other, session.jid)


def _change(event: PrivacyChanged, contact: JID) -> str:
    before = event.before.allows_presence(contact, "in")
    after = event.after.allows_presence(contact, "in")
    if before == after:
        return ""
    return "found" if after else "lost"
