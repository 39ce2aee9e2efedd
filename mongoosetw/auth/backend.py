"""What an authentication method must offer, and the errors of account operations."""

from typing import Protocol

from mongoosetw.auth.cache import Missing
from mongoosetw.auth.keys import Password, ScramKeys
from mongoosetw.xmpp.jid import JID

__all__ = ["AccountExists", "AuthBackend", "RegistrationRefused"]


class AccountExists(Exception):
    """The account to be made is there already (stanza error ``conflict``)."""


class RegistrationRefused(Exception):
    """The account or password cannot be made or changed.

    Attributes:
        condition: the stanza error condition that says why, such as ``not-allowed``.
    """

    def __init__(self, text: str, condition: str = "not-allowed") -> None:
        super().__init__(text)
        self.condition = condition


class AuthBackend(Protocol):
    """One authentication method of a host; every `user` is a bare JID.

    Attributes:
        name: the method's name in the configuration.
        mechanisms: registered names of the SASL mechanisms it can serve, without ``-PLUS``.
        writable: whether accounts can be made and changed.
        guests: whether it lets in users that have no account; asked only about names that no other
            method knows.
    """

    name: str
    mechanisms: frozenset[str]
    writable: bool
    guests: bool

    async def exists(self, user: JID) -> bool:
        """Whether there is such an account."""

    async def check_password(self, user: JID, password: str) -> bool:
        """Whether `password` opens the account; takes as long for an account that is not there."""

    async def scram_keys(self, user: JID, hash_name: str) -> ScramKeys | None:
        """The account's keys for ``"sha256"`` and the like; None if it has none."""

    def remembered_keys(self, user: JID, hash_name: str) -> ScramKeys | Missing | None:
        """What :meth:`scram_keys` would answer, if that is known at once; else MISSING."""

    async def register(self, user: JID, password: Password) -> None:
        """Make the account; raises AccountExists or RegistrationRefused."""

    async def set_password(self, user: JID, password: Password) -> bool:
        """Change the password; False if there is no such account. Raises RegistrationRefused."""

    async def remove(self, user: JID) -> bool:
        """Remove the account; False if there is no such account. Raises RegistrationRefused."""

    async def remove_domain(self, domain: str) -> None:
        """Remove all accounts of a domain."""

    async def list(self, domain: str) -> list[str]:
        """The localparts of the domain's accounts, sorted."""

    async def count(self, domain: str | None = None) -> int:
        """The number of accounts, of one domain or of all."""

    def invalidate(self, user: JID) -> None:
        """Forget what is remembered of the account: another node has changed it."""

    def invalidate_all(self) -> None:
        """Forget what is remembered of all accounts."""
