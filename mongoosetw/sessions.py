"""The sessions of a host: who is connected, by full and by bare JID."""

from collections.abc import Iterator
from operator import attrgetter
from typing import Protocol

from mongoosetw.hooks.c2s import SessionLike
from mongoosetw.xmpp.jid import JID

_by_age = attrgetter("sid")


class SessionWatcher(Protocol):
    """Has the changes of the sessions of this node told, to tell them to other nodes."""

    def opened(self, session: SessionLike, older: SessionLike | None) -> None:
        """A session of this node was registered, maybe in the place of another one."""

    def changed(self, session: SessionLike) -> None:
        """Its presence, priority or flags changed."""

    def closed(self, session: SessionLike) -> None:
        """It is registered no longer."""


class SessionRegistry:
    """Sessions by address, of this node and of others. One per host.

    :ivar watcher: told of the changes of this node's sessions.
    """

    def __init__(self) -> None:
        self._full: dict[JID, SessionLike] = {}
        self._bare: dict[str, tuple[SessionLike, ...]] = {}  # by bare JIDs as text
        self._local: dict[SessionLike, None] = {}
        self.get = self._full.get
        self.watcher: SessionWatcher | None = None

    def add(self, session: SessionLike) -> SessionLike | None:
        """Registers a session under its full JID.

        One that has the address is not found there any more; if it is of this node it counts until
        it is closed, which is up to the caller.

        :returns: the session that had the address.
        """
        older = self._full.get(session.jid)
        if older is not None:
            self._lose(older)
        self._full[session.jid] = session
        others = self._bare.get(session.bare.text, ())
        if others and others[-1].sid > session.sid:
            self._bare[session.bare.text] = tuple(sorted((*others, session), key=_by_age))
        else:
            self._bare[session.bare.text] = (*others, session)
        if session.local:
            self._local[session] = None
            if self.watcher is not None:
                self.watcher.opened(session, older)
        return older

    def stand_in(self, session: SessionLike, other: SessionLike) -> None:
        """Has something else found in a session's place, with its address and sid.

        Which sessions count does not change by that, and nobody is told.
        """
        assert self._full[session.jid] is session
        self._full[session.jid] = other
        found = self._bare[session.bare.text]
        self._bare[session.bare.text] = tuple(other if s is session else s for s in found)

    def _lose(self, session: SessionLike) -> None:
        """Whoever looks for the address of a session finds it no more."""
        if self._full.get(session.jid) is not session:
            return
        del self._full[session.jid]
        others = tuple(s for s in self._bare[session.bare.text] if s is not session)
        if others:
            self._bare[session.bare.text] = others
        else:
            del self._bare[session.bare.text]

    def remove(self, session: SessionLike) -> bool:
        """Forgets a session.

        :returns: False if it was none of this node's, or not any more.
        """
        self._lose(session)
        if session not in self._local:
            return False
        del self._local[session]
        if self.watcher is not None:
            self.watcher.closed(session)
        return True

    def changed(self, session: SessionLike) -> None:
        """Its presence, priority or flags are others than before."""
        if self.watcher is not None and session in self._local:
            self.watcher.changed(session)

    def of(self, bare: JID) -> tuple[SessionLike, ...]:
        """All connected resources of an account, the oldest first."""
        return self._bare.get(bare.text, ())

    def available(self, bare: JID) -> list[SessionLike]:
        """The available resources of an account (RFC 6121 §4.2)."""
        return [s for s in self._bare.get(bare.text, ()) if s.available]

    def told_of_presence(self, bare: JID) -> list[SessionLike]:
        """The resources of an account that a broadcast is for: those that are available.

        And those that were, and go on at a node that is not known yet: it is passed on there.
        """
        return [s for s in self._bare.get(bare.text, ()) if s.available or s.passes_on]

    def count(self) -> int:
        """How many sessions there are, on all nodes."""
        return len(self._full)

    def accounts(self) -> int:
        """How many accounts have a session, on any node."""
        return len(self._bare)

    @property
    def local_count(self) -> int:
        """How many sessions of this node there are."""
        return len(self._local)

    def local(self) -> Iterator[SessionLike]:
        """The sessions of this node, the oldest first."""
        return iter(list(self._local))

    def __iter__(self) -> Iterator[SessionLike]:
        return iter(list(self._full.values()))
