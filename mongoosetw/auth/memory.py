"""Accounts in memory, for tests, demonstrations and load generators."""

from typing import Any

from mongoosetw.auth.backend import AccountExists
from mongoosetw.auth.stored import Secret, StoredBackend
from mongoosetw.xmpp.jid import JID

__all__ = ["MemoryBackend"]


class MemoryBackend(StoredBackend):
    """Keeps accounts until the process ends."""

    name = "memory"

    def __init__(self, *args: Any, **named: Any) -> None:
        super().__init__(*args, **named)
        self._rows: dict[JID, Secret] = {}

    async def load(self, user: JID) -> Secret | None:
        """The account's row."""
        return self._rows.get(user)

    async def create(self, user: JID, secret: Secret) -> None:
        """Add a row; raises AccountExists."""
        if user in self._rows:
            raise AccountExists(str(user))
        self._rows[user] = secret

    async def replace(self, user: JID, secret: Secret, expected: Secret | None = None) -> bool:
        """Change the row, if it is there and, when `expected` is given, still holds that."""
        found = self._rows.get(user)
        if found is None or expected not in (None, found):
            return False
        self._rows[user] = secret
        return True

    async def delete(self, user: JID) -> bool:
        """Remove the row; False if there was none."""
        return self._rows.pop(user, None) is not None

    async def remove_domain(self, domain: str) -> None:
        """Remove all rows of a domain."""
        self._rows = {user: row for user, row in self._rows.items() if user.domain != domain}

    async def list(self, domain: str) -> list[str]:
        """The localparts of the domain's accounts, sorted."""
        return sorted(user.local or "" for user in self._rows if user.domain == domain)

    async def count(self, domain: str | None = None) -> int:
        """The number of accounts, of one domain or of all."""
        return sum(domain in (None, user.domain) for user in self._rows)
