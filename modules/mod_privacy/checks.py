"""What privacy lists mean for every stanza that a user sends or that comes for one."""

from collections.abc import Awaitable, Collection
from contextlib import suppress
from dataclasses import dataclass
from typing import Final

from modules.mod_privacy.guard import UNKNOWN, Guard, View
from modules.mod_privacy.lists import Lists
from modules.mod_privacy.rules import Item
from modules.mod_privacy.store import MemoryPrivacyStore
from modules.mod_privacy.store_sql import SQLPrivacyStore
from mongoosetw.config.options import option
from mongoosetw.delivery import most_available
from mongoosetw.hooks.bus import STOP, Order, Outcome
from mongoosetw.hooks.c2s import (
    OpenSession,
    SessionClosed,
    SessionLike,
    SessionOpened,
    UserReceiveIQ,
    UserReceiveMessage,
    UserReceivePresence,
    UserSendIQ,
    UserSendMessage,
    UserSendPresence,
)
from mongoosetw.hooks.cluster import SessionMoved, SessionUnpacks
from mongoosetw.hooks.presence import PresenceRecipients
from mongoosetw.hooks.privacy import PrivacyCheck
from mongoosetw.hooks.roster import RosterChanged, RosterChangedElsewhere
from mongoosetw.hooks.routing import FilterLocalPacket
from mongoosetw.hooks.users import RemoveDomain, RemoveUser
from mongoosetw.host import Host
from mongoosetw.metrics import Counter, Histogram
from mongoosetw.module import Module, on
from mongoosetw.xmpp import ns
from mongoosetw.xmpp.errors import BackendUnavailable, StanzaError
from mongoosetw.xmpp.jid import JID
from mongoosetw.xmpp.stanza import Stanza

_BLOCKED: Final = f"<blocked xmlns='{ns.BLOCKING_ERRORS}'/>".encode()
_SILENT: Final = frozenset({"error", "groupchat"})
"""Types of messages that are refused in silence: an error may not be answered with one (RFC 6120
§8.3.1), and a room would take the error for a sign that its occupant has gone (XEP-0045 §7.14)."""

Sent = UserSendMessage | UserSendPresence | UserSendIQ
Received = UserReceiveMessage | UserReceivePresence | UserReceiveIQ
Answer = Outcome | Awaitable[Outcome]


@dataclass(frozen=True)
class PrivacyOptions:
    """Options of mod_privacy."""

    backend: str = option("rdbms", choices=("rdbms", "memory"), doc="Where lists are kept.")
    max_lists: int = option(50, minimum=1, doc="Most lists of one user.")
    max_items: int = option(1000, minimum=1, doc="Most items of one list.")


