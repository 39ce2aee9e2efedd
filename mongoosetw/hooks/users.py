"""Hooks of accounts."""

from dataclasses import dataclass
from typing import ClassVar

from mongoosetw.hooks.bus import Hook
from mongoosetw.xmpp.jid import JID


@dataclass(slots=True)
class RegisterUser(Hook):
    """An account was made."""

    mongooseim: ClassVar[str] = "register_user"
    user: JID


@dataclass(slots=True)
class RemoveUser(Hook):
    """An account is being removed; handlers remove what they keep of it."""

    mongooseim: ClassVar[str] = "remove_user"
    may_wait: ClassVar[bool] = True
    user: JID
