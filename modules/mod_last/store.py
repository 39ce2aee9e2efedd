"""What mod_last keeps, and a store in memory."""

from typing import Protocol

from mongoosetw.xmpp.jid import JID


class LastStore(Protocol):
    """When each account was last seen (seconds since 1970), and its status then."""

    async def get(self, user: JID) -> tuple[int, str] | None:
        """Seconds and status; None for an account never seen."""

    async def put(self, user: JID, seconds: int, state: str) -> None:
        """Notes that an account has gone."""

    async def remove(self, user: JID) -> None:
        """Forgets an account."""

    async def remove_domain(self, domain: str) -> None:
        """Forgets all accounts of a domain."""


class MemoryLastStore:
    """Keeps activity as long as the process lives."""

    def __init__(self) -> None:
        self._seen: dict[JID, tuple[int, str]] = {}

    async def get(self, user: JID) -> tuple[int, str] | None:
        """See :class:`LastStore`."""
        return self._seen.get(user)

    async def put(self, user: JID, seconds: int, state: str) -> None:
        """See :class:`LastStore`."""
        self._seen[user] = (seconds, state)

    async def remove(self, user: JID) -> None:
        """See :class:`LastStore`."""
        self._seen.pop(user, None)

    async def remove_domain(self, domain: str) -> None:
        """See :class:`LastStore`."""
        self._seen = {user: seen for user, seen in self._seen.items() if user.domain != domain}
