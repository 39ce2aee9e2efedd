"""What mod_privacy keeps, and a store in memory."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

from modules.mod_privacy.rules import Item
from mongoosetw.xmpp.jid import JID

Items = tuple[Item, ...]
Edit = Callable[[Items], Items]
"""Makes a list's new items of its old ones; may be called more than once."""


@dataclass(frozen=True, slots=True)
class Names:
    """What lists a user has.

    :ivar default: the name of the default list, or None.
    """

    default: str | None
    names: tuple[str, ...]


class PrivacyStore(Protocol):
    """Privacy lists by account (bare JID) and name. The verbs are MongooseIM's."""

    async def get_list_names(self, user: JID) -> Names:
        """The names of all lists, sorted."""

    async def get_privacy_list(self, user: JID, name: str) -> Items | None:
        """The items of a list in their order, None if there is no such list."""

    async def get_default_list(self, user: JID) -> tuple[str, Items] | None:
        """Name and items of the default list, None without one."""

    async def set_default_list(self, user: JID, name: str) -> bool:
        """Makes a list the default; False if there is no such list."""

    async def forget_default_list(self, user: JID) -> None:
        """Leaves the user without a default list; the list itself stays."""

    async def replace_privacy_list(self, user: JID, name: str, items: Items, limit: int) -> bool:
        """Makes or changes a list; False if it would be a new one beyond ``limit``."""

    async def remove_privacy_list(self, user: JID, name: str) -> bool:
        """Removes a list, the default one too; False if there is no such list."""

    async def edit_default_list(self, user: JID, edit: Edit, create: str | None) -> None:
        """Changes the default list in one step.

        :param create: without a default list the one of this name becomes it, made if need be;
            None: then nothing happens.
        :raises Exception: what ``edit`` raises; nothing is changed then.
        """

    async def remove_user(self, user: JID) -> None:
        """Removes all lists of an account."""

    async def remove_domain(self, domain: str) -> None:
        """Removes all lists of all accounts of a domain."""


@dataclass(slots=True)
class _Lists:
    default: str | None = None
    items: dict[str, Items] = field(default_factory=dict)


class MemoryPrivacyStore:
    """Keeps lists as long as the process lives."""

    def __init__(self) -> None:
        self._users: dict[JID, _Lists] = {}

    def _of(self, user: JID) -> _Lists:
        return self._users.get(user) or _Lists()

    async def get_list_names(self, user: JID) -> Names:
        """See :class:`PrivacyStore`."""
        lists = self._of(user)
        return Names(lists.default, tuple(sorted(lists.items)))

    async def get_privacy_list(self, user: JID, name: str) -> Items | None:
        """See :class:`PrivacyStore`."""
        return self._of(user).items.get(name)

    async def get_default_list(self, user: JID) -> tuple[str, Items] | None:
        """See :class:`PrivacyStore`."""
        lists = self._of(user)
        return None if lists.default is None else (lists.default, lists.items[lists.default])

    async def set_default_list(self, user: JID, name: str) -> bool:
        """See :class:`PrivacyStore`."""
        lists = self._of(user)
        if name not in lists.items:
            return False
        lists.default = name
        return True

    async def forget_default_list(self, user: JID) -> None:
        """See :class:`PrivacyStore`."""
        self._of(user).default = None

    async def replace_privacy_list(self, user: JID, name: str, items: Items, limit: int) -> bool:
        """See :class:`PrivacyStore`."""
        lists = self._users.setdefault(user, _Lists())
        if name not in lists.items and len(lists.items) >= limit:
            return False
        lists.items[name] = _sorted(items)
        return True

    async def remove_privacy_list(self, user: JID, name: str) -> bool:
        """See :class:`PrivacyStore`."""
        lists = self._of(user)
        if lists.items.pop(name, None) is None:
            return False
        if lists.default == name:
            lists.default = None
        return True

    async def edit_default_list(self, user: JID, edit: Edit, create: str | None) -> None:
        """See :class:`PrivacyStore`."""
        lists = self._of(user)
        name = lists.default or create
        if name is None:
            return
        lists.items[name] = _sorted(edit(lists.items.get(name, ())))
        lists.default = name
        self._users[user] = lists

    async def remove_user(self, user: JID) -> None:
        """See :class:`PrivacyStore`."""
        self._users.pop(user, None)

    async def remove_domain(self, domain: str) -> None:
        """See :class:`PrivacyStore`."""
        for user in [user for user in self._users if user.domain == domain]:
            del self._users[user]


def _sorted(items: Items) -> Items:
    return tuple(sorted(items, key=lambda item: item.order))
