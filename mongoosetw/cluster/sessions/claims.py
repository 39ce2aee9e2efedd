"""Which of several sessions has an address: of all nodes' sessions with one full JID the newest.

There is no vote. Every node registers the session with the greatest sid of those that it knows,
and closes those of its own that are not it; what it has told to others of them is taken back when
they are closed. Until then the lesser ones of other nodes are kept aside: one of them counts when
the greater is gone and nobody has told its node. If it was told, the lesser one is doomed, and
counts no more: two nodes would each take the session of the other for the one that is there.
"""

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Final

from twisted.internet.interfaces import IDelayedCall, IReactorTime

from mongoosetw.c2s.binding import REPLACED
from mongoosetw.cluster.sessions.found import is_registered, tell_lost
from mongoosetw.cluster.sessions.remote import RemoteSession
from mongoosetw.hooks.c2s import SessionLike
from mongoosetw.xmpp.jid import JID

if TYPE_CHECKING:  # types only
    from mongoosetw.host import Host

PATIENCE: Final = 1.0
"""Seconds within which a newer session, of which a node has told, has to become known."""


class Claims:
    """The sessions of other nodes, and which of them are registered.

    :param leaves: told of each that is registered no longer.
    :param follow: told of each that has got its address after another one that nobody ended.
    :param goes_on_there: told of a session of this node and of one that continues it elsewhere;
        whether nothing more has to be done, else it is closed.
    :param is_doomed: whether the node of a session was told of a newer one, which is over by now.
    """

    def __init__(
        self,
        clock: IReactorTime,
        leaves: Callable[[RemoteSession], object],
        follow: Callable[[RemoteSession], object],
        goes_on_there: Callable[[SessionLike, RemoteSession], bool],
        is_doomed: Callable[[RemoteSession], bool] = lambda session: False,
    ) -> None:
        self._clock = clock
        self._leaves = leaves
        self._follow = follow
        self._goes_on_there = goes_on_there
        self._is_doomed = is_doomed
        self._ending: dict[RemoteSession, tuple[IDelayedCall, int | None]] = {}
        self._aside: dict[str, list[RemoteSession]] = {}  # by address, as text

    def make(self, session: RemoteSession, continues: int = 0) -> None:
        """A session of another node has become known.

        :param continues: the sid that it had before it moved, if it has.
        """
        registry = session.host.sessions
        current = registry.get(session.jid)
        if (current is not None and current.sid >= session.sid) or self._is_doomed(session):
            self._put_aside(session)  # its node closes it, when it learns of the newer one
            return
        older = registry.add(session)
        if older is None:
            return
        if isinstance(older, RemoteSession):
            _, older.priority = self._ending.get(older, (None, older.priority))
            self.replaced(older)
            if continues == older.sid and not session.available:
                # It has moved, and has said goodbye where this node was not known
                tell_lost([older], older.node, left=False)
        elif continues != older.sid or not self._goes_on_there(older, session):
            older.close(*REPLACED)

    def replaced(self, session: RemoteSession) -> None:
        """A session of another node has lost its address to a newer one."""
        self._leaves(session)
        self._put_aside(session)

    def overrule(self, jid: JID, older: SessionLike | None) -> None:
        """A session of this node has an address, and every node is told so.

        Those that other nodes have are as good as closed. None may come back here when the new one
        ends before that: nodes wait for one another, each for one that had an older session.
        """
        self._aside.pop(jid.text, None)
        if isinstance(older, RemoteSession):
            self._is_over(older)
            self._leaves(older)

    def goes_on(self, continues: int, older: SessionLike | None) -> bool:
        """Whether clients here know a session as it was before it moved, if it has.

        :param continues: the sid that it had.
        :param older: the session that has had its address here until now.
        """
        if not continues or older is None or older.sid != continues:
            return not continues
        return older.available or older in self._ending

    def _put_aside(self, session: RemoteSession) -> None:
        if not self._is_over(session):
            self._aside.setdefault(session.jid.text, []).append(session)

    def _is_over(self, session: RemoteSession) -> bool:
        """Whether a session has ended, and had its address only until the newer one is known."""
        late, _ = self._ending.pop(session, (None, None))
        if late is not None and late.active():
            late.cancel()
        return late is not None

    def lingering(self, sessions: Iterable[SessionLike]) -> list[JID]:
        """The addresses of unavailable sessions for which older ones were put aside."""
        return [s.jid for s in sessions if not s.available and s.jid.text in self._aside]

    def close(self, session: RemoteSession, *, replaced: bool = False) -> RemoteSession | None:
        """A session of another node is over.

        If that is because there is a newer one, which is not known here yet, the address is not
        free until it is: what is sent there is passed on.

        :returns: as :meth:`withdraw`.
        """
        if not (replaced and is_registered(session)):
            return self.withdraw(session)
        late = self._clock.callLater(PATIENCE, self._end, session)
        self._ending[session] = late, session.priority
        session.passes_on = session.available
        session.priority = None
        return None

    def _end(self, session: RemoteSession) -> None:
        """The newer session has not become known: nobody says goodbye for this one."""
        session.priority = self._ending[session][1]
        follower = self.withdraw(session)
        tell_lost([session], session.node, left=False)
        if follower is not None:
            self._follow(follower)

    def lose(self, node: str) -> list[RemoteSession]:
        """A link is lost: what has ended there for newer sessions is over.

        :returns: these sessions.
        """
        lost = [session for session in self._ending if session.node == node]
        for session in lost:
            self._end(session)
        return lost

    def forget(self, host: "Host") -> None:
        """A host is served no longer."""
        for session in [s for s in self._ending if s.host is host]:
            self.withdraw(session)

    def stop(self) -> None:
        """The server stops."""
        for late, _ in self._ending.values():
            late.cancel()
        self._ending.clear()

    def withdraw(self, session: RemoteSession) -> RemoteSession | None:
        """A session of another node is gone.

        :returns: the one that has its address now, if that was not known.
        """
        registry = session.host.sessions
        self._is_over(session)
        if registry.get(session.jid) is session:
            registry.remove(session)
            self._leaves(session)
            return self.freed(session.host, session.jid)
        aside = self._aside.get(session.jid.text, [])
        if session in aside:
            aside.remove(session)
            if not aside:
                del self._aside[session.jid.text]
        return None

    def freed(self, host: "Host", jid: JID) -> RemoteSession | None:
        """An address is free, maybe: the newest of those that were put aside gets it."""
        if jid.text not in self._aside or host.sessions.get(jid) is not None:
            return None
        aside = self._aside[jid.text]
        alive = [session for session in aside if not self._is_doomed(session)]
        if not alive:
            return None
        newest = max(alive, key=lambda session: session.sid)
        aside.remove(newest)
        if not aside:
            del self._aside[jid.text]
        host.sessions.add(newest)
        return newest
