"""The module: what is archived when, and the requests of clients."""

from collections.abc import Awaitable
from typing import Final

from twisted.words.xish import domish

from modules.mod_mam import query, results, rules
from modules.mod_mam.lookup import Page, ends, page_of
from modules.mod_mam.options import MAMOptions
from modules.mod_mam.prefs import Mode, Prefs, PrefsStore
from modules.mod_mam.tables import SCHEMA
from modules.mod_mam.upkeep import Upkeep
from mongoosetw.control import Args
from mongoosetw.hooks.bus import STOP, Order, Outcome
from mongoosetw.hooks.c2s import OpenSession, UserSendMessage
from mongoosetw.hooks.roster import IsSubscribed
from mongoosetw.hooks.routing import ArchivePageSent, FilterLocalPacket, UnacknowledgedMessage
from mongoosetw.hooks.users import AnonymousPurge, RemoveDomain, RemoveUser
from mongoosetw.messagelog import MessageLog, marked
from mongoosetw.metrics import Count, Counter
from mongoosetw.module import BARE, IQ, XEP, Module, command, every, on, on_iq
from mongoosetw.xmpp import ns
from mongoosetw.xmpp.errors import StanzaError
from mongoosetw.xmpp.jid import JID, InvalidJID
from mongoosetw.xmpp.stanza import Stanza, escape

_RETRACT: Final = (ns.RETRACT, "retract")
_KNOWN: Final = 100_000


