"""Messages for accounts without an available resource (XEP-0160, XEP-0203)."""

import time
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from modules.mod_offline.store import Kept, MemoryOfflineStore, OfflineStore
from modules.mod_offline.store_sql import SCHEMA, SQLOfflineStore
from mongoosetw.config.options import option
from mongoosetw.hooks.bus import STOP, Order, Outcome
from mongoosetw.hooks.c2s import SessionClosed, SessionLike
from mongoosetw.hooks.presence import PresenceChanged, UserAvailable
from mongoosetw.hooks.routing import OfflineMessage
from mongoosetw.hooks.users import RemoveUser
from mongoosetw.module import XEP, Module, every, on
from mongoosetw.xmpp import ns
from mongoosetw.xmpp.jid import JID
from mongoosetw.xmpp.stanza import Stanza, escape

EXPIRE: Final = "jabber:x:expire"  # XEP-0023
_DEFAULT_LIMIT: Final = 100


@dataclass(frozen=True)
class OfflineOptions:
    """Options of mod_offline."""

    access_max_user_messages: str = option(
        "max_user_offline_messages",
        doc="Access rule that says how many messages an account may keep; 100 without it.",
    )
    backend: str = option("rdbms", choices=("rdbms", "memory"), doc="Where messages are kept.")
    store_groupchat_messages: bool = option(False, doc="Keep messages of type groupchat too.")


class Offline(Module[OfflineOptions]):
    """XEP-0160: Best Practices for Handling Offline Messages.

    Messages for an account without an available resource are kept, as many as the access rule
    ``access_max_user_messages`` allows, and delivered with the time of their arrival when a client
    comes online that takes messages. What nobody would miss, such as chat states, is not kept.
    """

    name = "mod_offline"
    options_class = OfflineOptions
    xeps = (XEP(160, "1.0.1"), XEP(203, "2.0"), XEP(23, "1.3"))
    features = (ns.MSGOFFLINE,)
    user_features = (ns.MSGOFFLINE,)
    schema = SCHEMA

    def start(self) -> None:
        """Chooses the store."""
        memory = self.options.backend == "memory"
        self._waiting: set[SessionLike] = set()
        self._resending: set[JID] = set()
        self.store: OfflineStore = MemoryOfflineStore() if memory else SQLOfflineStore(self.db)

    @on(OfflineMessage, Order.DEFAULT)
    async def keep(self, event: OfflineMessage) -> Outcome:
        """Keeps a message; one too many is left to be bounced (XEP-0160 §2)."""
        stanza = event.stanza
        if not self._wanted(stanza):
            return STOP if _is_only_a_state(stanza) else None  # a bare state is worth no error
        now = _now()
        sender = stanza.from_ or self.host.jid
        kept = Kept(now, _expiry(stanza, now), str(sender), stanza.forwarded().decode())
        limit = self.host.access.number(
            self.options.access_max_user_messages, event.user, _DEFAULT_LIMIT
        )
        if await self.store.write(event.user.bare, kept, limit):
            return STOP
        self.log.info("offline_messages_full user=%s", event.user.bare)
        return None

    def _wanted(self, stanza: Stanza) -> bool:
        """XEP-0160 §3, XEP-0334 §4.1, §4.2."""
        if stanza.type in ("headline", "error"):
            return False
        if stanza.type == "groupchat" and not self.options.store_groupchat_messages:
            return False
        # no-permanent-store is about archives: XEP-0334 §4.1 lets it wait for the recipient
        if stanza.has(ns.HINTS, "no-store"):
            return False
        return stanza.has(ns.HINTS, "store") or not _is_only_a_state(stanza)

    @on(UserAvailable, Order.LATE)
    async def resend(self, event: UserAvailable) -> None:
        """Delivers what was kept (XEP-0160 §2, step 5)."""
        if (event.session.priority or 0) < 0:
            # RFC 6121 §8.5.2.1: a negative priority takes no messages for the bare JID
            self._waiting.add(event.session)
        else:
            await self._resend(event.session)

    @on(PresenceChanged)
    def reconsider(self, event: PresenceChanged) -> None:
        """A negative priority may have become another one: then it is time to deliver."""
        session = event.session
        if (session.priority or 0) < 0:
            self._waiting.add(session)
        elif session in self._waiting:
            self._waiting.discard(session)
            self.host.in_background(self._resend(session))

    @on(SessionClosed)
    def closed(self, event: SessionClosed) -> None:
        """Forgets a session that never became ready."""
        self._waiting.discard(event.session)

    async def _resend(self, session: SessionLike) -> None:
        user = session.bare
        if user in self._resending:
            return
        self._resending.add(user)
        try:
            messages = await self.store.read(user)
            recipient = self._recipient(session)
            if messages and recipient is not None:
                self._deliver(recipient, messages)
                await self.store.remove_through(user, messages[-1].number)
        finally:
            self._resending.discard(user)

    def _recipient(self, session: SessionLike) -> SessionLike | None:
        """The session, or another one if it has gone while the messages were read."""
        able = [s for s in self.host.sessions.available(session.bare) if (s.priority or 0) >= 0]
        return session if session in able else next(iter(able), None)

    def _deliver(self, session: SessionLike, messages: list[Kept]) -> None:
        now = _now()
        for kept in messages:
            if kept.expire is None or kept.expire > now:
                session.deliver(self._delayed(kept))

    def _delayed(self, kept: Kept) -> Stanza:
        stanza = Stanza.parse(kept.packet)
        stamp = datetime.fromtimestamp(kept.at / 1_000_000, UTC)
        delay = (
            f"<delay xmlns='{ns.DELAY}' from='{escape(self.host.domain)}'"
            f" stamp='{stamp:%Y-%m-%dT%H:%M:%S}.{stamp.microsecond // 1000:03d}Z'/>"
        )
        return stanza.copy(inner=stanza.inner + delay.encode())

    @on(RemoveUser)
    async def forget(self, event: RemoveUser) -> None:
        """An account's messages go with it."""
        await self.store.remove(event.user.bare)

    @every(3600.0)
    def sweep(self) -> None:
        """Removes what has expired."""
        self.host.in_background(self._sweep())

    async def _sweep(self) -> None:
        await self.store.remove_expired(_now())


def _now() -> int:
    return int(time.time() * 1_000_000)


def _is_only_a_state(stanza: Stanza) -> bool:
    """XEP-0085 §5.1 and XEP-0160 §3: a chat state alone (or nothing) is not kept."""
    states = [space == ns.CHATSTATES for space, tag in stanza.children if tag != "thread"]
    return all(states)


def _expiry(stanza: Stanza, now: int) -> int | None:
    element = stanza.child(EXPIRE, "x")
    seconds = element.getAttribute("seconds") if element is not None else None
    if not seconds or not seconds.isascii() or not seconds.isdigit() or len(seconds) > 10:
        return None
    return now + int(seconds) * 1_000_000
