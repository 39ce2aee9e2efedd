"""What mod_offline keeps, and a store in memory."""

from dataclasses import dataclass
from typing import Protocol

from mongoosetw.xmpp.jid import JID


@dataclass(frozen=True, slots=True)
class Kept:
    """A message that waits for its recipient.

    :ivar at: when it came, in microseconds since 1970.
    :ivar expire: when it is no longer wanted, in the same unit, or None.
    :ivar sender: the address that it came from.
    :ivar packet: the stanza as XML.
    """

    at: int
    expire: int | None
    sender: str
    packet: str


class OfflineStore(Protocol):
    """Messages by account (bare JID), in the order of their arrival."""

    async def write(self, user: JID, message: Kept, limit: float) -> bool:
        """Keeps a message; False if there are ``limit`` already."""

    async def pop(self, user: JID) -> list[Kept]:
        """Removes and returns all messages of an account, oldest first."""

    async def remove(self, user: JID) -> None:
        """Removes all messages of an account."""

    async def remove_expired(self, now: int) -> int:
        """Removes what has expired; how many those were."""


class MemoryOfflineStore:
    """Keeps messages as long as the process lives."""

    def __init__(self) -> None:
        self._kept: dict[JID, list[Kept]] = {}

    async def write(self, user: JID, message: Kept, limit: float) -> bool:
        """See :class:`OfflineStore`."""
        kept = self._kept.setdefault(user, [])
        if len(kept) >= limit:
            return False
        kept.append(message)
        return True

    async def pop(self, user: JID) -> list[Kept]:
        """See :class:`OfflineStore`."""
        return self._kept.pop(user, [])

    async def remove(self, user: JID) -> None:
        """See :class:`OfflineStore`."""
        self._kept.pop(user, None)

    async def remove_expired(self, now: int) -> int:
        """See :class:`OfflineStore`."""
        before = sum(map(len, self._kept.values()))
        for user, kept in self._kept.items():
            self._kept[user] = [m for m in kept if m.expire is None or m.expire > now]
        return before - sum(map(len, self._kept.values()))
