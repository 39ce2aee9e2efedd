"""The sessions of a host: who is connected, by full and by bare JID."""

from collections.abc import Iterator
from typing import Protocol

from mongoosetw.hooks.c2s import SessionLike
from mongoosetw.xmpp.jid import JID


class SessionWatcher(Protocol):
    """Has the changes of the sessions of this node told, to tell them to other nodes."""

    def opened(self, session: SessionLike) -> None:
        """A session of this node was registered."""

    def changed(self, session: SessionLike) -> None:
        """Its presence, priority or flags changed."""

    def closed(self, session: SessionLike) -> None:
        """It is registered no longer."""


class SessionRegistry:
    """Sessions by address, of this node and of others. One per host.

    :ivar watcher: told of the changes of this node's sessions.
    :ivar local_count: how many sessions of this node there are.
    """

    def __init__(self) -> None:
        self._full: dict[JID, SessionLike] = {}
        self._bare: dict[JID, tuple[SessionLike, ...]] = {}
        self.get = self._full.get
        self.watcher: SessionWatcher | None = None
        self.local_count = 0

    def add(self, session: SessionLike) -> None:
        """Registers a session under its full JID, which must be free."""
        assert session.jid not in self._full
        self._full[session.jid] = session
        self.local_count += session.local
        self._bare[session.bare] = (*self._bare.get(session.bare, ()), session)
        if self.watcher is not None and session.local:
            self.watcher.opened(session)

    def remove(self, session: SessionLike) -> None:
        """Forgets a session; harmless when another one has taken its place."""
        if self._full.get(session.jid) is not session:
            return
        del self._full[session.jid]
        self.local_count -= session.local
        others = tuple(s for s in self._bare[session.bare] if s is not session)
        if others:
            self._bare[session.bare] = others
        else:
            del self._bare[session.bare]
        if self.watcher is not None and session.local:
            self.watcher.closed(session)

    def changed(self, session: SessionLike) -> None:
        """Its presence, priority or flags are others than before."""
        if self.watcher is not None and self._full.get(session.jid) is session:
            self.watcher.changed(session)

    def of(self, bare: JID) -> tuple[SessionLike, ...]:
        """All connected resources of an account, the oldest first."""
        return self._bare.get(bare, ())

    def available(self, bare: JID) -> list[SessionLike]:
        """The available resources of an account (RFC 6121 §4.2)."""
        return [s for s in self._bare.get(bare, ()) if s.available]

    def count(self) -> int:
        """How many sessions there are."""
        return len(self._full)

    def accounts(self) -> int:
        """How many accounts have a session."""
        return len(self._bare)

    def __iter__(self) -> Iterator[SessionLike]:
        return iter(list(self._full.values()))
