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
class RemoveDomain(Hook):
    """A domain is being removed with all its accounts; handlers remove what they keep of it.

    Nobody is connected to it any more. Where a handler raises, the removal can be tried again.
    """

    mongooseim: ClassVar[str] = "remove_domain"
    may_wait: ClassVar[bool] = True
    fails_closed: ClassVar[bool] = True
    domain: str


@dataclass(slots=True)
class RemoveUser(Hook):
    """An account is being removed; handlers remove what they keep of it."""

    mongooseim: ClassVar[str] = "remove_user"
    may_wait: ClassVar[bool] = True
    user: JID


@dataclass(slots=True)
class AnonymousPurge(RemoveUser):
    """A guest has left; handlers remove what they keep of it."""

    repeatable: ClassVar[bool] = True
    mongooseim: ClassVar[str] = "anonymous_purge"
