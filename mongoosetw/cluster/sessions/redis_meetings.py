"""Sessions of this node and of others that may have missed each other are shown each other."""

from collections.abc import Iterable, Mapping

from mongoosetw.cluster.sessions.changes import Kind, Opened, opened
from mongoosetw.cluster.sessions.found import tell_found
from mongoosetw.cluster.sessions.redis_peers import Peer
from mongoosetw.cluster.sessions.remote import RemoteSession
from mongoosetw.hooks.c2s import SessionLike


class Meetings:
    """Brings them together.

    :param available: the sessions of this node that are.
    :param peers: the nodes whose links are up.
    """

    def __init__(
        self, available: Mapping[SessionLike, None], peers: Mapping[str, Peer]
    ) -> None:
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

    def missed(self, peer: Peer, told: Iterable[Opened]) -> None:
        """Sessions of this node have missed those of another one, which has not known them."""
        sids = {record.sid for record in told}
        missed = [session for session in self._available if session.sid in sids]
        tell_found(peer.sessions.values(), missed)
