"""Method ``anonymous``: guests without an account, by SASL ANONYMOUS or with any password."""

from collections.abc import Callable
from typing import Final, Literal

from mongoosetw.auth.keyless import KeylessBackend
from mongoosetw.xmpp.jid import JID

__all__ = ["GUEST", "AnonymousBackend", "AnonymousProtocol"]

GUEST: Final = "guest"
"""Flag of a guest's session."""

AnonymousProtocol = Literal["sasl_anon", "login_anon", "both"]


def _nobody(user: JID) -> bool:
    return False


class AnonymousBackend(KeylessBackend):
    """Lets guests in; a guest exists while it is connected.

    Args:
        protocol: ``sasl_anon`` for SASL ANONYMOUS, ``login_anon`` for PLAIN with any password.
        allow_multiple_connections: whether a guest's name may be used by several sessions.
        is_connected: whether a user has a session.
    """

    name = "anonymous"
    guests = True

    def __init__(
        self,
        protocol: AnonymousProtocol = "sasl_anon",
        allow_multiple_connections: bool = False,
        is_connected: Callable[[JID], bool] = _nobody,
    ) -> None:
        served = {"sasl_anon": ("ANONYMOUS",), "login_anon": ("PLAIN",)}
        self.mechanisms = frozenset(served.get(protocol, ("ANONYMOUS", "PLAIN")))
        self._several = allow_multiple_connections
        self._is_connected = is_connected

    async def exists(self, user: JID) -> bool:
        """Whether the guest is connected."""
        return self._is_connected(user)

    async def check_password(self, user: JID, password: str) -> bool:
        """Whether the guest may come in under this name; any password will do."""
        return "PLAIN" in self.mechanisms and self.has_room(user)

    def has_room(self, user: JID) -> bool:
        """Whether a guest may have a session more."""
        return self._several or not self._is_connected(user)
