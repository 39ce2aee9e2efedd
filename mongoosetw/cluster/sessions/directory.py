"""Which sessions there are on the other nodes: what a back end has to do."""

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, Final, Protocol

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime

from mongoosetw.hooks.c2s import SessionLike
from mongoosetw.xmpp.jid import JID

if TYPE_CHECKING:  # types only
    from mongoosetw.host import Host

CHANNEL: Final = "session"
READY: Final = 5.0
"""Seconds that a node waits for what the others have to tell before it takes clients."""


class Directory(Protocol):
    """Which sessions there are on the other nodes; they are registered with their hosts."""

    def attach(self, host: "Host") -> None:
        """A host is served from now on."""

    def detach(self, host: "Host") -> None:
        """It is served no longer."""

    def prepare(self, users: Iterable[JID]) -> "Deferred[None] | None":
        """Makes sure that the sessions of accounts are known here.

        :returns: None if they are.
        """

    def told(self) -> "Deferred[None] | None":
        """Makes sure that what has happened to sessions here is on its way to whom it concerns.

        :returns: None if it is.
        """

    def lingering(self, user: JID) -> list[JID]:
        """Clients of an account that some may see still, though they are not available.

        Newer sessions, which are not, have taken their addresses, or they have gone a moment ago:
        their nodes say goodbye as soon as they know of the one, or whom to tell of the other.
        """

    def has_met(self, session: SessionLike) -> bool:
        """Whether a session of another node was shown to clients here, as far as they may see it.

        While not all is known of a node that is linked anew, what it tells of is shown later.
        """

    def spoke(self, session: SessionLike) -> None:
        """A session of this node that was available has new presence.

        Whoever is not known of a node that is linked anew is not told of it before they are known.
        """

    async def everybody(self, host: "Host") -> list[SessionLike]:
        """All sessions of a host, on all nodes, for an operator.

        :raises BackendUnavailable: they cannot be found out.
        """

    async def count(self, host: "Host") -> int:
        """How many there are.

        :raises BackendUnavailable: that cannot be found out.
        """

    def ready(self) -> "Deferred[None]":
        """Fires when this node knows what it can know: it may take clients."""

    def describe(self) -> list[dict[str, Any]]:
        """For each other node how many of its sessions are known here, and whether all are."""

    def stop(self) -> None:
        """The server stops."""


def pause(clock: IReactorTime, seconds: float) -> "Deferred[None]":
    """Fires when some time has passed."""
    paused = Deferred[None]()
    clock.callLater(seconds, paused.callback, None)
    return paused
