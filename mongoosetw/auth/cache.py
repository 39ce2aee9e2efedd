"""A bounded memory of accounts: least recently used entries go first, all go after a time."""

from collections import OrderedDict
from collections.abc import Callable
from time import monotonic
from typing import Final, Generic, TypeVar

from mongoosetw.xmpp.jid import JID

__all__ = ["MISSING", "AccountCache", "Missing"]

T = TypeVar("T")


class Missing:
    """The type of :data:`MISSING`."""


MISSING: Final = Missing()
"""What :meth:`AccountCache.get` answers when it remembers nothing."""


class AccountCache(Generic[T]):
    """Remembers a value, or that there is none, for each account.

    Args:
        size: the most entries kept.
        ttl: seconds a value is remembered.
        negative_ttl: seconds it is remembered that there is no account; short, since a node
            does not learn of accounts that others make.
        seconds: the clock.
    """

    def __init__(
        self,
        size: int = 10_000,
        ttl: float = 60.0,
        negative_ttl: float = 2.0,
        seconds: Callable[[], float] = monotonic,
    ) -> None:
        self._size = size
        self._ttl = ttl
        self._negative_ttl = negative_ttl
        self._seconds = seconds
        self._entries: OrderedDict[JID, tuple[float, T | None]] = OrderedDict()
        self._changes = 0

    @property
    def changes(self) -> int:
        """Goes up with every :meth:`forget`; read it before loading and give it to :meth:`put`."""
        return self._changes

    def get(self, user: JID) -> T | Missing | None:
        """The value, None for "no such account", or MISSING."""
        entry = self._entries.get(user)
        if entry is None:
            return MISSING
        if entry[0] <= self._seconds():
            del self._entries[user]
            return MISSING
        self._entries.move_to_end(user)
        return entry[1]

    def put(self, user: JID, value: T | None, changes: int) -> None:
        """Remember `value`, unless something was forgotten since `changes` was read.

        A value that was loaded before an account changed must not outlive the change.
        """
        if changes != self._changes or not self._size:
            return
        ttl = self._negative_ttl if value is None else self._ttl
        self._entries[user] = (self._seconds() + ttl, value)
        self._entries.move_to_end(user)
        if len(self._entries) > self._size:
            self._entries.popitem(last=False)

    def forget(self, user: JID) -> None:
        """Drop what is remembered of the account."""
        self._changes += 1
        self._entries.pop(user, None)

    def forget_all(self) -> None:
        """Drop everything."""
        self._changes += 1
        self._entries.clear()
