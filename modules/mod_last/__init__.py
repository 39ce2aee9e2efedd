"""Last activity of accounts, uptime of the server (XEP-0012)."""

import time
from dataclasses import dataclass

from modules.mod_last.store import LastStore, MemoryLastStore
from modules.mod_last.store_sql import SCHEMA, SQLLastStore
from mongoosetw.config.options import option
from mongoosetw.hooks.cluster import SessionsCleanup
from mongoosetw.hooks.presence import UnsetPresence
from mongoosetw.hooks.roster import IsSubscribed
from mongoosetw.hooks.users import AnonymousPurge, RemoveDomain, RemoveUser
from mongoosetw.module import BARE, DOMAIN, IQ, XEP, Module, on, on_iq
from mongoosetw.xmpp import ns
from mongoosetw.xmpp.errors import StanzaError
from mongoosetw.xmpp.stanza import escape


@dataclass(frozen=True)
class LastOptions:
    """Options of mod_last."""

    backend: str = option("rdbms", choices=("rdbms", "memory"), doc="Where activity is kept.")


class Last(Module[LastOptions]):
    """XEP-0012: Last Activity.

    When an account's resource goes offline, time and status are noted, and told to those who may
    see the account's presence. Asked itself, the server tells for how long it has been running.
    """

    name = "mod_last"
    options_class = LastOptions
    xeps = (XEP(12, "2.0"),)
    features = (ns.LAST,)
    user_features = (ns.LAST,)
    schema = SCHEMA

    def start(self) -> None:
        """Chooses the store."""
        memory = self.options.backend == "memory"
        self.store: LastStore = MemoryLastStore() if memory else SQLLastStore(self.db)

    @on_iq("get", ns.LAST, "query", to=DOMAIN)
    def uptime(self, iq: IQ) -> str:
        """How long the server runs (XEP-0012 §5)."""
        return _query(int(time.time() - self.host.server.started_at), "")

    @on_iq("get", ns.LAST, "query", to=BARE)
    async def last(self, iq: IQ) -> str:
        """How long ago the account was last there; 0 while it is (XEP-0012 §4)."""
        await self._authorise(iq)
        if self.host.sessions.available(iq.user):
            return _query(0, "")
        found = await self.store.get(iq.user)
        if found is None:
            raise StanzaError("item-not-found")
        return _query(max(0, int(time.time()) - found[0]), found[1])

    async def _authorise(self, iq: IQ) -> None:
        """XEP-0012 §4: only for who is subscribed to the account's presence.

        :raises StanzaError: ``forbidden``.
        """
        if iq.from_.bare == iq.user:
            return
        event = IsSubscribed(iq.user, iq.from_.bare)
        await self.host.hooks.run(event)
        if event.subscription not in ("from", "both"):
            raise StanzaError("forbidden")

    @on(UnsetPresence)
    def gone(self, event: UnsetPresence) -> None:
        """Notes when a resource went, with the status that it left."""
        user = event.session.bare
        self.host.in_background(self.store.put(user, int(time.time()), event.status))

    @on(SessionsCleanup)
    async def lost(self, event: SessionsCleanup) -> None:
        """Notes it for those, too, that have gone with their node, which alone knew the status."""
        for user in dict.fromkeys(s.bare for s in event.sessions if s.available):
            await self.store.put(user, int(event.lost_at), "")

    @on(RemoveUser)
    @on(AnonymousPurge)
    async def forget(self, event: RemoveUser) -> None:
        """An account's activity goes with it."""
        await self.store.remove(event.user.bare)

    @on(RemoveDomain)
    async def forget_all(self, event: RemoveDomain) -> None:
        """So does that of all accounts of a domain."""
        await self.store.remove_domain(event.domain)


def _query(seconds: int, status: str) -> str:
    return f"<query xmlns='{ns.LAST}' seconds='{seconds}'>{escape(status)}</query>"