class PrivacyChecks(Module[PrivacyOptions]):
    """The part of mod_privacy that looks at stanzas.

    A stanza is compared with a list three times at most: when its sender's client sends it, when
    it arrives for an account, and when it reaches a session, whose active list may say
    something else. For users without lists each of these is one look into a dict.
    """

    name = "mod_privacy"
    options_class = PrivacyOptions

    checked = Counter("mod_privacy_check_packet_count", "Stanzas compared with a list")
    denied = Counter("mod_privacy_check_packet_denied_count", "Stanzas that a list denied")
    blocked = Counter(
        "mod_privacy_check_packet_blocked_count", "Stanzas from or to a blocked address"
    )
    used = Counter("mod_privacy_rdbms_count", "Uses of the stored lists", ("function",))
    time = Histogram("mod_privacy_rdbms_time", "Seconds of such a use", ("function",))

    def __init__(self, host: Host, options: PrivacyOptions) -> None:
        super().__init__(host, options)
        if options.backend == "memory":
            self.lists = Lists(host, MemoryPrivacyStore(), None)
        else:
            shared = self.share_cache(lambda user: self.forget(JID.parse(user)), self.forget_all)
            self.lists = Lists(host, SQLPrivacyStore(self.db), self._timed, shared.changed)
        self._known = self.lists.guards.known.get

    def _timed(self, function: str, seconds: float) -> None:
        self.used.labels(function).inc()
        self.time.labels(function).observe(seconds)

    async def start(self) -> None:
        """Reads the lists of those who are connected already."""
        await self.lists.load_connected()

    def forget(self, user: JID) -> None:
        """A user's lists have changed elsewhere, on another node: drops what is in memory.

        Of a user who is connected here they are read again at once, and presence is shown or
        hidden as they now say.
        """
        self.lists.forget(user)

    def forget_all(self) -> None:
        """Does so for all users: it is not known what other nodes have changed."""
        self.lists.forget_all()

    # -- who is there

    @on(OpenSession)
    def load(self, event: OpenSession) -> Awaitable[None] | None:
        """Has the lists in memory before the session begins."""
        user = event.session.bare
        return None if user in self.lists.guards.known else self._load(user)

    @on(SessionUnpacks)
    @on(SessionOpened)
    def opened(self, event: SessionOpened | SessionUnpacks) -> None:
        """Keeps them there."""
        self.lists.guards.settle(event.session.bare)

    @on(SessionMoved, Order.LAST)
    @on(SessionClosed, Order.LAST)
    def closed(self, event: SessionClosed | SessionMoved) -> None:
        """An active list holds as long as its session (§2.2, rule 1)."""
        self.lists.closed(event.session.bare)

    @on(RosterChanged)
    @on(RosterChangedElsewhere)
    def roster_changed(self, event: RosterChanged | RosterChangedElsewhere) -> None:
        """A contact's group or subscription counts from now on (§2.2, rule 9)."""
        self.lists.follow_roster(event.user)

    @on(RemoveUser)
    async def remove_user(self, event: RemoveUser) -> None:
        """An account's lists go with it."""
        await self.lists.remove_user(event.user.bare)

    @on(RemoveDomain)
    async def remove_domain(self, event: RemoveDomain) -> None:
        """The lists of a domain's accounts go with it."""
        await self.lists.store.remove_domain(event.domain)

    # -- what a client sends

    @on(UserSendMessage, Order.CHECK)
    @on(UserSendPresence, Order.CHECK)
    @on(UserSendIQ, Order.CHECK)
    def sent(self, event: Sent) -> Answer:
        """Refuses what a client sends to somebody whom its user denies (§2.14)."""
        guard = self._known(event.session.bare, UNKNOWN)
        if guard is None:
            return None
        if guard is UNKNOWN:
            return self._sent_later(event)
        return self._check_sent(event, guard)

    async def _sent_later(self, event: Sent) -> Outcome:
        guard = await self.lists.guard(event.session.bare)
        return None if guard is None else self._check_sent(event, guard)

    def _check_sent(self, event: Sent, guard: Guard) -> Outcome:
        session = event.session
        self.checked.inc()
        view = View(session.bare, guard.list_for(session), guard.roster)
        item = view.refusal(event.stanza, "out")
        if item is not None:
            self._count(item)
            # XEP-0016 §2.14, XEP-0191 §3.3
            raise StanzaError("not-acceptable", "cancel", app=_BLOCKED if item.blocks else b"")
        return None

    def _count(self, item: Item) -> None:
        self.denied.inc()
        if item.blocks:
            self.blocked.inc()

    # -- what comes for an account

    @on(FilterLocalPacket, Order.CHECK)
    def arrives(self, event: FilterLocalPacket) -> Answer:
        """Refuses what a user denies, before anything else is done with it (§2.2, rule 4)."""
        to = event.stanza.to
        assert to is not None
        guard = self._known(to.bare, UNKNOWN)
        if guard is None:
            return None
        if guard is not UNKNOWN:
            return self._check_arriving(event.stanza, to, guard)
        return None if to.local is None else self._arrives_later(event.stanza, to)

    async def _arrives_later(self, stanza: Stanza, to: JID) -> Outcome:
        guard = await self.lists.guard(to.bare)
        return None if guard is None else self._check_arriving(stanza, to, guard)

    def _check_arriving(self, stanza: Stanza, to: JID, guard: Guard) -> Outcome:
        """Denied is what all deny whom it is for; a session that alone does refuses it later."""
        self.checked.inc()
        sessions = self._addressed(stanza, to) if guard.active else ()
        item = None
        for session in sessions or (None,):
            view = View(to.bare, guard.list_for(session), guard.roster)
            item = view.refusal(stanza, "in")
            if item is None:
                return None
        return None if item is None else self._refuse(stanza, item)

    def _addressed(self, stanza: Stanza, to: JID) -> Collection[SessionLike]:
        """The sessions that a stanza will reach (RFC 6121 §8.5); none: it is for the account."""
        session = self.host.sessions.get(to)
        if session is not None:
            return (session,)
        present = self.host.sessions.available(to.bare)
        if stanza.kind == "message":
            able = [s for s in present if (s.priority or 0) >= 0]
            return able if stanza.type == "headline" else most_available(able)
        if stanza.kind == "presence" and stanza.type in ("", "unavailable"):
            return present
        return ()

    def _refuse(self, stanza: Stanza, item: Item) -> Outcome:
        """XEP-0016 §2.14, XEP-0191 §3.3: as if the user were offline."""
        self._count(item)
        if stanza.kind == "iq" and stanza.type in ("get", "set"):
            raise StanzaError("service-unavailable")
        if stanza.kind == "message" and stanza.type not in _SILENT:
            raise StanzaError("service-unavailable")
        return STOP

    # -- what reaches a session

    @on(UserReceiveMessage, Order.CHECK)
    @on(UserReceivePresence, Order.CHECK)
    @on(UserReceiveIQ, Order.CHECK)
    def received(self, event: Received) -> Outcome:
        """Keeps from a session what its list denies, whatever other sessions get."""
        session = event.session
        guard = self._known(session.bare, UNKNOWN)
        if guard is None:
            return None
        if guard is UNKNOWN:
            # Only if the module was started after the session. What was routed here has been
            # checked on its way; presence of contacts on this server has not.
            self.host.in_background(self._try_to_load(session.bare))
            return None
        self.checked.inc()
        stanza = event.stanza
        view = View(session.bare, guard.list_for(session), guard.roster)
        item = view.refusal(stanza, "in")
        if item is None:
            return None
        if stanza.kind == "iq":
            return self._refuse(stanza, item)
        # No error: a message may have been kept until the user came, or reach other sessions.
        self._count(item)
        return STOP

    async def _load(self, user: JID) -> None:
        await self.lists.guard(user)

    async def _try_to_load(self, user: JID) -> None:
        with suppress(BackendUnavailable):  # the next stanza tries again
            await self.lists.guard(user)

    # -- what other modules ask

    @on(PrivacyCheck)
    def check(self, event: PrivacyCheck) -> Answer:
        """Says whether a user's lists let a stanza pass."""
        guard = self._known(event.user.bare, UNKNOWN)
        if guard is None:
            return None
        if guard is UNKNOWN:
            return self._check_later(event)
        return self._check(event, guard)

    async def _check_later(self, event: PrivacyCheck) -> Outcome:
        guard = await self.lists.guard(event.user.bare)
        return None if guard is None else self._check(event, guard)

    def _check(self, event: PrivacyCheck, guard: Guard) -> Outcome:
        self.checked.inc()
        user = event.user
        session = None if user.is_bare else self.host.sessions.get(user)
        view = View(user.bare, guard.list_for(session), guard.roster)
        item = view.refusal(event.stanza, event.direction)
        if item is not None:
            self._count(item)
            event.allowed = False
        return None

    @on(PresenceRecipients)
    def shows(self, event: PresenceRecipients) -> None:
        """Leaves out those to whom a session's list denies presence (§2.11)."""
        session = event.session
        guard = self._known(session.bare, UNKNOWN)
        if guard is None:
            return
        if guard is UNKNOWN:  # only if the module was started after the session
            self.host.in_background(self._try_to_load(session.bare))
            event.recipients = ()
            return
        view = View(session.bare, guard.list_for(session), guard.roster)
        event.recipients = [to for to in event.recipients if view.allows_presence(to, "out")]
