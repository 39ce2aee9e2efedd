"""Accounts whose use is counted."""

from time import perf_counter
from typing import Any

from mongoosetw.auth.accounts import Accounts
from mongoosetw.auth.backend import AuthBackend
from mongoosetw.auth.keys import Password
from mongoosetw.server_metrics import HostMetrics
from mongoosetw.xmpp.jid import JID

__all__ = ["CountedAccounts"]


class CountedAccounts(Accounts):
    """The accounts of a host, which count how often they are asked, and time what takes time."""

    def __init__(self, metrics: HostMetrics, *args: Any, **named: Any) -> None:
        super().__init__(*args, **named)
        self._metrics = metrics

    async def exists(self, user: JID) -> bool:
        """Whether any method knows the account."""
        self._metrics.existence_checks.inc()
        return await super().exists(user)

    async def opened_by(self, user: JID, password: str) -> AuthBackend | None:
        """The first method by which `password` opens the account, None if there is none."""
        started = perf_counter()
        self._metrics.password_checks.inc()
        try:
            return await super().opened_by(user, password)
        finally:
            self._metrics.password_check_time.observe(perf_counter() - started)

    async def register(self, user: JID, password: Password) -> None:
        """Make an account; raises AccountExists or RegistrationRefused."""
        started = perf_counter()
        self._metrics.registrations.inc()
        try:
            await super().register(user, password)
        finally:
            self._metrics.registration_time.observe(perf_counter() - started)
