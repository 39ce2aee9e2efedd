"""What mod_offline keeps, and a store in memory."""

from dataclasses import dataclass, replace
from typing import Protocol

from mongoosetw.xmpp.jid import JID


@dataclass(frozen=True, slots=True)
class Kept:
    """A message that waits for its recipient.

    :ivar at: when it came, in microseconds since 1970.
    :ivar expire: when it is no longer wanted, in the same unit, or None.
    :ivar sender: the address that it came from.
    :ivar packet: the stanza as XML.
    :ivar number: grows with each message of an account; given by the store.
    """

    at: int
    expire: int | None
    sender: str
    packet: str
    number: int = 0


class OfflineStore(Protocol):
    """Messages by account (bare JID), in the order of their arrival."""

    async def write(self, user: JID, message: Kept, limit: float) -> bool:
        """Keeps a message; False if there are ``limit`` already."""

    async def read(self, user: JID) -> list[Kept]:
        """All messages of an account, oldest first."""

    async def remove_through(self, user: JID, number: int) -> None:
        """Removes an account's messages up to and with this one."""

    async def remove(self, user: JID) -> None:
        """Removes all messages of an account."""

    async def remove_expired(self, now: int) -> int:
        """Removes what has expired; how many those were."""


class MemoryOfflineStore:
    """Keeps messages as long as the process lives."""

    def __init__(self) -> None:
        self._kept: dict[JID, list[Kept]] = {}
        self._last = 0

    async def write(self, user: JID, message: Kept, limit: float) -> bool:
        """See :class:`OfflineStore`."""
        kept = self._kept.setdefault(user, [])
        if len(kept) >= limit:
            return False
        self._last += 1
        kept.append(replace(message, number=self._last))
        return True

    async def read(self, user: JID) -> list[Kept]:
        """See :class:`OfflineStore`."""
        return list(self._kept.get(user, ()))

    async def remove_through(self, user: JID, number: int) -> None:
        """See :class:`OfflineStore`."""
        left = [m for m in self._kept.pop(user, ()) if m.number > number]
        if left:
            self._kept[user] = left

    async def remove(self, user: JID) -> None:
        """See :class:`OfflineStore`."""
        self._kept.pop(user, None)

    async def remove_expired(self, now: int) -> int:
        """See :class:`OfflineStore`."""
        before = sum(map(len, self._kept.values()))
        for user, kept in self._kept.items():
            self._kept[user] = [m for m in kept if m.expire is None or m.expire > now]
        return before - sum(map(len, self._kept.values()))