class MAM(Module[MAMOptions]):
    """XEP-0313: Message Archive Management.

    Every message worth keeping that a user sends or receives is in the user's archive, in the
    order in which it came, under an id that clients are told (XEP-0359). Clients read it in pages,
    by contact and time, and may say whose messages are to be archived. A message is kept once,
    in the server's message log, however many archives show it.
    """

    name = "mod_mam"
    options_class = MAMOptions
    xeps = (
        XEP(313, "1.1.3"),
        XEP(59, "1.0"),
        XEP(359, "0.7.0"),
        XEP(424, "0.4.0"),
        XEP(441, "0.2.0"),
    )
    # The server's, too, as in MongooseIM: there are clients that ask nobody else (Profanity)
    features = user_features = (ns.MAM, f"{ns.MAM}#extended", ns.STANZA_ID)
    schema = SCHEMA
    archived = Counter("mod_mam_pm_archive_message_count", "Messages shown in an archive")
    looked_up = Counter("mod_mam_pm_lookup_count", "Pages read")
    prefs_read = Counter("mod_mam_pm_get_prefs_count", "Preferences that clients have read")
    prefs_set = Counter("mod_mam_pm_set_prefs_count", "Preferences that clients have set")
    removed = Counter("mod_mam_pm_remove_archive_count", "Archives removed with their accounts")

    async def start(self) -> None:
        """Opens the message log."""
        self.messages: MessageLog = await self.host.open_message_log()
        self.store = PrefsStore(self.db)
        self._prefs: dict[str, Prefs | None] = {}  # by bare JIDs as text
        self._forgotten = 0
        self._shared_prefs = self.share_cache(
            lambda user: self.forget_prefs(JID.parse(user)), self._forget_all_prefs
        )
        self._archivable = rules.archivable(
            markers=self.options.archive_chat_markers,
            groupchat=self.options.pm.archive_groupchats,
        )
        self._marks = not self.options.pm.no_stanzaid_element
        self._retracts = self.options.message_retraction
        self._archived: Count = self.archived
        self._upkeep = Upkeep(self.host, self.messages, self.db, self.options, self.later)

    def stop(self) -> None:
        """Leaves the words of messages to another host."""
        self._upkeep.stop()

    # -- archiving

    @on(OpenSession, Order.DEFAULT)
    def opening(self, event: OpenSession) -> Awaitable[Outcome] | None:
        """Has the user's preferences at hand before the first message."""
        user = event.session.bare
        return None if user.text in self._prefs else self._prepare(user)

    async def _prepare(self, user: JID) -> None:
        await self._load(user)

    @on(UserSendMessage, Order.STORE)
    def sent(self, event: UserSendMessage) -> Outcome | Awaitable[Outcome]:
        """Archives a message for its sender."""
        stanza = event.stanza
        children = stanza.known_children or stanza.children
        if not self._archivable(stanza.type, children):
            return None
        user, to = event.session.bare, stanza.to
        if to is None or to.bare.text == user.text:
            return None  # to oneself: archived once, on its way in
        if self._prefs.get(user.text, _UNKNOWN) is not None or _RETRACT in children:
            return self._decide(stanza, user, to.bare)
        self.messages.show(stanza, user, to.bare)
        self._archived.value += 1
        return None

    @on(FilterLocalPacket, Order.STORE)
    def received(self, event: FilterLocalPacket) -> Outcome | Awaitable[Outcome]:
        """Archives a message for its recipient, whose copy gets the id."""
        stanza = event.stanza
        entry = stanza.log
        if entry is None or not entry.shown:  # else its sender's archive shows it
            if stanza.kind != "message" or not self._archivable(stanza.type, stanza.children):
                return None
        to, sender = stanza.to, stanza.from_
        assert to is not None and sender is not None
        user = to.bare
        if self._prefs.get(user.text, _UNKNOWN) is not None:
            return self._decide_received(event, user, sender) if user.local else None
        if entry is None:
            self._show(stanza, user, sender.bare)
        else:
            self.messages.show(stanza, user, sender.bare)
            self._archived.value += 1
        if self._marks:
            event.stanza = marked(stanza, user)
        return None

    async def _decide_received(
        self, event: FilterLocalPacket, user: JID, sender: JID
    ) -> Outcome:
        if await self._wanted(user, sender):
            self._show(event.stanza, user, sender.bare)
            if self._marks:
                event.stanza = marked(event.stanza, user)
        return None

    async def _decide(self, stanza: Stanza, user: JID, remote: JID) -> Outcome:
        if await self._wanted(user, remote):
            self._show(stanza, user, remote)
        return None

    def _show(self, stanza: Stanza, user: JID, remote: JID) -> None:
        entered = stanza.log
        self.messages.show(stanza, user, remote)
        self._archived.value += 1
        if entered is None and self._retracts and _RETRACT in stanza.children:
            self.host.in_background(self._upkeep.retract(stanza, user, remote))

    async def _wanted(self, user: JID, remote: JID) -> bool:
        """What the user's preferences say of messages with somebody; False without a user."""
        if user.text not in self._prefs and not await self.host.accounts.exists(user):
            return False
        known = self._prefs[user.text] if user.text in self._prefs else await self._load(user)
        prefs = known or Prefs()
        wanted = prefs.wants(remote)
        if wanted is None:
            event = IsSubscribed(user, remote.bare)
            await self.host.hooks.run(event)
            wanted = event.subscription in ("from", "both", "to")
        return wanted

    async def _load(self, user: JID) -> Prefs | None:
        forgotten = self._forgotten
        prefs = await self.store.get(user)
        if len(self._prefs) >= _KNOWN:
            self._prefs.clear()
        if forgotten == self._forgotten:  # else it may be as old as what was forgotten
            self._prefs[user.text] = prefs
        return prefs

    def forget_prefs(self, user: JID) -> None:
        """Reads a user's preferences again at their next message."""
        self._forgotten += 1
        self._prefs.pop(user.text, None)

    def _forget_all_prefs(self) -> None:
        self._forgotten += 1
        self._prefs.clear()

    @on(UnacknowledgedMessage, Order.EARLY)
    def lost(self, event: UnacknowledgedMessage) -> Outcome:
        """A page that a client did not get is of no use to another one."""
        return STOP if (ns.MAM, "result") in event.stanza.children else None

    @on(RemoveUser)
    @on(AnonymousPurge)
    async def remove(self, event: RemoveUser) -> Outcome:
        """An account's archive and preferences go with it."""
        await self._remove(event.user)
        return None

    @on(RemoveDomain)
    async def remove_domain(self, event: RemoveDomain) -> None:
        """So do those of all accounts of a domain."""
        for name in await self.host.accounts.list(event.domain):
            await self._remove(JID.of(name, event.domain))

    async def _remove(self, user: JID) -> None:
        await self.store.remove(user)
        self.forget_prefs(user)
        self._shared_prefs.changed(str(user))
        await self._upkeep.purge(user, before=query.HIGHEST)
        self.removed.inc()

    # -- upkeep

    @every(5.0)
    def follow(self) -> None:
        """Makes the words of new messages searchable while not much else is to be written."""
        self._upkeep.follow()

    @every(3600.0)
    def let_go(self) -> None:
        """Removes what is older, or more, than archives keep."""
        self.host.in_background(self._upkeep.let_go())

    @command("stats", "jid")
    async def statistics(self, args: Args) -> dict[str, object]:
        """How many messages an archive has, and since when."""
        return await self._upkeep.statistics(JID.parse(args["jid"]).bare)

    @command("purge", "jid", "--before", "--keep")
    async def purge(self, args: Args) -> dict[str, object]:
        """Removes messages of an archive: all, those before a time, or all but the newest."""
        return await self._upkeep.purge_by(args)

    @command("retention", "jid", "--max-age", "--max-messages")
    async def set_retention(self, args: Args) -> dict[str, object]:
        """Shows what one user's archive keeps, or sets it: days and messages, or infinity."""
        return await self._upkeep.retention_of(args)

    @command("export", "jid")
    async def export(self, args: Args) -> list[dict[str, object]]:
        """All messages of an archive."""
        return await self._upkeep.export(JID.parse(args["jid"]).bare)

    # -- requests

    def _check_owner(self, iq: IQ) -> None:
        """:raises StanzaError: somebody else's archive is asked for (XEP-0313 §7)."""
        if iq.user != iq.from_.bare:
            raise StanzaError("forbidden")

    @on_iq("get", ns.MAM, "query", to=BARE)
    def form(self, iq: IQ) -> str:
        """The fields that a query may have (§4.1.5)."""
        self._check_owner(iq)
        return query.form(text=self.options.full_text_search)

    @on_iq("set", ns.MAM, "query", to=BARE)
    async def lookup(self, iq: IQ) -> str:
        """Sends a page of the archive (§4)."""
        self._check_owner(iq)
        options = self.options
        asked = query.parse(
            iq.payload,
            default=options.default_result_limit,
            limit=options.max_result_limit,
            text=options.full_text_search,
        )
        page = await self._page(iq.user, asked)
        found = list(reversed(page.messages)) if asked.flipped else page.messages
        send = self.host.route if iq.session is None else iq.session.send
        for answer in results.page(found, owner=iq.user, to=iq.from_, query_id=asked.query_id):
            send(answer)
        ids = [identifier for identifier, _ in page.messages]
        if iq.session is not None and ids:
            self.host.hooks.fire(ArchivePageSent(iq.session, ids))
        self.looked_up.inc()
        return results.fin(ids, complete=page.complete, count=page.count, index=page.index)

    async def _page(self, user: JID, asked: query.Query) -> Page:
        await self.messages.indexed()
        if asked.text:
            await self._upkeep.follow_to_the_end()
        owner = self.messages.number(user)
        remote = None if asked.with_ is None else self.messages.number(asked.with_.bare)
        count = not self.options.enforce_simple_queries
        return await self.db.read(
            "mam_lookup", lambda c: page_of(c, owner, remote, asked, count=count)
        )

    @on_iq("get", ns.MAM, "metadata", to=BARE)
    async def metadata(self, iq: IQ) -> str:
        """When the archive begins and ends (§6.1.1)."""
        self._check_owner(iq)
        await self.messages.indexed()
        owner = self.messages.number(iq.user)
        first, last = await self.db.read("mam_metadata", lambda c: ends(c, owner))
        return results.metadata(first, last)

    @on_iq("get", ns.MAM, "prefs", to=BARE)
    async def get_prefs(self, iq: IQ) -> str:
        """The user's preferences (XEP-0441 §2)."""
        self._check_owner(iq)
        self.prefs_read.inc()
        return _prefs_xml(await self.store.get(iq.user) or Prefs())

    @on_iq("set", ns.MAM, "prefs", to=BARE)
    async def set_prefs(self, iq: IQ) -> str:
        """Changes them (XEP-0441 §2)."""
        self._check_owner(iq)
        prefs = _prefs(iq.payload)
        await self.store.put(iq.user, prefs)
        self.prefs_set.inc()
        self.forget_prefs(iq.user)
        self._shared_prefs.changed(str(iq.user))
        return _prefs_xml(prefs)


_UNKNOWN: Final = Prefs()


def _prefs(element: domish.Element) -> Prefs:
    modes: dict[str, Mode] = {"always": "always", "never": "never", "roster": "roster"}
    default = modes.get(element.getAttribute("default") or "")
    if default is None:
        raise StanzaError("bad-request")
    lists = {e.name: frozenset(map(_jid, e.elements())) for e in element.elements()}
    return Prefs(default, lists.get("always", frozenset()), lists.get("never", frozenset()))


def _jid(element: domish.Element) -> JID:
    try:
        return JID.parse(str(element).strip())
    except InvalidJID as error:
        raise StanzaError("jid-malformed", text=str(error)) from error


def _prefs_xml(prefs: Prefs) -> str:
    def jids(found: frozenset[JID]) -> str:
        return "".join(f"<jid>{escape(str(jid))}</jid>" for jid in sorted(found, key=str))

    return (
        f"<prefs xmlns='{ns.MAM}' default='{prefs.default}'><always>{jids(prefs.always)}</always>"
        f"<never>{jids(prefs.never)}</never></prefs>"
    )
