"""Methods that keep SCRAM keys of their own: derivation, caching and upgrades on top of a table."""

import logging
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable
from typing import NamedTuple, Protocol, TypeVar

from twisted.internet.threads import deferToThread

from mongoosetw.auth.backend import RegistrationRefused
from mongoosetw.auth.cache import AccountCache, Missing
from mongoosetw.auth.keys import Credentials, InvalidPassword, KeyPolicy, Password, ScramKeys
from mongoosetw.xmpp.jid import JID

__all__ = [
    "KnownAccount",
    "RunInThread",
    "Secret",
    "StoredBackend",
    "run_in_place",
    "run_in_thread_pool",
]

logger = logging.getLogger(__name__)
T = TypeVar("T")


class Secret(NamedTuple):
    """One row of table ``users``: a plain password, or the text of SCRAM keys."""

    password: str
    pass_details: str | None


class RunInThread(Protocol):
    """Runs a function off the reactor's thread."""

    def __call__(self, fn: Callable[[], T], /) -> Awaitable[T]:
        """The function's outcome, later."""


async def run_in_place(fn: Callable[[], T]) -> T:
    """A RunInThread without threads, for tests and tools."""
    return fn()


def run_in_thread_pool(fn: Callable[[], T], /) -> Awaitable[T]:
    """The usual RunInThread: the reactor's thread pool."""
    return deferToThread(fn)


class KnownAccount(NamedTuple):
    """An account as it is remembered; without credentials it exists, but cannot log in."""

    secret: Secret
    credentials: Credentials | None


def _keys(account: KnownAccount | None, hash_name: str) -> ScramKeys | None:
    if account is None or account.credentials is None:
        return None
    return account.credentials.keys.get(hash_name)


