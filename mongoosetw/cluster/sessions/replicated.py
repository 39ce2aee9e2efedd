"""The directory ``replicated``: every node knows all sessions of all nodes.

Every session is written by the node that has it, and nobody else.
"""

import logging
from collections.abc import Callable, Iterable
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import IDelayedCall, IReactorTime

from mongoosetw.c2s.binding import close_surplus
from mongoosetw.cluster.mesh import Mesh, Node
from mongoosetw.cluster.sessions.changes import (
    NUMBERED,
    BadFrame,
    Closed,
    Frame,
    Kind,
    Opened,
    closed,
    opened,
    records,
    unpack,
)
from mongoosetw.cluster.sessions.claims import Claims
from mongoosetw.cluster.sessions.departures import Departures
from mongoosetw.cluster.sessions.directory import CHANNEL, READY, pause
from mongoosetw.cluster.sessions.found import (
    apply_change,
    is_registered,
    look_for_own,
    successors,
    tell_found,
    tell_lost,
    tell_overdue,
    tell_unsure,
    welcome,
)
from mongoosetw.cluster.sessions.peer import PATIENCE, Peer
from mongoosetw.cluster.sessions.remote import RemoteSession
from mongoosetw.hooks.c2s import SessionLike
from mongoosetw.xmpp.jid import JID

if TYPE_CHECKING:  # types only
    from mongoosetw.cluster.sessions.relay import Relay
    from mongoosetw.host import Host

PACE: Final = 0.025
"""Seconds between two portions."""
ACKNOWLEDGE: Final = 64
"""Changes that are taken before their node is told so, if there is nothing else to tell."""

logger = logging.getLogger(__name__)


