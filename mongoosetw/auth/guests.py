"""The sessions of guests: one of a name, and nothing left behind."""

from functools import partial
from typing import TYPE_CHECKING

from mongoosetw.auth.anonymous import GUEST, AnonymousBackend
from mongoosetw.hooks.bus import Order
from mongoosetw.hooks.c2s import OpenSession, SessionClosed
from mongoosetw.hooks.cluster import SessionsCleanup
from mongoosetw.hooks.users import AnonymousPurge
from mongoosetw.xmpp.errors import StanzaError
from mongoosetw.xmpp.jid import JID

if TYPE_CHECKING:  # types only
    from mongoosetw.host import Host

__all__ = ["watch_guests"]


def watch_guests(host: "Host") -> None:
    """Has the host's guests watched, if its accounts let guests in."""
    for backend in host.accounts.backends:
        if isinstance(backend, AnonymousBackend):
            _Watch(host, backend)


class _Watch:
    def __init__(self, host: "Host", backend: AnonymousBackend) -> None:
        self._host = host
        self._backend = backend
        host.hooks.add(OpenSession, Order.CHECK, "auth", self._opens)
        # Behind all modules, which may still write something of the guest.
        host.hooks.add(SessionClosed, Order.LAST, "auth", self._closed)
        host.hooks.add(SessionsCleanup, Order.LAST, "auth", self._lost)

    def _opens(self, event: OpenSession) -> None:
        # Two may have been let in at the same time, before either had a session.
        if GUEST in event.session.flags and not self._backend.has_room(event.session.bare):
            raise StanzaError("conflict")

    def _closed(self, event: SessionClosed) -> None:
        user = event.session.bare
        if GUEST in event.session.flags:
            self._host.insist(partial(self._purge, user))

    async def _lost(self, event: SessionsCleanup) -> None:
        for user in dict.fromkeys(s.bare for s in event.sessions if GUEST in s.flags):
            await self._purge(user)

    async def _purge(self, user: JID) -> None:
        if not self._host.sessions.of(user):
            await self._host.hooks.run(AnonymousPurge(user))