class StoredBackend(ABC):
    """An :class:`~mongoosetw.auth.backend.AuthBackend` over rows of a table.

    Args:
        policy: how keys of new passwords are made; older keys are renewed at a PLAIN login.
        cache: remembers accounts.
        run_in_thread: runs the key derivation.
    """

    name = "stored"
    writable = True
    guests = False

    def __init__(
        self,
        policy: KeyPolicy | None = None,
        cache: AccountCache[KnownAccount] | None = None,
        run_in_thread: RunInThread = run_in_thread_pool,
    ) -> None:
        self.policy = policy or KeyPolicy()
        self._cache = AccountCache[KnownAccount]() if cache is None else cache
        self._run = run_in_thread
        self._decoy: Credentials | None = None
        scram = (f"SCRAM-SHA-{name.removeprefix('sha')}" for name in self.policy.hashes)
        self.mechanisms = frozenset(("PLAIN", *scram))

    @abstractmethod
    async def load(self, user: JID) -> Secret | None:
        """The account's row."""

    @abstractmethod
    async def create(self, user: JID, secret: Secret) -> None:
        """Add a row; raises AccountExists."""

    @abstractmethod
    async def replace(self, user: JID, secret: Secret, expected: Secret | None = None) -> bool:
        """Change the row, if it is there and, when `expected` is given, still holds that."""

    @abstractmethod
    async def delete(self, user: JID) -> bool:
        """Remove the row; False if there was none."""

    @abstractmethod
    async def remove_domain(self, domain: str) -> None:
        """Remove all rows of a domain; what is remembered of them goes with its host."""

    @abstractmethod
    async def list(self, domain: str) -> list[str]:
        """The localparts of the domain's accounts, sorted."""

    @abstractmethod
    async def count(self, domain: str | None = None) -> int:
        """The number of accounts, of one domain or of all."""

    async def exists(self, user: JID) -> bool:
        """Whether there is such an account."""
        return await self._known(user) is not None

    async def scram_keys(self, user: JID, hash_name: str) -> ScramKeys | None:
        """The account's keys for one hash; None if it has none."""
        return _keys(await self._known(user), hash_name)

    def remembered_keys(self, user: JID, hash_name: str) -> ScramKeys | Missing | None:
        """What :meth:`scram_keys` would answer, if the account is remembered; else MISSING."""
        found = self._cache.get(user)
        return found if isinstance(found, Missing) else _keys(found, hash_name)

    async def check_password(self, user: JID, password: str) -> bool:
        """Whether `password` opens the account; renews its keys if the policy asks for more."""
        known = await self._known(user)
        if known is None or known.credentials is None:
            await self._waste(password)
            return False
        credentials = known.credentials
        if not await self._run(lambda: credentials.verify(password)):
            return False
        if credentials.outdated(self.policy):
            await self._renew(user, password, known.secret)
        return True

    async def register(self, user: JID, password: Password) -> None:
        """Make the account; raises AccountExists or RegistrationRefused."""
        credentials = await self._derive(password)
        secret = self._secret(password, credentials)
        await self.create(user, secret)
        self._remember(user, KnownAccount(secret, credentials))

    async def set_password(self, user: JID, password: Password) -> bool:
        """Change the password; False if there is no such account. Raises RegistrationRefused."""
        credentials = await self._derive(password)
        secret = self._secret(password, credentials)
        if not await self.replace(user, secret):
            return False
        self._remember(user, KnownAccount(secret, credentials))
        return True

    async def remove(self, user: JID) -> bool:
        """Remove the account; False if there is no such account."""
        try:
            return await self.delete(user)
        finally:
            self._cache.forget(user)

    def invalidate(self, user: JID) -> None:
        """Forget what is remembered of the account: another node has changed it."""
        self._cache.forget(user)

    def invalidate_all(self) -> None:
        """Forget what is remembered of all accounts."""
        self._cache.forget_all()

    async def _known(self, user: JID) -> KnownAccount | None:
        found = self._cache.get(user)
        if not isinstance(found, Missing):
            return found
        changes = self._cache.changes
        secret = await self.load(user)
        known = None if secret is None else await self._open(user, secret)
        self._cache.put(user, known, changes)
        return known

    async def _open(self, user: JID, secret: Secret) -> KnownAccount:
        if secret.pass_details:
            try:
                return KnownAccount(secret, Credentials.from_text(secret.pass_details))
            except ValueError:
                logger.error("account_keys_unreadable user=%s", user)
                return KnownAccount(secret, None)
        return await self._convert(user, secret) if secret.password else KnownAccount(secret, None)

    async def _convert(self, user: JID, secret: Secret) -> KnownAccount:
        """Derive the keys of a plain password, and store them in its place unless it may stay."""
        try:
            credentials = await self._derive(secret.password)
        except RegistrationRefused:
            logger.error("account_password_unusable user=%s", user)
            return KnownAccount(secret, None)
        new = self._secret(secret.password, credentials)
        if new != secret and not await self.replace(user, new, expected=secret):
            new = secret
        return KnownAccount(new, credentials)

    async def _renew(self, user: JID, password: str, old: Secret) -> None:
        """Derive keys by the policy; not stored if the password has changed meanwhile."""
        credentials = await self._derive(password)
        if await self.replace(user, self._secret(password, credentials), expected=old):
            logger.info("account_keys_renewed user=%s", user)
        self._cache.forget(user)

    async def _derive(self, password: Password) -> Credentials:
        if isinstance(password, Credentials):
            return password
        try:
            return await self._run(lambda: Credentials.derive(password, self.policy))
        except InvalidPassword as error:
            raise RegistrationRefused(str(error), "not-acceptable") from error

    async def _waste(self, password: str) -> None:
        """The work of a check: the answer's time must not tell whether the account exists."""
        decoy = self._decoy
        if decoy is None:
            decoy = self._decoy = await self._derive("decoy")
        await self._run(lambda: decoy.verify(password))

    def _secret(self, password: Password, credentials: Credentials) -> Secret:
        if self.policy.keep_plain and isinstance(password, str):
            return Secret(password, None)
        return Secret("", credentials.to_text())

    def _remember(self, user: JID, known: KnownAccount) -> None:
        self._cache.forget(user)
        self._cache.put(user, known, self._cache.changes)
