"""The sessions of a host: who is connected, by full and by bare JID."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

from mongoosetw.xmpp.jid import JID

if TYPE_CHECKING:  # types only
    from mongoosetw.c2s.session import Session


class SessionRegistry:
    """Sessions by address. One per host."""

    def __init__(self) -> None:
        self._full: dict[JID, Session] = {}
        self._bare: dict[JID, tuple[Session, ...]] = {}
        self.get = self._full.get

    def add(self, session: "Session") -> None:
        """Registers a session under its full JID, which must be free."""
        assert session.jid not in self._full
        self._full[session.jid] = session
        self._bare[session.bare] = (*self._bare.get(session.bare, ()), session)

    def remove(self, session: "Session") -> None:
        """Forgets a session; harmless when another one has taken its place."""
        if self._full.get(session.jid) is not session:
            return
        del self._full[session.jid]
        others = tuple(s for s in self._bare[session.bare] if s is not session)
        if others:
            self._bare[session.bare] = others
        else:
            del self._bare[session.bare]

    def of(self, bare: JID) -> "tuple[Session, ...]":
        """All connected resources of an account, the oldest first."""
        return self._bare.get(bare, ())

    def available(self, bare: JID) -> "list[Session]":
        """The available resources of an account (RFC 6121 §4.2)."""
        return [s for s in self._bare.get(bare, ()) if s.presence is not None]

    def count(self) -> int:
        """How many sessions there are."""
        return len(self._full)

    def __iter__(self) -> "Iterator[Session]":
        return iter(list(self._full.values()))
