"""Which sessions there are on the other nodes: what a back end has to do."""

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, Protocol

from twisted.internet.defer import Deferred

from mongoosetw.xmpp.jid import JID

if TYPE_CHECKING:  # types only
    from mongoosetw.host import Host


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

    def ready(self) -> "Deferred[None]":
        """Fires when this node knows what it can know: it may take clients."""

    def describe(self) -> list[dict[str, Any]]:
        """For each other node how many of its sessions are known here, and whether all are."""

    def stop(self) -> None:
        """The server stops."""
