"""The accounts of a host: its authentication methods, asked one after the other."""

import logging
from collections.abc import Callable, Collection, Sequence
from copy import copy
from typing import Self

from mongoosetw.auth.backend import AccountExists, AuthBackend, RegistrationRefused
from mongoosetw.auth.cache import Missing
from mongoosetw.auth.keys import Password, ScramKeys
from mongoosetw.hooks.bus import HookBus
from mongoosetw.hooks.users import RegisterUser, RemoveUser
from mongoosetw.xmpp.jid import JID

__all__ = ["AccountExists", "Accounts", "RegistrationRefused"]

logger = logging.getLogger(__name__)


class Accounts:
    """Accounts and passwords of one host; every `user` may be a bare or a full JID.

    Args:
        backends: the methods, in the order in which they are asked (option ``auth.methods``).
        hooks: where RegisterUser and RemoveUser are fired.
        max_users_per_domain: the most accounts of one domain; None for no limit.
        changed: told of each account that is made, changed or removed, for the other nodes.

    Every method raises what the back end raises when it cannot be reached.
    """

    def __init__(
        self,
        backends: Sequence[AuthBackend],
        *,
        hooks: HookBus | None = None,
        max_users_per_domain: int | None = None,
        changed: Callable[[JID], object] = lambda user: None,
    ) -> None:
        # Guests last: they may take no name that another method knows.
        self.backends = tuple(sorted(backends, key=lambda backend: backend.guests))
        self._allowed = self.backends
        self._hooks = hooks
        self._limit = max_users_per_domain
        self._changed = changed

    def limited_to(self, methods: Collection[str]) -> Self:
        """The same accounts, but only these methods let anybody in."""
        limited = copy(self)
        limited._allowed = tuple(b for b in self.backends if b.name in methods)
        return limited

    def supports(self, mechanism: str) -> bool:
        """Whether a login with this SASL mechanism (registered name) can succeed at all."""
        name = mechanism.removesuffix("-PLUS")
        # EXTERNAL needs no password: the certificate is checked elsewhere.
        return name == "EXTERNAL" or any(name in backend.mechanisms for backend in self._allowed)

    @property
    def trusts_certificates(self) -> bool:
        """Whether every certificate that TLS has let in is believed (method ``pki``)."""
        return any(backend.name == "pki" for backend in self._allowed)

    async def exists(self, user: JID) -> bool:
        """Whether any method knows the account."""
        bare = user.bare
        if bare.local is None:
            return False
        for backend in self.backends:
            if await backend.exists(bare):
                return True
        return False

    async def check_password(self, user: JID, password: str) -> bool:
        """Whether `password` opens the account by any method."""
        return await self.opened_by(user, password) is not None

    async def opened_by(self, user: JID, password: str) -> AuthBackend | None:
        """The first method by which `password` opens the account, None if there is none."""
        bare = user.bare
        known = False
        for backend in self.backends:
            if backend.guests and known:
                break
            if backend in self._allowed and await backend.check_password(bare, password):
                return backend
            known = known or await backend.exists(bare)
        logger.info("password_rejected user=%s", bare)
        return None

    async def scram_keys(self, user: JID, hash_name: str) -> ScramKeys | None:
        """The account's SCRAM keys for ``"sha256"`` or the like, from the first method with any."""
        bare = user.bare
        for backend in self._allowed:
            keys = await backend.scram_keys(bare, hash_name)
            if keys is not None:
                return keys
        return None

    def remembered_keys(self, user: JID, hash_name: str) -> ScramKeys | Missing | None:
        """What :meth:`scram_keys` would answer, if that is known at once; else MISSING."""
        bare = user.bare
        for backend in self._allowed:
            keys = backend.remembered_keys(bare, hash_name)
            if keys is not None:
                return keys
        return None

    async def register(self, user: JID, password: Password) -> None:
        """Make an account; raises AccountExists or RegistrationRefused."""
        bare = user.bare
        backend = self._writable()
        if bare.local is None:
            raise RegistrationRefused("an account needs a localpart", "not-acceptable")
        for other in self.backends:
            if other is not backend and await other.exists(bare):
                raise AccountExists(str(bare))
        await self._check_limit(backend, bare.domain)
        await backend.register(bare, password)
        self._changed(bare)
        logger.info("account_registered user=%s", bare)
        if self._hooks is not None:
            await self._hooks.run(RegisterUser(bare))

    async def set_password(self, user: JID, password: Password) -> bool:
        """Change a password; False if there is no such account. Raises RegistrationRefused."""
        changed = await self._writable().set_password(user.bare, password)
        if changed:
            self._changed(user.bare)
            logger.info("password_changed user=%s", user.bare)
        return changed

    async def remove(self, user: JID) -> bool:
        """Remove an account and what modules keep of it; False if there is no such account.

        Raises RegistrationRefused.
        """
        removed = await self._writable().remove(user.bare)
        if removed:
            self._changed(user.bare)
            logger.info("account_removed user=%s", user.bare)
            if self._hooks is not None:
                await self._hooks.run(RemoveUser(user.bare))
        return removed

    async def remove_domain(self, domain: str) -> None:
        """Remove all accounts of a domain; what modules keep, they remove by another hook."""
        for backend in self.backends:
            if backend.writable:
                await backend.remove_domain(domain)

    async def list(self, domain: str) -> list[str]:
        """The localparts of the domain's accounts, sorted."""
        names: set[str] = set()
        for backend in self.backends:
            names.update(await backend.list(domain))
        return sorted(names)

    async def count(self, domain: str | None = None) -> int:
        """The number of accounts, of one domain or of all."""
        return sum([await backend.count(domain) for backend in self.backends])

    def invalidate(self, user: JID) -> None:
        """Forget what is remembered of an account that another node has changed."""
        for backend in self.backends:
            backend.invalidate(user.bare)

    def invalidate_all(self) -> None:
        """Forget what is remembered of all accounts."""
        for backend in self.backends:
            backend.invalidate_all()

    def _writable(self) -> AuthBackend:
        for backend in self.backends:
            if backend.writable:
                return backend
        raise RegistrationRefused("no authentication method of this host keeps accounts")

    async def _check_limit(self, backend: AuthBackend, domain: str) -> None:
        if self._limit is not None and await backend.count(domain) >= self._limit:
            raise RegistrationRefused("this domain takes no more accounts", "resource-constraint")
