"""Messages for accounts without an available resource (XEP-0160, XEP-0203)."""

import time
from collections import Counter as Counts
from dataclasses import dataclass
from typing import Final

from twisted.internet.defer import CancelledError, Deferred, DeferredLock

from modules.mod_offline import rules
from modules.mod_offline.catchup import CatchUp
from mongoosetw.cluster.sessions.remote import RemoteSession
from mongoosetw.config.options import option
from mongoosetw.delivery import deliver_message_to_bare
from mongoosetw.hooks.bus import STOP, Order, Outcome
from mongoosetw.hooks.c2s import (
    OpenSession,
    SessionClosed,
    SessionLike,
    SessionOpened,
    UserReceiveMessage,
)
from mongoosetw.hooks.cluster import (
    MessageLeaves,
    SessionMoved,
    SessionPacks,
    SessionTakesMessages,
    SessionUnpacks,
)
from mongoosetw.hooks.presence import PresenceChanged, UserAvailable
from mongoosetw.hooks.routing import (
    ArchivePageSent,
    MessagesAcknowledged,
    MessagesWait,
    OfflineMessage,
    UnacknowledgedMessage,
)
from mongoosetw.hooks.users import AnonymousPurge, RemoveDomain, RemoveUser
from mongoosetw.messagelog import Entry, MessageLog, marked
from mongoosetw.metrics import Counter
from mongoosetw.module import XEP, Module, every, on
from mongoosetw.xmpp import ns
from mongoosetw.xmpp.jid import JID
from mongoosetw.xmpp.stanza import Stanza

_DEFAULT_LIMIT: Final = 100
_COUNTS_KNOWN: Final = 10_000


@dataclass(frozen=True)
class OfflineOptions:
    """Options of mod_offline."""

    access_max_user_messages: str = option(
        "max_user_offline_messages",
        rule=True,
        doc="Access rule that says how many messages an account may keep; 100 without it.",
    )
    backend: str = option("rdbms", choices=("rdbms",), doc="Where messages are kept.")
    store_groupchat_messages: bool = option(False, doc="Keep messages of type groupchat too.")


