"""Which sessions there are on the other nodes: the back end ``redis``, where nodes know some.

Redis says where the sessions of a user are. A node that needs them registers as one that watches
the user, reads what there is, and from then on is told changes by the nodes that have the
sessions, over the links. Each of these learns who watches with the same round trip that writes the
change down: so whatever the order at Redis, it is read or told.
"""

import logging
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any

from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import IReactorTime

from mongoosetw.cluster.mesh import Mesh, Node
from mongoosetw.cluster.sessions.calls import Calls
from mongoosetw.cluster.sessions.changes import (
    BadFrame,
    Frame,
    Kind,
    Opened,
    closed,
    opened,
    records,
    unpack,
)
from mongoosetw.cluster.sessions.directory import CHANNEL, READY, pause
from mongoosetw.cluster.sessions.found import (
    is_there,
    successors,
    tell_found,
    tell_overdue,
    welcome,
)
from mongoosetw.cluster.sessions.redis_asking import Asking
from mongoosetw.cluster.sessions.redis_losses import Losses
from mongoosetw.cluster.sessions.redis_meetings import Meetings
from mongoosetw.cluster.sessions.redis_others import Others, user_of
from mongoosetw.cluster.sessions.redis_peers import Peer
from mongoosetw.cluster.sessions.redis_store import Entry, Store
from mongoosetw.cluster.sessions.redis_upkeep import AGAIN, Tasks, Upkeep
from mongoosetw.cluster.sessions.redis_watching import Watching
from mongoosetw.cluster.sessions.redis_writing import Change, Writing
from mongoosetw.cluster.sessions.remote import RemoteSession
from mongoosetw.hooks.c2s import SessionLike
from mongoosetw.storage.redis import RedisUnavailable
from mongoosetw.xmpp.jid import JID

if TYPE_CHECKING:  # types only
    from mongoosetw.cluster.sessions.relay import Relay
    from mongoosetw.host import Host

logger = logging.getLogger(__name__)


