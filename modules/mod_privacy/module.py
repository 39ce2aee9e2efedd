"""The requests of privacy lists (XEP-0016 §2.3 to §2.8)."""

from collections.abc import Sequence
from functools import partial
from typing import Final

from modules.mod_privacy import requests
from modules.mod_privacy.checks import PrivacyChecks
from modules.mod_privacy.guard import activate, active_list
from modules.mod_privacy.rules import Item
from modules.mod_privacy.store import Edit
from modules.mod_privacy.store_sql import SCHEMA
from mongoosetw.hooks.c2s import SessionLike
from mongoosetw.hooks.roster import RosterGet
from mongoosetw.metrics import Counter
from mongoosetw.module import BARE, IQ, XEP, Needs, on_iq
from mongoosetw.xmpp import ns
from mongoosetw.xmpp.errors import StanzaError
from mongoosetw.xmpp.jid import JID
from mongoosetw.xmpp.stanza import Stanza

INTERESTED: Final = "privacy"
"""Flag of a session that has asked for privacy lists."""
_BLOCKING: Final = "blocking"
"""MongooseIM's name of the list that the first blocked address makes."""


class Privacy(PrivacyChecks):
    """XEP-0016: Privacy Lists.

    A user's lists allow or deny messages, iqs and presence by address, roster group or
    subscription. The default list holds for the account, also while nobody is connected; a client
    may make another one active for itself. What is denied is refused as if the user were
    offline: messages and requests with ``service-unavailable``, presence in silence. What the user
    sends to a denied contact comes back with ``not-acceptable``. Contacts see the user leave when a
    list hides the user from them, and come back when it no longer does, so that lists serve for
    invisibility (XEP-0126) too. The user's own clients and server are never denied.
    """

    xeps = (XEP(16, "1.7"), XEP(126, "1.1"))
    features = (ns.PRIVACY,)
    requires = (Needs("mod_presence", hard=False), Needs("mod_roster", hard=False))
    schema = SCHEMA

    gets = Counter("mod_privacy_get_count", "Requests for lists")
    sets = Counter("mod_privacy_set_count", "Changes of lists")
    sets_active = Counter("mod_privacy_set_active_count", "Choices of an active list")
    sets_default = Counter("mod_privacy_set_default_count", "Choices of a default list")
    pushes = Counter("mod_privacy_push_item_count", "Pushes of changed lists")

    @on_iq("get", ns.PRIVACY, "query", to=BARE)
    async def answer(self, iq: IQ) -> str:
        """Answers with the names of all lists, or with one list."""
        session = own_session(iq)
        session.flag(INTERESTED)
        self.gets.inc()
        user, store = iq.user, self.lists.store
        name = requests.wanted_list(iq.payload)
        if name is None:
            names = await self.lists.use("get_list_names", store.get_list_names(user))
            return requests.names_xml(active_list(session), names)
        items = await self.lists.use("get_privacy_list", store.get_privacy_list(user, name))
        if items is None:
            raise StanzaError("item-not-found")
        return requests.list_xml(name, items)

    @on_iq("set", ns.PRIVACY, "query", to=BARE)
    async def change(self, iq: IQ) -> None:
        """Changes or removes a list, or chooses the active or the default one."""
        session = own_session(iq)
        session.flag(INTERESTED)
        wanted = requests.wanted_change(iq.payload, self.options.max_items)
        await self.lists.change(iq.user, self.name, partial(self._carry_out, session, wanted))
        if wanted.what == "list":
            # §2.2, rule 10: to all connected resources
            self._push(str(wanted.name), self.host.sessions.of(iq.user))

    async def _carry_out(self, session: SessionLike, wanted: requests.Change) -> None:
        if wanted.what == "active":
            await self._activate(session, wanted.name)
        elif wanted.what == "default":
            await self._set_default(session, wanted.name)
        elif wanted.items:
            await self._replace(session, str(wanted.name), wanted.items)
        else:
            await self._remove(session, str(wanted.name))

    async def _activate(self, session: SessionLike, name: str | None) -> None:
        self.sets_active.inc()
        if name is not None:
            asked = self.lists.store.get_privacy_list(session.bare, name)
            if await self.lists.use("get_privacy_list", asked) is None:
                raise StanzaError("item-not-found")
        activate(session, name)

    async def _set_default(self, session: SessionLike, name: str | None) -> None:
        self.sets_default.inc()
        user, store = session.bare, self.lists.store
        old = (await self.lists.use("get_list_names", store.get_list_names(user))).default
        if old is not None and old != name and self._in_use(session, old, old):
            raise StanzaError("conflict")  # §2.5
        if name is None:
            await self.lists.use("forget_default_list", store.forget_default_list(user))
        elif not await self.lists.use("set_default_list", store.set_default_list(user, name)):
            raise StanzaError("item-not-found")

    async def _replace(self, session: SessionLike, name: str, items: tuple[Item, ...]) -> None:
        self.sets.inc()
        user = session.bare
        await self._check_groups(user, {item.value for item in items if item.type == "group"})
        most = self.options.max_lists
        replaced = self.lists.store.replace_privacy_list(user, name, items, most)
        if not await self.lists.use("replace_privacy_list", replaced):
            raise StanzaError("policy-violation", text="too many lists")

    async def _check_groups(self, user: JID, groups: set[str]) -> None:
        """:raises StanzaError: a group is not in the roster (§2.1)."""
        if groups and self.host.hooks.handled(RosterGet):
            event = RosterGet(user)
            await self.host.hooks.run(event)
            if not groups <= {group for item in event.items for group in item.groups}:
                raise StanzaError("item-not-found")

    async def _remove(self, session: SessionLike, name: str) -> None:
        self.sets.inc()
        user, store = session.bare, self.lists.store
        names = await self.lists.use("get_list_names", store.get_list_names(user))
        if self._in_use(session, name, names.default):
            raise StanzaError("conflict")  # §2.8
        removed = store.remove_privacy_list(user, name)
        if not await self.lists.use("remove_privacy_list", removed):
            raise StanzaError("item-not-found")

    def _in_use(self, session: SessionLike, name: str, default: str | None) -> bool:
        """Whether a list applies to another resource of the user (§2.2, rule 11)."""
        others = (s for s in self.host.sessions.of(session.bare) if s is not session)
        return any((active_list(other) or default) == name for other in others)

    def _push(self, name: str, sessions: Sequence[SessionLike]) -> None:
        for session in sessions:
            self.pushes.inc()
            identifier = f"push-{self.host.server.ids.next()}"
            payload = requests.list_xml(name, ())
            push = Stanza.make("iq", to=session.jid, type="set", id=identifier, inner=payload)
            session.send(push)

    # -- what mod_blocking needs

    async def edit_blocklist(self, user: JID, by: str, edit: Edit, *, create: bool) -> None:
        """Changes the default list; without one, ``create`` says whether to make one.

        :param by: the module that was asked to do it.
        """
        store, name = self.lists.store, _BLOCKING if create else None

        async def change() -> None:
            call = store.edit_default_list(user, self._bounded(edit), name)
            await self.lists.use("replace_privacy_list", call)

        await self.lists.change(user, by, change)
        guard = await self.lists.guard(user)
        if guard is not None and guard.default is not None:
            sessions = [s for s in self.host.sessions.of(user) if INTERESTED in s.flags]
            self._push(guard.default.name, sessions)

    def _bounded(self, edit: Edit) -> Edit:
        most = self.options.max_items

        def bounded(items: tuple[Item, ...]) -> tuple[Item, ...]:
            edited = edit(items)
            if len(edited) > max(most, len(items)):
                raise StanzaError("policy-violation", text="too many items")
            return edited

        return bounded


def own_session(iq: IQ) -> SessionLike:
    """The client that asks for something of its own account.

    :raises StanzaError: it asks for somebody else's, which looks as if there were no such account.
    """
    if iq.session is None or iq.user != iq.session.bare:
        raise StanzaError("service-unavailable")
    return iq.session
