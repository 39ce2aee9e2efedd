"""Method ``dummy``: everybody gets in after a random delay; for load tests only."""

import random
from collections.abc import Awaitable, Callable

from twisted.internet.task import deferLater

from mongoosetw.auth.keyless import KeylessBackend
from mongoosetw.auth.keys import Password
from mongoosetw.xmpp.jid import JID

__all__ = ["DummyBackend"]


def _sleep(seconds: float) -> Awaitable[None]:
    # Imported on use: importing it installs the default reactor.
    from twisted.internet import reactor

    return deferLater(reactor, seconds)


class DummyBackend(KeylessBackend):
    """Accepts every account with every password.

    Args:
        base_time: the shortest delay of a login, in milliseconds.
        variance: the most that is added to it at random, in milliseconds.
        sleep: waits so many seconds.
    """

    name = "dummy"
    writable = True
    mechanisms = frozenset(("PLAIN",))

    def __init__(
        self,
        base_time: float = 50,
        variance: float = 450,
        sleep: Callable[[float], Awaitable[None]] = _sleep,
    ) -> None:
        self._base_time = base_time
        self._variance = variance
        self._sleep = sleep

    async def exists(self, user: JID) -> bool:
        """True."""
        return True

    async def check_password(self, user: JID, password: str) -> bool:
        """True, after the delay."""
        await self._sleep((self._base_time + random.uniform(0, self._variance)) / 1000)
        return True

    async def register(self, user: JID, password: Password) -> None:
        """Nothing to do."""

    async def set_password(self, user: JID, password: Password) -> bool:
        """True: any password works."""
        return True

    async def remove(self, user: JID) -> bool:
        """True, although the account stays."""
        return True