class RedisDirectory:
    """Nodes know the sessions of the users that they have to do with.

    :param note: has what happened written down for the operator: what, which node, how.
    """

    def __init__(
        self,
        mesh: Mesh,
        clock: IReactorTime,
        relay: "Relay",
        calls: Calls,
        store: Store,
        note: Callable[[str, str, str], None] = lambda what, node, how: None,
    ) -> None:
        self._mesh = mesh
        self._clock = clock
        self._store = store
        self._relay = relay
        self._hosts: dict[str, Host] = {}
        self._available: dict[SessionLike, None] = {}
        self._tasks = Tasks(clock)
        self._writing = Writing(store, clock, self._written)
        self._watching = Watching(store, clock, self, self._writing.flush)
        follows, missed = self._watching.__contains__, self._writing.missed_by
        self._others = Others(clock, relay, self._hosts, follows, self._follow, missed)
        self._peers = self._others.peers
        self._losses = Losses(mesh, store, self._tasks, self._others, note)
        departures = self._others.departures
        self._meetings = Meetings(relay, self._available, self._peers, departures)
        asks = calls, self._tasks, self._others, follows
        self._asking = Asking(*asks, self.own, self._count, self._meetings.introduce)
        mesh.receive(CHANNEL, self._received)
        mesh.watch(self._up, self._down)
        left = self._take_left
        tell, heard = self._announce, self._writing.heard
        self._upkeep = Upkeep(store, self._tasks, self._watching, left, tell, heard)

    # -- Directory

    def attach(self, host: "Host") -> None:
        """A host is served from now on."""
        self._hosts[host.domain] = host
        host.sessions.watcher = self
        host.locate = self.prepare

    def detach(self, host: "Host") -> None:
        """It is served no longer."""
        self._writing.flush()
        for user in [user for user in self._watching.users() if user.domain == host.domain]:
            self._watching.forget(user)
        del self._hosts[host.domain]
        host.sessions.watcher = None
        host.locate = None

    def prepare(self, users: Iterable[JID]) -> "Deferred[None] | None":
        """Makes sure that the sessions of accounts are known here."""
        return self._watching.prepare(users)

    def told(self) -> "Deferred[None] | None":
        """Makes sure that all nodes that follow them know what has happened to sessions here."""
        return self._writing.done()

    def follows(self, user: JID) -> bool:
        """Whether the sessions of an account are known here, or about to be."""
        return user in self._watching

    def lingering(self, user: JID) -> list[JID]:
        """Clients of an account that some may see still, though they are not available."""
        return self._others.lingering(user)

    def has_met(self, session: SessionLike) -> bool:
        """Whether a session of another node was shown to clients here, as far as they may see it.

        What is not followed yet of a node is shown when all its sessions were read.
        """
        if not isinstance(session, RemoteSession):
            return True
        peer = self._peers.get(session.node)
        return peer is not None and peer.complete

    def spoke(self, session: SessionLike) -> None:
        """A session of this node that was available has new presence."""
        for peer in self._peers.values():
            if not peer.complete:
                peer.spoke[session] = None

    async def everybody(self, host: "Host") -> list[SessionLike]:
        """All sessions of a host, on all nodes."""
        found = list(host.sessions.local())
        for peer in list(self._peers.values()):
            entries = await self._store.of_node(peer.node.name)
            there = [e for e in entries if e.incarnation == peer.node.incarnation]
            found += [s for s in self._others.unregistered(there) if s.host is host]
        return found

    async def count(self, host: "Host") -> int:
        """How many there are: each node counts its own."""
        return host.sessions.local_count + await self._asking.count(host.domain)

    def _count(self, domain: str) -> int:
        host = self._hosts.get(domain)
        return 0 if host is None else host.sessions.local_count

    def ready(self) -> "Deferred[None]":
        """Fires when Redis was reached, and all nodes that could be have said who they are."""
        if self._is_ready():
            return succeed(None)
        return Deferred.fromCoroutine(self._wait(self._clock.seconds() + READY))

    async def _wait(self, until: float) -> None:
        while not self._is_ready() and self._clock.seconds() < until:
            await pause(self._clock, 0.025)
        if not self._upkeep.registered:
            logger.warning("sessions_without_redis nodes=%d", len(self._peers))

    def _is_ready(self) -> bool:
        greeted = all(peer.greeted for peer in self._peers.values())
        return bool(self._upkeep.registered) and greeted and not self._mesh.awaited

    def describe(self) -> list[dict[str, Any]]:
        """For each other node how many of its sessions are known here."""
        return [
            {"node": name, "sessions": len(peer.sessions), "complete": peer.greeted}
            for name, peer in sorted(self._peers.items())
        ]

    def stop(self) -> None:
        """The server stops."""
        self._writing.flush()
        self._watching.stop()
        self._others.stop()
        self._tasks.stop()

    # -- Knowledge

    def serves(self, user: JID) -> bool:
        """Whether the user's domain is served here."""
        return user.domain in self._hosts

    def own(self, user: JID) -> Sequence[SessionLike]:
        """The user's sessions of this node."""
        host = self._hosts.get(user.domain)
        return () if host is None else [s for s in host.sessions.of(user) if s.local]

    def rewritten(self, user: JID, watchers: frozenset[str]) -> None:
        """The sessions of this node were written down anew; who has read them may be wrong."""
        body = b"".join(map(opened, self.own(user)))
        for peer in self._peers.values() if body else ():
            if peer.node.name in watchers:
                self._say(peer, Kind.REWRITTEN, body, None, ())

    def moment(self) -> int:
        """Now, as the beginning of a reading."""
        return self._others.moment()

    def take(self, entries: Iterable[Entry], began: int, *, late: bool) -> None:
        """Sessions were found in Redis."""
        own, found = self._mesh.local, []
        for entry in entries:
            if (entry.node, entry.incarnation) == (own.name, own.incarnation):
                self._take_own(entry.session)
            elif (session := self._others.take(entry, began)) is not None:
                found.append(session)
        if late:
            self._meetings.introduce(found)

    def _take_own(self, session: Opened) -> None:
        """Redis was away when a session of this node ended."""
        user = user_of(session)
        if session.domain in self._hosts and not any(s.sid == session.sid for s in self.own(user)):
            self._writing.gone(user, session.sid)

    def _take_left(self, entry: Entry) -> None:
        """A session that this process or an earlier one of its name has written down."""
        if entry.incarnation == self._mesh.local.incarnation:
            self._take_own(entry.session)
        else:
            self._writing.gone(user_of(entry.session), entry.session.sid)

    def drop(self, user: JID) -> None:
        """The user's sessions on other nodes are not followed any more."""
        self._others.drop(user)

    async def ask(self, users: Sequence[JID]) -> None:
        """Redis does not answer: the other nodes are asked, and tell all changes from now on."""
        self._upkeep.withdraw()
        await self._asking.ask_all(users)

    # -- SessionWatcher: what this node tells

    def opened(self, session: SessionLike, older: SessionLike | None) -> None:
        """A session of this node was registered, maybe in the place of another node's."""
        goes_on = self._others.claims.goes_on(session.continues, older)
        self._others.arrives(session, older)
        self._watching.prepare((session.bare,))
        self.changed(session)
        if not goes_on:
            tell_found([session], self._available)
            # What was said here did not reach its old place: it looks around, when it is unpacked
            self._tasks.later(0, self._relay.missed, session)

    def changed(self, session: SessionLike) -> None:
        """Its presence, priority or flags changed."""
        seen = None
        if not session.available:
            self._disappear(session)
        elif session not in self._available:
            self._available[session] = None
            seen = {name: peer.seen for name, peer in self._peers.items()}
            for peer in self._peers.values():
                peer.late = peer.late or not peer.complete
        new = () if seen is None else (session,)
        change = self._writing.there(session, seen)
        self._tell_at_once(change, session, opened(session), new)

    def closed(self, session: SessionLike) -> None:
        """It is registered no longer."""
        self._disappear(session)
        replaced = session.host.sessions.get(session.jid) is not None
        change = self._writing.ended(session, replaced=replaced)
        body = closed(session.sid, replaced=replaced)
        self._tell_at_once(change, session, body, ())
        for peer in self._peers.values():
            peer.misled.pop(session.sid, None)
        follower = self._others.claims.freed(session.host, session.jid)
        if follower is not None:
            self._follow(follower)

    def _disappear(self, session: SessionLike) -> None:
        if session in self._available:
            del self._available[session]
            self._writing.forget(session)
            for peer in self._peers.values():
                peer.forget(session)

    def _tell_at_once(
        self, change: Change, session: SessionLike, body: bytes, new: Sequence[SessionLike]
    ) -> None:
        """Tells those who are known to follow a user, before anything else is sent to them."""
        watchers, server = self._watching.watchers(session.bare), self._store.redis.server
        told = [
            peer
            for peer in self._peers.values()
            if peer.wants(watchers, server) or session.sid in peer.misled
        ]
        for peer in told:
            self._tell_one(peer, body, None, new, asked=peer.watches == server)
        change.tell(set(told))

    def _written(
        self, user: JID, change: Change, watchers: frozenset[str] | None, server: str
    ) -> None:
        """Tells those who began to follow a user in the meantime."""
        if watchers is not None:
            self._watching.note(user, watchers)
        told = change.told or set()
        for peer in change.told_some:
            if not peer.wants(watchers, server):
                peer.mislead(filter(is_there, change.there))
        wanting = [p for p in self._peers.values() if p.wants(watchers, server) and p not in told]
        body = change.body() if wanting else b""
        if not body:
            return
        new = [session for session in change.new if session in self._available]
        for peer in wanting:
            asked = watchers is not None and peer.watches == server
            seen = change.seen.get(peer.node.name, 0) if new else None
            self._tell_one(peer, body, seen, new, asked=asked)

    def _tell_one(
        self,
        peer: Peer,
        body: bytes,
        seen: int | None,
        new: Sequence[SessionLike],
        *,
        asked: bool,
    ) -> None:
        self._say(peer, Kind.CHANGES if asked else Kind.UNASKED, body, seen, new)

    def _say(
        self, peer: Peer, kind: Kind, body: bytes, seen: int | None, new: Sequence[SessionLike]
    ) -> None:
        if not peer.tell(kind, body, seen, new):
            self._postpone(peer)

    # -- links

    def _up(self, node: Node) -> None:
        def send(frame: bytes) -> bool:
            return self._mesh.send(node.name, CHANNEL, frame)

        peer = self._peers[node.name] = Peer(node, send)
        self._greet(peer)

    def _greet(self, peer: Peer) -> None:
        """Has a node read the sessions of this one."""
        number = sum(host.sessions.local_count for host in self._hosts.values())
        if not peer.say(Kind.BEGIN, f"{number} {self._upkeep.registered}".encode()):
            self._postpone(peer)

    def _announce(self) -> None:
        """Tells the nodes where this one's users are registered."""
        for peer in self._peers.values():
            if not peer.say(Kind.WATCHES, self._upkeep.registered.encode()):
                self._postpone(peer)
            self._catch_up(peer)
        if self._upkeep.registered:
            self._losses.look_for_others()

    def _postpone(self, peer: Peer) -> None:
        """There was no room for what a node has to be told: it reads all anew, later."""
        logger.warning("sessions_not_told peer=%s reason=queue-full", peer.node.name)
        self._tasks.later(AGAIN, self._greet_again, peer)

    def _greet_again(self, peer: Peer) -> None:
        if self._peers.get(peer.node.name) is peer:
            self._greet(peer)

    def _down(self, node: Node) -> None:
        peer = self._peers.pop(node.name, None)
        if peer is None or self._tasks.stopped:
            return
        self._asking.forget(node.name)
        moved = successors(peer.sessions.values())
        moved += self._losses.lose(peer)
        self._meetings.found(dict.fromkeys(moved))  # the last said there may be lost

    # -- what other nodes tell

    def _received(self, node: Node, payload: bytes) -> None:
        peer = self._peers.get(node.name)
        if peer is None:
            return
        try:
            frame = unpack(payload)
            peer.heard(frame.seen)
            self._take(peer, frame)
        except (BadFrame, UnicodeDecodeError, ValueError) as error:
            logger.error("sessions_unreadable peer=%s reason=%s", node.name, error)

    def _take(self, peer: Peer, frame: Frame) -> None:
        if frame.kind in (Kind.CHANGES, Kind.UNASKED, Kind.REWRITTEN):
            self._take_changes(peer, frame)
        elif frame.kind is Kind.MISSED:
            peer.arrived()
            told = records(frame.body)
            self._meetings.missed(peer, [r for r in told if isinstance(r, Opened)])
        elif frame.kind is Kind.WATCHES:
            peer.watches = frame.body.decode()
            self._catch_up(peer)
        elif frame.kind is Kind.BEGIN:
            number, _, peer.watches = frame.body.decode().partition(" ")
            peer.complete = not peer.greeted and not int(number)
            if not peer.complete:
                peer.unread = True
                self._catch_up(peer)
            if peer.unread:  # later; what is followed cannot wait
                self._ask_now(peer)
            peer.greeted = True
        elif frame.kind is not Kind.SEEN:
            raise BadFrame(f"{frame.kind.name}: does it use another general.sm_backend?")

    def _take_changes(self, peer: Peer, frame: Frame) -> None:
        peer.arrived()
        appeared, strange = self._others.follow(peer, records(frame.body))
        if frame.kind is not Kind.UNASKED:
            for user in strange:
                self._watching.withdraw(user)
        known = frame.kind is not Kind.REWRITTEN
        is_late = self._asking.is_unanswered
        late = [s for s in appeared if not known or is_late(peer.node.name, s.bare)]
        if late:
            self._meetings.introduce(late)
        if len(late) < len(appeared):
            tell_found(appeared, self._writing.missed_by(peer))
        peer.acknowledge()

    def _catch_up(self, peer: Peer) -> None:
        """Reads all sessions of a node, if that is to be done, and can be."""
        server = self._store.redis.server
        if peer.unread and server and peer.watches == server:
            peer.unread = False
            self._tasks.run(self._read_all(peer))

    async def _read_all(self, peer: Peer) -> None:
        """A node is linked again, or could not be told of some changes."""
        began, node = self._others.moment(), peer.node
        try:
            entries = await self._store.of_node(node.name)
        except RedisUnavailable:
            peer.unread = True
            self._ask_now(peer)
            raise
        if self._peers.get(node.name) is not peer:
            return
        entries = [entry for entry in entries if entry.incarnation == node.incarnation]
        self._others.compare(peer, entries, began)
        rest = [entry for entry in entries if entry.session.sid not in peer.sessions]
        others = self._others.unregistered(rest)
        tell_found(peer.sessions.values(), self._available, others)
        peer.complete = True
        tell_overdue(peer.spoke, peer.sessions.values())
        peer.spoke.clear()
        if peer.late:
            peer.late = False
            self._meetings.have_shown(peer.sessions.values())

    def _ask_now(self, peer: Peer) -> None:
        """What is followed of a node's sessions cannot wait until Redis is back."""

        def found(sessions: Iterable[RemoteSession]) -> None:
            sessions = list(sessions)
            (self._meetings.introduce if peer.late else self._meetings.found)(sessions)
            tell_overdue(peer.spoke, sessions)

        if self._peers.get(peer.node.name) is peer:
            self._tasks.run(self._asking.ask(peer.node.name, self._watching.users(), found))

    def _follow(self, session: RemoteSession) -> None:
        """A session has got its address after one that was newer: until then nobody saw it."""
        if session.available:
            welcome(session)
            self._meetings.introduce([session])
