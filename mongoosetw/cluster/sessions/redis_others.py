"""The sessions of other nodes, as far as they are known, with Redis."""

from collections import deque
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Final

from twisted.internet.interfaces import IReactorTime

from mongoosetw.c2s.binding import close_surplus
from mongoosetw.cluster.sessions.changes import Closed, Opened
from mongoosetw.cluster.sessions.claims import Claims
from mongoosetw.cluster.sessions.departures import LAST_WORDS, Departures
from mongoosetw.cluster.sessions.found import (
    apply_change,
    is_registered,
    look_for_own,
    tell_lost,
    tell_unsure,
    welcome,
)
from mongoosetw.cluster.sessions.recent import Recent
from mongoosetw.cluster.sessions.redis_peers import Peer
from mongoosetw.cluster.sessions.redis_store import Entry
from mongoosetw.cluster.sessions.remote import RemoteSession
from mongoosetw.hooks.c2s import SessionLike
from mongoosetw.xmpp.jid import JID

if TYPE_CHECKING:  # types only
    from mongoosetw.cluster.sessions.relay import Relay
    from mongoosetw.host import Host

MEMORY: Final = 15.0
"""Seconds for which is remembered what was told: longer than any reading takes."""


class Others:
    """Follows the sessions of other nodes.

    What a node tells of its own sessions comes in order and is right. What is read in Redis may be
    older than that, or have been left by a process that is no more.

    :param follows: whether the sessions of a user are to be known.
    :param freed: told of a session that has got its address after a newer one.
    :param missed: which sessions of this node a node does not know to be available.
    :ivar departures: who has gone from them.
    :ivar peers: the nodes whose links are up.
    """

    def __init__(
        self,
        clock: IReactorTime,
        relay: "Relay",
        hosts: Mapping[str, "Host"],
        follows: Callable[[JID], bool],
        freed: Callable[[RemoteSession], None],
        missed: Callable[[Peer], list[SessionLike]],
    ) -> None:
        self._clock = clock
        self._relay = relay
        self._hosts = hosts
        self._follows = follows
        self._freed = freed
        self._missed = missed
        self._told: dict[int, int] = {}
        self._lately: deque[tuple[float, int, int]] = deque()
        self._moment = 0
        self.departures = Departures(clock)
        self._ended: Recent[int, bool] = Recent(clock, LAST_WORDS)
        self.claims = Claims(clock, relay.leaves, freed, relay.stayed.goes_on)
        self.peers: dict[str, Peer] = {}

    # -- what is read

    def moment(self) -> int:
        """Now, as the beginning of a reading: what is told from now on is newer."""
        return self._moment

    def take(
        self, entry: Entry, began: int, *, sure: bool = False
    ) -> RemoteSession | None:
        """A session was found, in a reading that began at a moment.

        :param sure: where its node has written down all; else what is known already is newer.
        :returns: the session if it has become available by that.
        """
        peer = self.peers.get(entry.node)
        if peer is None or peer.node.incarnation != entry.incarnation:
            return None  # when its node is linked, all is read anew
        sid = entry.session.sid
        if (sure or sid not in peer.sessions) and not self._was_told(sid, began):
            return self._apply(peer, entry.session)
        return None

    def answered(self, node: str, record: Opened) -> RemoteSession | None:
        """A node was asked, and has told a session: that is how it is.

        :returns: the session if it is available, though it may be known: who is told of a change
            before all is known need not have been shown to anybody.
        """
        peer = self.peers.get(node)
        if peer is None:
            return None
        self._apply(peer, record)
        session = peer.sessions.get(record.sid)
        return session if session is not None and session.available else None

    def compare(self, peer: Peer, entries: Iterable[Entry], began: int) -> None:
        """All sessions of a node were read: what is not among them is over."""
        there = {entry.session.sid: entry for entry in entries}
        for sid in [sid for sid in peer.sessions if sid not in there]:
            if not self._was_told(sid, began):
                self._close(peer, sid)
        for entry in there.values():
            if self._follows(user_of(entry.session)):
                self.take(entry, began, sure=True)

    def _was_told(self, sid: int, began: int) -> bool:
        """Whether what was told of a session is newer than what is read.

        An end always is: its node may have had no answer from Redis when it told of that.
        """
        told = self._told.get(sid)
        return bool(self._ended.get(sid)) or (told is not None and told > began)

    # -- what is told

    def follow(
        self, peer: Peer, told: Iterable[Opened | Closed]
    ) -> tuple[list[RemoteSession], list[JID]]:
        """A node tells changes.

        :returns: sessions that have become available, and users that are not followed here.
        """
        appeared: list[RemoteSession] = []
        strange: list[JID] = []
        self._moment += 1
        now = self._clock.seconds()
        for record in told:
            self._told[record.sid] = self._moment
            self._lately.append((now, record.sid, self._moment))
            over = isinstance(record, Closed)
            if over or self._ended.get(record.sid):  # an earlier process may have had the sid
                self._ended.put(record.sid, over)
            if isinstance(record, Closed):
                self._close(peer, record.sid, replaced=record.replaced)
            elif not self._follows(user := user_of(record)):
                strange.append(user)
            elif (session := self._apply(peer, record)) is not None:
                appeared.append(session)
        self._forget_told(now - MEMORY)
        return appeared, strange

    def _forget_told(self, before: float) -> None:
        while self._lately and self._lately[0][0] < before:
            _, sid, moment = self._lately.popleft()
            if self._told.get(sid) == moment:
                del self._told[sid]

    def _apply(self, peer: Peer, record: Opened) -> RemoteSession | None:
        """Follows what is known of a session; returns it if it has become available."""
        known = peer.sessions.get(record.sid)
        if known is None:
            return self._open(peer, record)
        before = known.priority
        appeared = apply_change(known, record)
        if not known.available:
            self._departs(peer, known, before)
        return appeared

    def _departs(
        self,
        peer: Peer,
        session: RemoteSession,
        priority: int | None,
        *,
        replaced: bool = False,
    ) -> None:
        """A session is not available any more; clients here are told behind that, if at all.

        As long as nodes do not know all of each other, they may not be; nor are those ever of whom
        the node has not heard yet. Nor has it shown it to these, if it goes on elsewhere.

        :param priority: that it has had; None if it was not available before.
        """
        if priority is not None:
            last = self.departures.add(session, priority)
            if replaced or peer.complete:
                tell_unsure(last, self._missed(peer))
            else:
                tell_lost([last], peer.node.name, left=False)

    def lingering(self, user: JID) -> list[JID]:
        """Clients of an account that some may see still, though they are not available."""
        host = self._hosts.get(user.domain)
        replaced = [] if host is None else self.claims.lingering(host.sessions.of(user))
        return [*replaced, *self.departures.clients(user)]

    def _open(self, peer: Peer, record: Opened) -> RemoteSession | None:
        session = self._make(peer.node.name, record)
        if session is None:
            return None
        peer.sessions[record.sid] = session
        goes_on = self.claims.goes_on(record.continues, session.host.sessions.get(session.jid))
        self.departures.goes_on(record.continues)
        self.claims.make(session, record.continues)
        close_surplus(session.host, session.bare)
        welcome(session)
        if not goes_on and is_registered(session):
            self._freed(session)
            look_for_own(session)
        return session if session.available else None

    def _make(self, node: str, record: Opened) -> RemoteSession | None:
        host = self._hosts.get(record.domain)
        return None if host is None else RemoteSession.told(host, self._relay, node, record)

    def _close(self, peer: Peer, sid: int, *, replaced: bool = False) -> None:
        known = peer.sessions.pop(sid, None)
        if known is not None:
            before = known.priority
            self._follow(self.claims.close(known, replaced=replaced))
            self._departs(peer, known, before, replaced=replaced)

    def _follow(self, session: RemoteSession | None) -> None:
        if session is not None:
            self._freed(session)

    def arrives(self, session: SessionLike, older: SessionLike | None) -> None:
        """A session of this node was registered, maybe in the place of another node's."""
        self.departures.goes_on(session.continues)
        self.claims.overrule(session.jid, older)
        self._relay.arrives(session)

    def stop(self) -> None:
        """The server stops."""
        self.claims.stop()

    # -- what is no longer followed

    def lose(self, peer: Peer) -> tuple[list[RemoteSession], set[int]]:
        """A link is down.

        :returns: the sessions that have gone with it, and the sids of all that were known.
        """
        known = {s.sid for s in self.claims.lose(peer.node.name)} | set(peer.sessions)
        registered = [s for s in peer.sessions.values() if is_registered(s)]
        followers = list(map(self.claims.withdraw, peer.sessions.values()))
        for follower in followers:
            if follower is not None and is_registered(follower):
                self._freed(follower)
        return registered, known

    def drop(self, user: JID) -> None:
        """The sessions of a user are not followed any more."""
        sessions = self._hosts[user.domain].sessions
        # One at a time: in the place of one there may be an older one then
        while remote := [s for s in sessions.of(user) if isinstance(s, RemoteSession)]:
            if (peer := self.peers.get(remote[0].node)) is not None:
                peer.sessions.pop(remote[0].sid, None)
            self._follow(self.claims.withdraw(remote[0]))

    def unregistered(self, entries: Iterable[Entry]) -> list[RemoteSession]:
        """Sessions as they are in Redis, which are not followed."""
        made = [self._make(entry.node, entry.session) for entry in entries]
        return [session for session in made if session is not None]


def user_of(record: Opened) -> JID:
    """The bare JID of a session."""
    return JID(record.local, record.domain, None)
