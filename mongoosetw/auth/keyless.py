"""What methods share that keep no passwords: they have no keys, and nothing can be changed."""

from mongoosetw.auth.backend import RegistrationRefused
from mongoosetw.auth.keys import Password, ScramKeys
from mongoosetw.xmpp.jid import JID

__all__ = ["KeylessBackend"]


class KeylessBackend:
    """The answers of a method without stored keys and without accounts of its own."""

    writable = False
    guests = False

    async def scram_keys(self, user: JID, hash_name: str) -> ScramKeys | None:
        """None: there are no keys."""
        return None

    def remembered_keys(self, user: JID, hash_name: str) -> ScramKeys | None:
        """None: there are no keys."""
        return None

    async def register(self, user: JID, password: Password) -> None:
        """Raises RegistrationRefused."""
        raise RegistrationRefused("this host has no accounts to register")

    async def set_password(self, user: JID, password: Password) -> bool:
        """Raises RegistrationRefused."""
        raise RegistrationRefused("this host has no passwords to change")

    async def remove(self, user: JID) -> bool:
        """Raises RegistrationRefused."""
        raise RegistrationRefused("this host has no accounts to remove")

    async def remove_domain(self, domain: str) -> None:
        """Nothing is kept."""

    async def list(self, domain: str) -> list[str]:
        """Empty: accounts are not known by name."""
        return []

    async def count(self, domain: str | None = None) -> int:
        """Zero: accounts are not known."""
        return 0

    def invalidate(self, user: JID) -> None:
        """Nothing is remembered."""

    def invalidate_all(self) -> None:
        """Nothing is remembered."""
