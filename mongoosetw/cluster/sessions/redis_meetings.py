"""Sessions of this node and of others that may have missed each other are shown each other."""

from collections.abc import Collection, Iterable, Mapping
from typing import TYPE_CHECKING

from mongoosetw.cluster.sessions.changes import Kind, Opened, opened
from mongoosetw.cluster.sessions.departures import Departures
from mongoosetw.cluster.sessions.found import tell_found
from mongoosetw.cluster.sessions.redis_peers import Peer
from mongoosetw.cluster.sessions.remote import RemoteSession
from mongoosetw.hooks.c2s import SessionLike
from mongoosetw.xmpp.jid import JID

if TYPE_CHECKING:  # types only
    from mongoosetw.cluster.sessions.relay import Relay


class Meetings:
    """Brings them together.

    :param relay: knows where sessions have gone.
    :param available: the sessions of this node that are.
    :param peers: the nodes whose links are up.
    :param departures: who has gone from them.
    """

    def __init__(
        self,
        relay: "Relay",
        available: Mapping[SessionLike, None],
        peers: Mapping[str, Peer],
        departures: Departures,
    ) -> None:
        self._relay = relay
        self._departures = departures
        self._available = available
        self._peers = peers

    def found(self, sessions: Iterable[SessionLike]) -> None:
        """Those of this node may have missed sessions of others."""
        tell_found(sessions, self._available)

    def introduce(self, sessions: Iterable[RemoteSession]) -> None:
        """Sessions that were there before: they and those of this node may not see each other."""
        sessions = list(sessions)
        self.found(sessions)
        self.have_shown(sessions)

    def have_shown(self, sessions: Iterable[RemoteSession]) -> None:
        """Has their nodes show them what was said here while they were not known."""
        missed: dict[str, list[bytes]] = {}
        for session in sessions:
            missed.setdefault(session.node, []).append(opened(session))
        for node, bodies in missed.items():
            if (peer := self._peers.get(node)) is not None:
                peer.tell(Kind.MISSED, b"".join(bodies), None, ())

    def missed(self, peer: Peer, told: Collection[Opened]) -> None:
        """Sessions of this node have missed those of another one, which has not known them.

        One of them may have moved meanwhile, to another node or to this one, which may not know
        yet whom it has to see.
        """
        own = {session.sid: session for session in self._available}
        missed = [own[record.sid] for record in told if record.sid in own]
        tell_found(peer.sessions.values(), missed)
        self._departures.tell(peer.node.name, missed)
        for record in told:
            jid = JID(record.local, record.domain, record.resource)
            place = self._relay.moving(record.sid, jid)
            if place is not None:
                self._relay.missed(place)
