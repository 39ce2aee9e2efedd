"""The roster module: requests, pushes, and the subscription stanzas in both directions."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace

from twisted.words.xish import domish

from modules.mod_roster import rules
from modules.mod_roster.contacts import Contacts, Rosters
from modules.mod_roster.pushes import INTERESTED, Pushes, item_xml, version_of
from modules.mod_roster.rules import NONE
from modules.mod_roster.store import SCHEMA, Item, RosterStore
from mongoosetw.config.options import option
from mongoosetw.delivery import hidden_from, hide_presence, show_presence
from mongoosetw.hooks.bus import STOP, Order, Outcome
from mongoosetw.hooks.c2s import OpenSession, SessionLike, StreamFeatures, UserSendPresence
from mongoosetw.hooks.presence import UserAvailable
from mongoosetw.hooks.roster import (
    IsSubscribed,
    MaySee,
    RosterChanged,
    RosterChangedElsewhere,
    RosterGet,
    SubscriptionLists,
)
from mongoosetw.hooks.routing import FilterLocalPacket
from mongoosetw.hooks.users import AnonymousPurge, RemoveDomain, RemoveUser
from mongoosetw.host import Host
from mongoosetw.metrics import Counter
from mongoosetw.module import BARE, IQ, XEP, Module, on, on_iq
from mongoosetw.xmpp import ns
from mongoosetw.xmpp.errors import StanzaError
from mongoosetw.xmpp.jid import JID, InvalidJID
from mongoosetw.xmpp.stanza import Stanza

SUBSCRIPTION_TYPES = frozenset({"subscribe", "subscribed", "unsubscribe", "unsubscribed"})
_CACHED_USERS = 20_000
_LONGEST_NAME = 1023
_ATTEMPTS = 10
"""How often a change is tried while other nodes change the same item."""
Rule = Callable[[Contacts, Item | None], Item | None]
"""Makes the new item from the old one; None removes it."""


@dataclass(frozen=True)
class RosterOptions:
    """Options of mod_roster."""

    versioning: bool = option(False, doc="Offer roster versioning (RFC 6121 §2.6).")
    store_current_id: bool = option(
        False,
        doc="MongooseIM's; makes no difference here: a roster's version is made from its content, "
        "and kept with it in memory.",
    )
    backend: str = option("rdbms", choices=("rdbms",), doc="Where rosters are kept.")
    max_items: int = option(1000, minimum=1, doc="Most contacts of one user.")


class Roster(Module[RosterOptions]):
    """RFC 6121 §2, §3: rosters and presence subscriptions.

    Keeps each user's contacts with names and groups, pushes changes to all clients that have asked
    for the roster, and follows the subscription states of RFC 6121 appendix A, pre-approval
    included. Requests that wait for an answer are kept and shown at each login.
    """

    name = "mod_roster"
    options_class = RosterOptions
    xeps = (XEP(237, "1.3"),)
    schema = SCHEMA
    gets = Counter("mod_roster_get_count", "Rosters that clients asked for")
    sets = Counter("mod_roster_set_count", "Changes of rosters by clients")
    pushes = Counter("mod_roster_push_count", "Roster items pushed to clients")
    subscriptions = Counter(
        "sm_presence_subscription_subscription_count", "Contacts that users let see their presence"
    )
    unsubscriptions = Counter(
        "sm_presence_subscription_unsubscription_count",
        "Contacts that see a user's presence no longer",
    )

    def __init__(self, host: Host, options: RosterOptions) -> None:
        super().__init__(host, options)
        self._store = RosterStore(self.db)
        self.rosters = Rosters(self._store, _CACHED_USERS)
        self._pushes = Pushes(host, self.rosters, self.pushes, versioned=options.versioning)
        self._cache = self.share_cache(self._forget, self._forget_all)

    # -- what is known

    def _forget(self, user: str) -> None:
        """Another node has changed a roster."""
        jid = JID.parse(user)
        before = self.rosters.known(jid)
        self.rosters.forget(jid)
        if self._cache.late:
            self._pushes.make_up(jid, before)
        else:
            self._pushes.follow(jid)
        self.host.hooks.fire(RosterChangedElsewhere(jid))

    def _forget_all(self) -> None:
        """Other nodes have changed more than they can tell."""
        users = {user: self.rosters.known(user) for user in self._pushes.interested()}
        self.rosters.forget_all()
        for user, before in users.items():
            self._pushes.make_up(user, before)

    @on(OpenSession, Order.DEFAULT)
    def load(self, event: OpenSession) -> Awaitable[None] | None:
        """Has the roster in memory before the session begins."""
        return self.rosters.use(event.session.bare, lambda contacts: None)

    @on(RosterGet)
    def get(self, event: RosterGet) -> Awaitable[None] | None:
        """Answers with the listed items."""
        return self.rosters.use(event.user, lambda contacts: event.items.extend(contacts.listed()))

    @on(SubscriptionLists)
    def lists(self, event: SubscriptionLists) -> Awaitable[None] | None:
        """Answers with the contacts of each direction."""
        return self.rosters.use(
            event.user, lambda known: event.add(known.lists.to_them, known.lists.from_them)
        )

    @on(MaySee)
    def may_see(self, event: MaySee) -> None:
        """Finds the users who see some others' presence, or whose roster is not loaded."""
        known = self.rosters.known
        for user in event.users:
            contacts = known(user)
            if contacts is None or not contacts.lists.to_them.isdisjoint(event.others):
                event.found.add(user)

    @on(IsSubscribed)
    def subscribed(self, event: IsSubscribed) -> Awaitable[None] | None:
        """Answers with the subscription of one contact."""

        def answer(contacts: Contacts) -> None:
            item = contacts.get(event.contact)
            if item is not None:
                event.subscription = item.state.subscription
                event.ask = item.state.ask

        return self.rosters.use(event.user, answer)

    @on(RemoveUser)
    @on(AnonymousPurge)
    async def remove_user(self, event: RemoveUser) -> None:
        """Cancels all subscriptions of a user that is removed, and forgets the roster."""
        user = event.user
        async with self.rosters.changing(user) as contacts:
            watching = [item.jid for item in contacts.all() if item.state.from_]
            seen = {contact: await self._seen(user, contact) for contact in watching}
            await self._store.remove_user(user)
            self.rosters.forget(user)
            self._cache.changed(str(user))
        for item in contacts.all():
            self._cancel(user, item)
            self._hide(seen.get(item.jid, []), item.jid)

    async def _seen(self, user: JID, contact: JID) -> list[SessionLike]:
        """The sessions of a user that are shown to a contact."""
        sessions = self.host.sessions.available(user)
        hidden = await hidden_from(sessions, contact)
        return [session for session in sessions if session not in hidden]

    @on(RemoveDomain)
    async def remove_domain(self, event: RemoveDomain) -> None:
        """Forgets the rosters of a domain; contacts elsewhere keep theirs."""
        await self._store.remove_domain(event.domain)

    # -- requests (RFC 6121 §2.2 to §2.5)

    @on(StreamFeatures)
    def announce(self, event: StreamFeatures) -> None:
        """Announces pre-approval and, if it is on, versioning."""
        if event.authenticated:
            event.features.append(f"<sub xmlns='{ns.PRE_APPROVAL}'/>".encode())
            if self.options.versioning:
                event.features.append(f"<ver xmlns='{ns.ROSTER_VERSIONING}'/>".encode())

    @on_iq("get", ns.ROSTER, "query", to=BARE)
    async def answer(self, iq: IQ) -> bytes | None:
        """Answers with the roster; its asker is interested from now on (§2.1.3)."""
        _check_owner(iq)
        self.gets.inc()
        contacts = await self.rosters.get(iq.user)
        if iq.session is not None:
            iq.session.flag(INTERESTED)
        version = version_of(contacts) if self.options.versioning else ""
        if version and iq.payload.getAttribute("ver") == version:
            return None  # §2.6.2: nothing has changed
        attribute = f" ver='{version}'" if version else ""
        body = "".join(map(item_xml, contacts.listed()))
        return f"<query xmlns='{ns.ROSTER}'{attribute}>{body}</query>".encode()

    @on_iq("set", ns.ROSTER, "query", to=BARE)
    async def change(self, iq: IQ) -> None:
        """Adds, changes or removes one contact (§2.3, §2.4, §2.5)."""
        _check_owner(iq)
        self.sets.inc()
        elements = [e for e in iq.payload.elements() if e.name == "item"]
        if len(elements) != 1:
            raise StanzaError("bad-request")  # §2.3.3
        contact = _contact(elements[0])
        if contact == iq.user:
            raise StanzaError("not-allowed")
        if elements[0].getAttribute("subscription") == "remove":
            await self._remove(iq.user, contact)
            return

        def rule(contacts: Contacts, old: Item | None) -> Item:
            if old is None and len(contacts) >= self.options.max_items:
                raise StanzaError("policy-violation", text="too many contacts")
            return _item(elements[0], contact, NONE if old is None else old.state)

        await self._change(iq.user, contact, rule)

    async def _remove(self, user: JID, contact: JID) -> None:
        hidden = await hidden_from(self.host.sessions.available(user), contact)
        seen: list[SessionLike] = []

        def rule(contacts: Contacts, old: Item | None) -> None:
            if old is None or not old.listed:
                raise StanzaError("item-not-found")  # §2.5.3
            seen[:] = [s for s in self.host.sessions.available(user) if s not in hidden]

        item = await self._change(user, contact, rule)
        assert item is not None
        self._cancel(user, item)
        if item.state.from_:
            self._hide(seen, contact)  # §3.2.2

    def _cancel(self, user: JID, item: Item) -> None:
        """§2.5.2: removing a contact ends the subscriptions."""
        if item.state.to or item.state.ask:
            self._route(user, item.jid, "unsubscribe")
        if item.state.from_ or item.state.asked:
            self._route(user, item.jid, "unsubscribed")

    async def _change(self, user: JID, contact: JID, rule: Rule) -> Item | None:
        """Changes one item by a rule; from the start again, if another node was quicker.

        :returns: the item before.
        :raises StanzaError: the rule refuses, or other nodes were quicker too often.
        """
        for _ in range(_ATTEMPTS):
            async with self.rosters.changing(user) as contacts:
                before = contacts.get(contact)
                after = rule(contacts, before)
                if after is not None and not after.listed and after.state == NONE:
                    after = None
                if before == after or await self._store_change(user, before, after):
                    self._changed(user, contacts, before, after)
                    return before
                self.rosters.forget(user)
            self._pushes.make_up(user, contacts)
        raise StanzaError("resource-constraint", "wait")

    async def _store_change(self, user: JID, before: Item | None, after: Item | None) -> bool:
        if after is not None:
            return await self._store.save(user, after, before)
        assert before is not None
        return await self._store.remove(user, before)

    def _changed(
        self, user: JID, contacts: Contacts, before: Item | None, after: Item | None
    ) -> None:
        """Keeps and tells what has been stored, while nobody else changes the roster."""
        if before == after:
            return
        self._count(before.state if before else NONE, after.state if after else NONE)
        if after is not None:
            contacts.put(after)
        elif before is not None:
            contacts.drop(before.jid)
        self._cache.changed(str(user))  # before the push: who gets it may ask for the roster
        if after is not None and after.listed:
            self._pushes.push(user, contacts, after)
            self.host.hooks.fire(RosterChanged(user, after.jid, after.state.subscription))
        elif before is not None and before.listed:
            self._pushes.push_removal(user, contacts, before.jid)
            self.host.hooks.fire(RosterChanged(user, before.jid, "remove"))

    def _count(self, before: rules.State, after: rules.State) -> None:
        if after.from_ and not before.from_:
            self.subscriptions.inc()
        elif before.from_ and not after.from_:
            self.unsubscriptions.inc()

    # -- subscriptions (RFC 6121 §3)

    @on(UserSendPresence, Order.EARLY)
    def outbound(self, event: UserSendPresence) -> Awaitable[Outcome] | Outcome:
        """A client manages a subscription."""
        stanza = event.stanza
        if stanza.type not in SUBSCRIPTION_TYPES:
            return None
        if stanza.to is None:
            raise StanzaError("bad-request")
        user, contact = event.session.bare, stanza.to.bare
        return STOP if contact == user else self._outbound(user, contact, stanza)

    async def _outbound(self, user: JID, contact: JID, stanza: Stanza) -> Outcome:
        hidden = await hidden_from(self.host.sessions.available(user), contact)
        seen: list[SessionLike] = []

        def rule(contacts: Contacts, old: Item | None) -> Item:
            seen[:] = [s for s in self.host.sessions.available(user) if s not in hidden]
            item = old or Item(contact, listed=False)
            listed = item.listed or stanza.type in ("subscribe", "subscribed")
            return replace(item, state=rules.outbound(item.state, stanza.type)[0], listed=listed)

        old = await self._change(user, contact, rule)
        before = NONE if old is None else old.state
        state, routed = rules.outbound(before, stanza.type)
        if routed:
            # §3.1.2: from and to are bare JIDs
            await self._hand_over(stanza.copy(from_=user, to=contact))
        if state.from_ and not before.from_:
            self._show_presence(user, contact)
        elif before.from_ and not state.from_:
            self._hide(seen, contact)  # §3.2.2
        return STOP

    @on(FilterLocalPacket, Order.EARLY)
    def inbound(self, event: FilterLocalPacket) -> Awaitable[Outcome] | Outcome:
        """A contact manages its subscription to a user of ours."""
        stanza = event.stanza
        if stanza.kind != "presence" or stanza.type not in SUBSCRIPTION_TYPES:
            return None
        if stanza.to is None or stanza.from_ is None or stanza.to.local is None:
            return None
        return self._inbound(stanza.to.bare, stanza.from_.bare, stanza)

    async def _inbound(self, user: JID, contact: JID, stanza: Stanza) -> Outcome:
        if not await self.host.accounts.exists(user):
            if stanza.type == "subscribe":
                self._route(user, contact, "unsubscribed")  # §3.1.3
            return STOP
        hidden = await hidden_from(self.host.sessions.available(user), contact)
        seen: list[SessionLike] = []

        def rule(contacts: Contacts, old: Item | None) -> Item:
            seen[:] = [s for s in self.host.sessions.available(user) if s not in hidden]
            item = old or Item(contact, listed=False)
            return replace(item, state=rules.inbound(item.state, stanza.type)[0])

        old = await self._change(user, contact, rule)
        before = NONE if old is None else old.state
        state, shown, answer = rules.inbound(before, stanza.type)
        if shown:
            self._show(user, stanza.copy(from_=contact, to=user))
        if answer:
            await self._hand_over(_managing(user, contact, answer))
        if state.from_ and (answer or not before.from_):
            self._show_presence(user, contact)
        elif before.from_ and not state.from_:
            self._hide(seen, contact)  # §3.3.3
        return STOP

    def _show(self, user: JID, stanza: Stanza) -> None:
        for session in self.host.sessions.available(user):
            session.deliver(stanza)

    @on(UserAvailable, Order.LATE)
    def show_requests(self, event: UserAvailable) -> Awaitable[None] | None:
        """§3.1.3: requests that were not answered are shown at each login."""
        session = event.session

        def show(contacts: Contacts) -> None:
            for jid in contacts.lists.asking:
                asked = Stanza.make("presence", from_=jid, to=session.bare, type="subscribe")
                session.deliver(asked)

        return self.rosters.use(session.bare, show)

    def _show_presence(self, user: JID, contact: JID) -> None:
        """§3.1.5: the contact learns of the user's presence."""
        for session in self.host.sessions.available(user):
            show_presence(session, contact)

    def _hide(self, seen: list[SessionLike], contact: JID) -> None:
        """The contact loses sight of what it has seen."""
        for session in seen:
            hide_presence(session, contact)

    def _route(self, user: JID, contact: JID, type: str) -> None:
        self.host.route(_managing(user, contact, type))

    async def _hand_over(self, stanza: Stanza) -> None:
        """Routes a stanza ahead of the presence that it lets through (RFC 6120 §10.1)."""
        pending = self.host.router.route(stanza)
        if pending is not None:
            await pending


def _managing(user: JID, contact: JID, type: str) -> Stanza:
    return Stanza.make("presence", from_=user, to=contact, type=type)


def _check_owner(iq: IQ) -> None:
    """§2.1.5: only the owner sees and changes a roster."""
    if iq.user != iq.from_.bare:
        raise StanzaError("forbidden")


def _contact(element: domish.Element) -> JID:
    try:
        return JID.parse(element.getAttribute("jid") or "").bare
    except InvalidJID as error:
        raise StanzaError("jid-malformed" if element.hasAttribute("jid") else "bad-request") from (
            error
        )


def _item(element: domish.Element, contact: JID, state: rules.State) -> Item:
    name = element.getAttribute("name") or ""
    groups = [str(e) for e in element.elements() if e.name == "group"]
    if len(name) > _LONGEST_NAME or any(len(g) > _LONGEST_NAME or not g for g in groups):
        raise StanzaError("not-acceptable")  # §2.3.3
    if len(set(groups)) != len(groups):
        raise StanzaError("bad-request")  # §2.3.3
    return Item(contact, name, tuple(sorted(groups)), state)
