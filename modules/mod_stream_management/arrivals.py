"""Sessions that come from another node."""

from typing import TYPE_CHECKING

from twisted.internet.defer import Deferred

from modules.mod_stream_management.ledger import SessionLedger
from modules.mod_stream_management.package import Item, Package, Refused
from mongoosetw.c2s.binding import register
from mongoosetw.c2s.session import Session
from mongoosetw.cluster.sessions.remote import RemoteSession
from mongoosetw.hooks.bus import HookFailed
from mongoosetw.hooks.c2s import OpenSession, SessionLike
from mongoosetw.hooks.cluster import SessionUnpacks
from mongoosetw.messagelog import Entry
from mongoosetw.xmpp.errors import StanzaError
from mongoosetw.xmpp.sm import Unacknowledged
from mongoosetw.xmpp.stanza import Stanza

if TYPE_CHECKING:  # types only
    from modules.mod_stream_management.handover import HandOver
    from modules.mod_stream_management.module import StreamManagement


class Arrivals:
    """Makes sessions of what other nodes send."""

    def __init__(self, module: "StreamManagement", handover: "HandOver") -> None:
        self._module = module
        self._host = module.host
        self._handover = handover

    async def install(self, got: Package, node: str) -> None:
        """Goes on with a session of another node; its client is not connected yet.

        :raises Refused: it cannot be here.
        """
        session = self._session(got)
        await self._handover.locate(session.bare)
        try:
            await self._host.hooks.run(OpenSession(session))
        except (StanzaError, HookFailed) as error:
            raise Refused("item-not-found") from error
        older = self._host.sessions.get(got.jid)
        if older is not None and older.sid > got.sid:
            raise Refused("item-not-found", got.counts.received)  # there is a newer one
        ledger = self._ledger(session, got)
        self._register(session, got, older, node)
        taking = Deferred.fromCoroutine(self._handover.take(ledger))
        self._module.keep(ledger, got.left)
        self._host.hooks.fire(SessionUnpacks(session, got.state))
        await taking

    def _session(self, got: Package) -> Session:
        host, now = self._host, self._module.clock.seconds()
        host.server.session_ids.stay_above(got.sid)
        session = Session(None, host, got.jid)
        session.continues = got.sid
        session.flags = got.flags
        session.secure = got.secure
        session.inactive = got.inactive
        session.address = got.address
        session.opened_at = now - got.age
        session.last_activity = now - got.silent
        if got.presence:
            session.presence = Stanza.parse(got.presence)
            session.priority = got.priority
        return session

    def _ledger(self, session: Session, got: Package) -> SessionLedger:
        ledger = SessionLedger(session, self._module, got.resume_id, got.timeout)
        ledger.restore(got.counts, map(_unacknowledged, got.queue))
        session.ledger = ledger
        return ledger

    def _register(
        self, session: Session, got: Package, older: SessionLike | None, node: str
    ) -> None:
        """Makes the session known; the node that had it passes on what has come there."""
        cluster = self._host.server.cluster
        assert cluster is not None
        written_to = isinstance(older, RemoteSession) and older.begun
        register(self._host, session)
        had_all = got.state.get(self._module.name, {}).get("had_all")
        cluster.relay.came(session, node if had_all else None)
        arrived = cluster.relay.fence(session.jid, node) if written_to else None
        if arrived is not None:  # what this node has sent there comes back first
            self._handover.hold(session, got.resume_id, arrived)


def _unacknowledged(item: Item) -> Unacknowledged:
    return item.data, Entry(item.log, shown=item.shown) if item.log else None, item.at