class Replicated:
    """All nodes know all sessions.

    :param note: has what happened written down for the operator: what, which node, how.
    """

    def __init__(
        self,
        mesh: Mesh,
        clock: IReactorTime,
        relay: "Relay",
        note: Callable[[str, str, str], None] = lambda what, node, how: None,
    ) -> None:
        self._mesh = mesh
        self._clock = clock
        self._relay = relay
        self._note = note
        self._hosts: dict[str, Host] = {}
        self._peers: dict[str, Peer] = {}
        self._stopped = False
        follow, goes_on_there = self._follow, relay.stayed.goes_on
        self._claims = Claims(clock, relay.leaves, follow, goes_on_there, self._is_doomed)
        self._departures = Departures(clock)
        self._available: dict[SessionLike, None] = {}  # in the order of time
        self._pacing: IDelayedCall | None = None
        mesh.receive(CHANNEL, self._received)
        mesh.watch(self._up, self._down)

    # -- Directory

    def attach(self, host: "Host") -> None:
        """A host is served from now on; the other nodes are asked who is there."""
        self._hosts[host.domain] = host
        host.sessions.watcher = self
        for peer in self._peers.values():
            peer.copy.awaited.add(host.domain)
            if not peer.feed.ask(host.domain):
                self._lose_track(peer)

    def detach(self, host: "Host") -> None:
        """It is served no longer."""
        del self._hosts[host.domain]
        host.sessions.watcher = None
        for peer in self._peers.values():
            peer.copy.awaited.discard(host.domain)
            known = peer.copy.sessions
            for session in [s for s in known.values() if s.host is host]:
                del known[session.sid]
                self._claims.withdraw(session)
        self._claims.forget(host)

    def prepare(self, users: Iterable[JID]) -> None:
        """All are known always."""

    def told(self) -> None:
        """Everything is told at once."""

    def lingering(self, user: JID) -> list[JID]:
        """Clients of an account that some may see still, though they are not available."""
        host = self._hosts.get(user.domain)
        replaced = [] if host is None else self._claims.lingering(host.sessions.of(user))
        return [*replaced, *self._departures.clients(user)]

    def has_met(self, session: SessionLike) -> bool:
        """Whether a session of another node was shown to clients here, as far as they may see it.

        That is so when each of the two nodes knows all sessions of the other.
        """
        if not isinstance(session, RemoteSession):
            return True
        peer = self._peers.get(session.node)
        return peer is not None and peer.copy.complete and session not in peer.found

    def spoke(self, session: SessionLike) -> None:
        """A session of this node that was available has new presence."""
        for peer in self._peers.values():
            if not peer.copy.complete:
                peer.spoke[session] = None

    async def everybody(self, host: "Host") -> list[SessionLike]:
        """All sessions of a host, on all nodes."""
        return list(host.sessions)

    async def count(self, host: "Host") -> int:
        """How many there are."""
        return host.sessions.count()

    def ready(self) -> "Deferred[None]":
        """Fires when all nodes that could be reached have told their sessions."""
        if self._is_ready():
            return succeed(None)
        return Deferred.fromCoroutine(self._wait(self._clock.seconds() + READY))

    async def _wait(self, until: float) -> None:
        while not self._is_ready() and self._clock.seconds() < until:
            await pause(self._clock, PACE)
        for peer in self._peers.values():
            if not peer.copy.complete:
                logger.warning("sessions_incomplete peer=%s", peer.node.name)

    def _is_ready(self) -> bool:
        return not self._mesh.awaited and all(p.copy.complete for p in self._peers.values())

    def describe(self) -> list[dict[str, Any]]:
        """For each other node how many of its sessions are known here, and whether all are."""
        return [
            {"node": name, "sessions": len(peer.copy.sessions), "complete": peer.copy.complete}
            for name, peer in sorted(self._peers.items())
        ]

    def stop(self) -> None:
        """The server stops: there is nothing more to tell but what happens now."""
        self._stopped = True
        if self._pacing is not None:
            self._pacing.cancel()
            self._pacing = None
        self._claims.stop()

    # -- SessionWatcher: what this node tells

    def opened(self, session: SessionLike, older: SessionLike | None) -> None:
        """A session of this node was registered, maybe in the place of another node's."""
        goes_on = self._claims.goes_on(session.continues, older)
        self._departures.came(session, older)
        self._claims.overrule(session.jid, older)
        self._relay.arrives(session)
        self.changed(session)
        if not goes_on:
            tell_found([session], self._available)

    def changed(self, session: SessionLike) -> None:
        """Its presence, priority or flags changed."""
        appeared = session.available and session not in self._available
        if appeared:
            self._available[session] = None
        elif not session.available:
            self._disappear(session)
        if self._peers:
            self._tell(opened(session), session if appeared else None)

    def closed(self, session: SessionLike) -> None:
        """It is registered no longer."""
        self._disappear(session)
        if self._peers:
            replaced = session.host.sessions.get(session.jid) is not None
            self._tell(closed(session.sid, replaced=replaced))
        for peer in self._peers.values():
            if peer.feed.whole:
                peer.over.put(session.jid.text, (session.sid, peer.feed.number))
        self._follow(self._claims.freed(session.host, session.jid))

    def _disappear(self, session: SessionLike) -> None:
        if session in self._available:
            del self._available[session]
            for peer in self._peers.values():
                peer.feed.forget(session)
                peer.spoke.pop(session, None)

    def _tell(self, record: bytes, appeared: SessionLike | None = None) -> None:
        for peer in self._peers.values():
            self._tell_one(peer, record, appeared)

    def _tell_one(
        self,
        peer: Peer,
        record: bytes,
        appeared: SessionLike | None = None,
        kind: Kind = Kind.CHANGES,
    ) -> None:
        peer.feed.tell(record, appeared, kind)
        if peer.feed.behind and peer.again_at <= self._clock.seconds():
            self._postpone(peer)

    def _postpone(self, peer: Peer) -> None:
        logger.warning("sessions_not_told peer=%s reason=queue-full", peer.node.name)
        peer.again_at = self._clock.seconds() + PATIENCE
        self._pace()

    # -- links

    def _up(self, node: Node) -> None:
        send = partial(self._mesh.send, node.name, CHANNEL, patient=True)
        extend = partial(self._mesh.extend, node.name, CHANNEL)
        peer = self._peers[node.name] = Peer(node, send, extend, self._clock)
        self._begin(peer)

    def _begin(self, peer: Peer) -> None:
        peer.feed.begin([s for host in self._hosts.values() for s in host.sessions.local()])
        if peer.feed.behind:
            self._postpone(peer)
        peer.feed.pump()
        self._pace()

    def _pace(self) -> None:
        if self._pacing is not None or self._stopped:
            return
        if any(peer.feed.busy or peer.lost_track for peer in self._peers.values()):
            self._pacing = self._clock.callLater(PACE, self._step)

    def _step(self) -> None:
        self._pacing = None
        for peer in self._peers.values():
            if peer.feed.behind and peer.again_at <= self._clock.seconds():
                self._begin(peer)
            else:
                peer.feed.pump()
            if peer.lost_track:
                self._ask_anew(peer)
        self._pace()

    def _down(self, node: Node) -> None:
        peer = self._peers.pop(node.name, None)
        if peer is None:
            return
        self._claims.lose(node.name)
        left = self._mesh.left(node.name)
        known = list(peer.copy.sessions.values())
        # Who leaves has said all that it had to say
        gone = [] if left else self._departures.of_node(node.name, known)
        registered = [s for s in known if is_registered(s)]
        places = self._departures.places((*known, *gone))
        moved = successors(known)
        followers = list(map(self._claims.withdraw, known))
        if registered:
            text = f"{len(registered)}, {'it left' if left else 'it was lost'}"
            self._note("sessions lost", node.name, text)
            logger.info("sessions_lost peer=%s sessions=%d", node.name, len(registered))
        # Those that were put aside, too: they cannot say goodbye any more to those who see them.
        tell_lost([s for s in known if s not in places], node.name, left=left)
        tell_found(moved, self._available)  # the last that they have said there may be lost
        self._tell_last_words(node, gone, places)
        for follower in followers:
            self._follow(follower)

    def _tell_last_words(
        self, node: Node, gone: list[RemoteSession], places: dict[RemoteSession, SessionLike]
    ) -> None:
        """What a lost node had to say of those who had gone before is said to who has missed it."""
        bereft, over = self._departures.bereft(node), [s for s in gone if s not in places]
        tell_lost(over, node.name, left=False, over=True, missed=bereft)
        tell_found([places[s] for s in gone if s in places], bereft)

    # -- what other nodes tell

    def _received(self, node: Node, payload: bytes) -> None:
        peer = self._peers.get(node.name)
        if peer is None:
            return
        try:
            frame = unpack(payload)
            if self._accepts(peer, frame):
                self._take(peer, frame)
        except BadFrame as error:
            logger.error("sessions_unreadable peer=%s reason=%s", node.name, error)
            self._lose_track(peer)
        if peer.copy.seen - peer.feed.told >= ACKNOWLEDGE:
            peer.feed.acknowledge()
            self._pace()

    def _accepts(self, peer: Peer, frame: Frame) -> bool:
        peer.feed.seen(frame.seen)
        if (peer.found or peer.asked) and peer.feed.settled:
            self._settled(peer)
        if frame.kind is Kind.BEGIN:
            peer.copy.begin(frame.number)
            peer.lost_track = False
            return False
        if frame.kind not in NUMBERED or peer.copy.follows(frame.number):
            return True
        self._lose_track(peer)
        return False

    def _settled(self, peer: Peer) -> None:
        """The node knows all sessions of this one: from now on nobody misses anybody."""
        found, peer.found = peer.found, []
        asked, peer.asked = peer.asked, set()
        tell_found(found, self._available)
        missed = [s for s in self._available if s.host.domain in asked]
        tell_found(peer.available(), missed)

    def _take(self, peer: Peer, frame: Frame) -> None:
        if frame.kind is Kind.ASK:
            self._asked(peer, frame.body.decode(errors="replace"))
        elif frame.kind is Kind.COMPLETE:
            for session in peer.copy.end():
                self._follow(self._claims.withdraw(session))
            logger.info("sessions_known peer=%s number=%d", peer.node.name, len(peer.copy.sessions))
            tell_found(peer.available(), self._available)
            tell_overdue(peer.spoke, peer.available())
            peer.spoke.clear()
        elif frame.kind is Kind.MISSED:
            own = [s for record in records(frame.body) if (s := self._own(record))]
            tell_found(peer.available(), own)
            self._departures.tell(peer.node.name, own)
        elif frame.kind is Kind.DOMAIN:
            self._domain_told(peer, frame.body.decode(errors="replace"))
        else:
            appeared = [s for record in records(frame.body) if (s := self._change(peer, record))]
            self._appeared(peer, appeared)
        if frame.kind in (Kind.PORTION, Kind.COMPLETE, Kind.DOMAIN):
            peer.feed.acknowledge()
            self._pace()

    def _lose_track(self, peer: Peer) -> None:
        """Takes nothing more until the node begins anew."""
        peer.copy.begun = False
        peer.lost_track = True
        self._ask_anew(peer)
        self._pace()

    def _ask_anew(self, peer: Peer) -> None:
        now = self._clock.seconds()
        if now - peer.asked_at >= PATIENCE and peer.feed.ask():
            peer.asked_at = now
            logger.warning("sessions_asked_anew peer=%s", peer.node.name)

    def _asked(self, peer: Peer, domain: str) -> None:
        if not domain:
            self._begin(peer)
            return
        host = self._hosts.get(domain)
        if host is not None:
            peer.asked.add(domain)
        peer.feed.begin_domain(domain, [] if host is None else list(host.sessions.local()))
        peer.feed.pump()
        self._pace()

    def _domain_told(self, peer: Peer, domain: str) -> None:
        peer.copy.awaited.discard(domain)
        found = [s for s in peer.available() if s.host.domain == domain]
        tell_found(found, self._available)

    def _change(self, peer: Peer, record: Opened | Closed) -> SessionLike | None:
        """As :meth:`_apply`; and sees to goodbyes for clients whom the peer does not know yet."""
        known = peer.copy.sessions.get(record.sid)
        priority = None if known is None else known.priority
        appeared = self._apply(peer, record)
        over = isinstance(record, Closed) or record.priority is None
        if known is not None and over and priority is not None:
            self._departs(peer, known, priority)
        return appeared

    def _departs(self, peer: Peer, session: RemoteSession, priority: int) -> None:
        last = self._departures.add(session, priority)
        if peer.feed.settled:
            tell_unsure(session, peer.feed.missed())
        elif session.sid in peer.copy.sessions or not is_registered(session):
            tell_lost([last], session.node, left=False)  # else the newer one is awaited

    def _apply(self, peer: Peer, record: Opened | Closed) -> SessionLike | None:
        """Follows a change; returns the session if it has become available."""
        known = peer.copy.find(record.sid)
        if isinstance(record, Closed):
            if known is not None:
                del peer.copy.sessions[record.sid]
                self._follow(self._claims.close(known, replaced=record.replaced))
            return None
        if known is None:
            return self._open(peer, record)
        return apply_change(known, record)

    def _open(self, peer: Peer, record: Opened) -> SessionLike | None:
        host = self._hosts.get(record.domain)
        if host is None:
            return None
        session = RemoteSession.told(host, self._relay, peer.node.name, record)
        peer.copy.sessions[record.sid] = session
        goes_on = self._claims.goes_on(record.continues, host.sessions.get(session.jid))
        self._departures.goes_on(record.continues)
        self._claims.make(session, record.continues)
        close_surplus(host, session.bare)
        welcome(session)
        if not goes_on:
            self._introduce(peer, session)
        return session if session.available else None

    def _is_doomed(self, session: RemoteSession) -> bool:
        """Whether its node will hear of a newer one of this node, and close it therefore.

        One that it has made after that one was over there is none: its clock may be slow.
        """
        peer = self._peers.get(session.node)
        newer = None if peer is None else peer.over.get(session.jid.text)
        if peer is None or newer is None:
            return False
        sid, ended = newer
        return sid > session.sid and not peer.feed.has_seen(ended)

    def _introduce(self, peer: Peer, session: RemoteSession) -> None:
        """A session has moved whose old node is not linked, so that nobody here knows it."""
        if is_registered(session):
            self._relay.missed(session)
            look_for_own(session)
            if peer.copy.complete:  # else it is found at the end of the portions
                tell_found([session], self._available)

    def _appeared(self, peer: Peer, appeared: list[SessionLike]) -> None:
        """Finds out who has missed sessions that have become available."""
        if not peer.copy.complete or not appeared:
            return  # at the end of the portions all of them are found
        found = [s for s in appeared if s.host.domain not in peer.copy.awaited]
        if peer.feed.settled:
            tell_found(found, peer.feed.missed())
        else:
            peer.found += found

    def _follow(self, session: RemoteSession | None) -> None:
        """A session of another node has got its address after another one that was newer.

        It and those of this node may have missed each other as long as it had not.
        """
        if session is None or not session.available or not is_registered(session):
            return
        welcome(session)
        tell_found([session], self._available)
        peer = self._peers.get(session.node)
        if peer is not None:
            self._tell_one(peer, opened(session), kind=Kind.MISSED)

    def _own(self, record: Opened | Closed) -> SessionLike | None:
        """The session of this node that a record names, if it is available."""
        return next((s for s in self._available if s.sid == record.sid), None)
