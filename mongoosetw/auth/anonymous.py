"""Method ``anonymous``: guests without an account, by SASL ANONYMOUS or with any password."""

from typing import Literal

from mongoosetw.auth.keyless import KeylessBackend
from mongoosetw.xmpp.jid import JID

__all__ = ["AnonymousBackend", "AnonymousProtocol"]

AnonymousProtocol = Literal["sasl_anon", "login_anon", "both"]


class AnonymousBackend(KeylessBackend):
    """Lets guests in; a guest exists while it is connected.

    Args:
        protocol: ``sasl_anon`` for SASL ANONYMOUS, ``login_anon`` for PLAIN with any password.
        allow_multiple_connections: whether a guest's name may be used by several sessions.
    """

    name = "anonymous"
    guests = True

    def __init__(
        self, protocol: AnonymousProtocol = "sasl_anon", allow_multiple_connections: bool = False
    ) -> None:
        served = {"sasl_anon": ("ANONYMOUS",), "login_anon": ("PLAIN",)}
        self.mechanisms = frozenset(served.get(protocol, ("ANONYMOUS", "PLAIN")))
        self._several = allow_multiple_connections
        self._sessions: dict[JID, int] = {}

    def opened(self, user: JID) -> None:
        """A session of this guest has begun."""
        self._sessions[user] = self._sessions.get(user, 0) + 1

    def closed(self, user: JID) -> None:
        """A session of this guest has ended."""
        left = self._sessions.pop(user, 1) - 1
        if left > 0:
            self._sessions[user] = left

    async def exists(self, user: JID) -> bool:
        """Whether the guest is connected."""
        return user in self._sessions

    async def check_password(self, user: JID, password: str) -> bool:
        """Whether the guest may come in under this name; any password will do."""
        return "PLAIN" in self.mechanisms and (self._several or user not in self._sessions)