class Offline(Module[OfflineOptions]):
    """XEP-0160: Best Practices for Handling Offline Messages.

    Messages for an account without an available resource are kept, as many as the access rule
    ``access_max_user_messages`` allows, and delivered with the time of their arrival, before
    anything newer, when a client comes online that takes messages. What nobody would miss, such
    as chat states, is not kept.

    A message that nobody can take, or whose recipient may yet lose it (XEP-0198), is noted
    in the message log as pending. It is settled when the recipient has acknowledged it or,
    without stream management, when it was written to the recipient's connection.
    """

    name = "mod_offline"
    options_class = OfflineOptions
    xeps = (XEP(160, "1.0.1"), XEP(203, "2.0"), XEP(23, "1.3"))
    features = (ns.MSGOFFLINE,)
    user_features = (ns.MSGOFFLINE,)
    stored = Counter("mod_offline_stored_count", "Messages kept for a recipient who was away")
    refused = Counter("mod_offline_full_count", "Messages refused: too many waited already")

    async def start(self) -> None:
        """Opens the message log."""
        self.messages: MessageLog = await self.host.open_message_log()
        self._catching: dict[SessionLike, tuple[CatchUp, Deferred[None]]] = {}
        self._not_ready: set[SessionLike] = set()
        self._turns: dict[JID, DeferredLock] = {}
        self._counts: Counts[JID] = Counts()
        self._can_wait = rules.waiting(groupchat=self.options.store_groupchat_messages)

    async def stop(self) -> None:
        """Ends what is under way: what was not delivered is in the log."""
        for session in list(self._catching):
            self._end_catching(session)

    # -- messages for somebody who is away

    @on(OfflineMessage, Order.DEFAULT)
    async def keep(self, event: OfflineMessage) -> Outcome:
        """Keeps a message; one too many is left to be bounced (XEP-0160 §2)."""
        stanza, user = event.stanza, event.user.bare
        if not self._can_wait(stanza.type, stanza.children):
            # A bare state is worth no error
            return STOP if rules.is_only_a_state(stanza) else None
        if await self._is_full(user):
            self.refused.inc()
            self.log.info("offline_messages_full user=%s", user)
            return None
        if deliver_message_to_bare(self.host, stanza):
            return STOP  # somebody has come while we waited
        self.messages.pend(stanza, user, rules.expiry(stanza, _now()))
        self._counts[user] += 1
        self.stored.inc()
        return STOP

    async def _is_full(self, user: JID) -> bool:
        rule = self.options.access_max_user_messages
        most = self.host.access.number(rule, user, _DEFAULT_LIMIT)
        if most == float("inf"):
            return False
        if user not in self._counts:
            if len(self._counts) >= _COUNTS_KNOWN:
                self._counts.clear()
            await self.messages.barrier()
            self._counts[user] = await self.messages.pending_count(user, int(most))
        return self._counts[user] >= most

    # -- messages on their way to a session

    @on(UserReceiveMessage, Order.LATE)
    def receive(self, event: UserReceiveMessage) -> Outcome:
        """Notes what its recipient may yet lose; holds back what must not overtake older ones."""
        session = event.session
        catching = self._catching.get(session) if self._catching else None
        stanza = event.stanza
        entry: Entry | None = stanza.log
        if catching is None and "sm" not in session.flags:
            if entry is not None and not entry.fresh and self._is_on_its_way(entry):
                self.messages.settle(session.bare, (entry,))  # it is written right now
                event.stanza = marked(stanza, session.bare)
            elif (self._catching or (entry is not None and not self.messages.alone)) and (
                self._is_for_another(session, stanza)
            ):
                self.messages.enter(stanza)
                event.stanza = marked(stanza, session.bare)
            return None
        if not self._can_wait(stanza.type, stanza.children):
            return None
        foreign = entry is not None and entry.foreign
        sure = not foreign and self._is_sure(session, stanza)
        if catching is None and sure:
            if entry is not None:  # it may come again
                event.stanza = marked(stanza, session.bare)
            return None
        if catching is not None and catching[0].full:
            self.messages.pend(stanza, session.bare, rules.expiry(stanza, _now()))
        else:
            self.messages.hold(stanza, session.bare, session.sid)
        event.stanza = marked(stanza, session.bare)
        if catching is None:
            return None
        catching[0].hold(event.stanza, sure=sure)
        return STOP

    @on(MessageLeaves, Order.LATE)
    def leaves(self, event: MessageLeaves) -> None:
        """Notes what is lost if the other node is, unless nobody counts on it.

        What goes to several sessions is noted here in any case: some of their nodes might have to,
        and each would give it another id.
        """
        stanza, session = event.stanza, event.session
        if not event.shared and "sm" not in session.flags and stanza.receipt is None:
            return
        known: Entry | None = stanza.log
        if known is not None and known.foreign:
            return
        if not self._can_wait(stanza.type, stanza.children):
            return
        entry = self.messages.hold(stanza, session.bare, session.sid)
        entry.holder = session.sid
        event.stanza = marked(stanza, session.bare)

    def _is_on_its_way(self, entry: Entry) -> bool:
        """Whether a session of some node may still acknowledge a message."""
        return entry.foreign or self.messages.on_its_way(entry.id)

    def _is_sure(self, session: SessionLike, stanza: Stanza) -> bool:
        """Whether another session of this node gets the same message, and gets it for certain.

        RFC 6121 §8.5.2.1.1: all sessions of the highest priority do. Not if some of another node's
        do, too: then it has an id already, by which it may come again.
        """
        assert stanza.to is not None
        others = self.host.sessions.of(session.bare)
        if len(others) == 1 or self.host.sessions.get(stanza.to) is session:
            return False
        if stanza.log is not None and self.messages.on_its_way(stanza.log.id):
            return False
        return any(
            other.priority == session.priority and other.available and "sm" not in other.flags
            for other in others
            if other is not session and other.local and other not in self._catching
        )

    def _is_for_another(self, session: SessionLike, stanza: Stanza) -> bool:
        """Whether another session gets a message by its id: later, or at another node."""
        others = self.host.sessions.of(session.bare)
        if len(others) == 1 or stanza.to == session.jid:
            return False
        if not self._can_wait(stanza.type, stanza.children):
            return False
        equal = [s for s in others if s.priority == session.priority]
        return any(s in self._catching or not s.local for s in equal)

    @on(MessagesAcknowledged)
    def acknowledged(self, event: MessagesAcknowledged) -> None:
        """The client has the messages: they wait no longer."""
        session = event.session
        self.messages.settle(session.bare, event.entries)
        if catching := self._catching.get(session):
            catching[0].acknowledged(len(event.entries))

    @on(UnacknowledgedMessage, Order.DEFAULT)
    def unacknowledged(self, event: UnacknowledgedMessage) -> Outcome:
        """A session ended with a message on its way: it goes to another one, or waits."""
        if event.stanza.log is None:
            return STOP if self._is_elsewhere(event) else None
        self.messages.keep(event.session.bare, event.stanza.log, event.session.sid)
        self.later(0, self._offer_again, event.session)
        return STOP

    def _offer_again(self, ended: SessionLike) -> None:
        """A newer session of the address gets what was for that, whatever its priority is."""
        self.offer(ended.bare)
        place = self.host.sessions.get(ended.jid)
        if place is not None and place.available and (place.priority or 0) < 0:
            place.in_place(self._has_missed)

    def _is_elsewhere(self, event: UnacknowledgedMessage) -> bool:
        """Whether another session has got a message for certain: else it would be in the log."""
        stanza, to = event.stanza, event.stanza.to
        to_account = to is not None and to.bare == event.session.bare and to != event.session.jid
        return to_account and self._can_wait(stanza.type, stanza.children)

    @on(ArchivePageSent)
    def synchronised(self, event: ArchivePageSent) -> None:
        """A client that reads the archive before it is available is not sent that again."""
        if event.session.available:
            return
        waits = not self.messages.nothing_waits(event.session.bare)
        if waits or any(map(self.messages.on_its_way, event.ids)):
            entries = [Entry(identifier, shown=True) for identifier in event.ids]
            self.messages.settle(event.session.bare, entries)
            self._counts.pop(event.session.bare, None)

    # -- sessions that become ready

    @on(OpenSession, Order.DEFAULT)
    def opening(self, event: OpenSession) -> Deferred[None] | None:
        """What the client has said on a lost node comes before what it says in a new session."""
        return None if event.session.continues else self.messages.succession.left_by_lost()

    @on(SessionOpened)
    def opened(self, event: SessionOpened) -> None:
        """What the client of an older session has not acknowledged comes first, from any node."""
        if event.replaced is not None and "sm" in event.replaced.flags:
            self.messages.succession.succeeds(event.replaced)

    @on(UserAvailable, Order.LATE)
    def available(self, event: UserAvailable) -> None:
        """Delivers what was kept (XEP-0160 §2, step 5)."""
        self._consider(event.session)

    @on(PresenceChanged)
    def reconsider(self, event: PresenceChanged) -> None:
        """A negative priority may have become another one: then it is time to deliver."""
        if (event.session.priority or 0) < 0 or event.session in self._not_ready:
            self._consider(event.session)

    def _consider(self, session: SessionLike) -> None:
        # RFC 6121 §8.5.2.1: a negative priority takes no messages for the bare JID
        if (session.priority or 0) < 0:
            self._not_ready.add(session)
        else:
            self._not_ready.discard(session)
            self.catch_up(session)

    @on(SessionClosed)
    def closed(self, event: SessionClosed) -> None:
        """What a session that has gone was not given goes to another one, or waits."""
        self._not_ready.discard(event.session)
        if self._end_catching(event.session):
            self.later(0, self.offer, event.session.bare)

    @on(SessionPacks)
    def packs(self, event: SessionPacks) -> None:
        """What a session that moves was not given yet it gets where it goes on."""
        if self._end_catching(event.session, goes_on=True):
            event.state[self.name] = "ready"
        elif event.session in self._not_ready:
            event.state[self.name] = "not ready"

    @on(SessionUnpacks)
    def unpacks(self, event: SessionUnpacks) -> None:
        """Goes on where that ended."""
        state = event.state.get(self.name)
        if state == "not ready":
            self._not_ready.add(event.session)
        elif state == "ready":
            self.catch_up(event.session)

    @on(SessionMoved)
    def moved(self, event: SessionMoved) -> None:
        """Forgets the session."""
        self._not_ready.discard(event.session)

    @on(SessionTakesMessages)
    def found(self, event: SessionTakesMessages) -> None:
        """Who is ready on another node may have missed what has just begun to wait here."""
        self._counts.pop(event.session.bare, None)
        self.messages.found(event.session)

    @on(MessagesWait)
    def waiting(self, event: MessagesWait) -> None:
        """Messages wait for a user who is there, or was a moment ago."""
        self.offer(event.user, here=event.here)
        if event.missed is not None:
            event.missed.in_place(self._has_missed)

    def _has_missed(self, session: SessionLike | None) -> None:
        """A session looks for what waits for its own address."""
        if isinstance(session, RemoteSession):
            self.messages.missed(session)
        elif session is not None:
            self.catch_up(session)

    def offer(self, user: JID, *, here: bool = False) -> None:
        """Has a session that is ready look for what waits for its user.

        :param here: one of this node.
        """
        located = None if here else self.host.prepare((user,))
        if located is not None:
            located.addCallback(lambda _: self.offer(user))
            return
        able = [s for s in self.host.sessions.available(user) if (s.priority or 0) >= 0]
        able = [s for s in able if s.local] if here else able
        if not able:
            return
        chosen = max(able, key=lambda s: (s.priority or 0, s.sid))
        chosen.in_place(lambda session: self._have_look(session, user))

    def _have_look(self, session: SessionLike | None, user: JID) -> None:
        """Has a session look for what waits, or another one if it has gone meanwhile."""
        if session is None:
            self.offer(user)
        elif session.local:
            self.catch_up(session)
        elif (telling := self.host.told()) is None:
            self.messages.look(session)
        else:  # rows name sessions that have ended: who reads them must not take these for living
            telling.addCallback(lambda _: self._look_there(session))

    def _look_there(self, session: SessionLike) -> None:
        """Has a session of another node look, if it has not gone meanwhile."""
        if self.host.sessions.get(session.jid) is session:
            self.messages.look(session)
        else:
            self.offer(session.bare)

    def catch_up(self, session: SessionLike) -> None:
        """Delivers to a session all that waits for its user."""
        if self.messages.nothing_waits(session.bare):
            return
        self._counts.pop(session.bare, None)
        catching = self._catching.get(session)
        if catching is not None:
            catching[0].look_again()
            return
        work = CatchUp(self.messages, session, _now)
        running: Deferred[None] = Deferred()
        self._catching[session] = (work, running)
        started = Deferred.fromCoroutine(self._run(session, work))
        if session in self._catching:
            self._catching[session] = (work, started)

    def _end_catching(self, session: SessionLike, *, goes_on: bool = False) -> bool:
        """What a session that goes was not given yet is not given to it here any more."""
        if session not in self._catching:
            return False
        work, running = self._catching[session]
        work.give_up(goes_on=goes_on)
        if not work.sending:  # else it notices by itself
            running.cancel()
        return True

    async def _run(self, session: SessionLike, work: CatchUp) -> None:
        user = session.bare
        turn = self._turns.setdefault(user, DeferredLock())
        try:
            await turn.acquire()  # of two sessions that come at once, one gets the messages
            try:
                await work.run()
            finally:
                turn.release()
            if work.skipped:
                self.later(0, self.offer, user)
        except CancelledError:
            self.log.debug("offline_delivery_ended jid=%s", session.jid)
        finally:
            del self._catching[session]
            if not turn.locked:
                self._turns.pop(user, None)

    # -- the end

    @on(RemoveUser)
    @on(AnonymousPurge)
    async def forget(self, event: RemoveUser) -> None:
        """An account's messages go with it."""
        self._counts.pop(event.user.bare, None)
        await self.messages.forget_pending(event.user.bare)

    @on(RemoveDomain)
    async def forget_all(self, event: RemoveDomain) -> None:
        """So do those of all accounts of a domain."""
        for name in await self.host.accounts.list(event.domain):
            await self.messages.forget_pending(JID.of(name, event.domain))

    @every(3600.0)
    def sweep(self) -> None:
        """Removes what has expired."""
        self.host.in_background(self._sweep())

    async def _sweep(self) -> None:
        while await self.messages.drop_expired(_now()):
            await self.messages.barrier()


def _now() -> int:
    return int(time.time() * 1_000_000)
