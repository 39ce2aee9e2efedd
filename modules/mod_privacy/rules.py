"""What privacy lists say (XEP-0016 §2.1, §2.2), without I/O."""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Final, Literal

from mongoosetw.xmpp.jid import JID, InvalidJID
from mongoosetw.xmpp.stanza import Stanza

Direction = Literal["in", "out"]
MESSAGE: Final = "message"
IQ: Final = "iq"
PRESENCE_IN: Final = "presence-in"
PRESENCE_OUT: Final = "presence-out"
KINDS: Final = frozenset({MESSAGE, IQ, PRESENCE_IN, PRESENCE_OUT})
"""The kinds of stanzas that an item may be limited to (§2.1)."""
OTHER: Final = "other"
"""All else, which only an item without limits concerns: what the user sends, except for presence
notifications; subscriptions and probes (§2.10, §2.11, §2.13)."""

SUBSCRIPTIONS: Final = frozenset({"both", "to", "from", "none"})
_EVERYBODY: Final = ()
_Key = tuple[str | None, ...]
"""Local part, domain and resource; type and value; or nothing."""


@dataclass(frozen=True, slots=True)
class Item:
    """One rule.

    :ivar order: its place; unique in a list.
    :ivar allow: what it says to a stanza that it matches.
    :ivar type: ``jid``, ``group`` or ``subscription``; empty: it matches everybody.
    :ivar kinds: the kinds that it is limited to; empty: it concerns every stanza.
    """

    order: int
    allow: bool
    type: str = ""
    value: str = ""
    kinds: frozenset[str] = frozenset()

    @property
    def blocks(self) -> bool:
        """Whether it stands for an address of the blocklist (XEP-0191 §5)."""
        return self.type == "jid" and not self.allow and not self.kinds

    @property
    def address(self) -> JID | None:
        """Whom an item of type ``jid`` matches; None if what is stored is no address (any more)."""
        try:
            return JID.parse(self.value)
        except InvalidJID:
            return None


@dataclass(frozen=True, slots=True)
class Contact:
    """What a roster says of a contact, as far as rules ask for it."""

    subscription: str = "none"
    groups: frozenset[str] = frozenset()


Roster = Mapping[JID, Contact]
_STRANGER: Final = Contact()


def kind_of(stanza: Stanza, direction: Direction) -> str:
    """What a stanza counts as for the user whom it comes to, or who sends it."""
    if stanza.kind == "presence":
        if stanza.type not in ("", "unavailable"):
            return OTHER  # §2.1: presence notifications are no subscriptions
        return PRESENCE_IN if direction == "in" else PRESENCE_OUT
    return stanza.kind if direction == "in" else OTHER


class PrivacyList:
    """A named list, arranged so that its length does not matter to a check.

    :ivar items: in the order in which they apply.
    :ivar uses_roster: some of them ask for the contact's group or subscription.
    """

    __slots__ = ("_tables", "items", "name", "uses_roster")

    def __init__(self, name: str, items: Iterable[Item]) -> None:
        self.name = name
        self.items = tuple(sorted(items, key=lambda item: item.order))
        self.uses_roster = any(item.type in ("group", "subscription") for item in self.items)
        self._tables: dict[str, dict[_Key, int]] = {}

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, PrivacyList):
            return NotImplemented
        return self.name == other.name and self.items == other.items

    __hash__ = None  # type: ignore[assignment]

    def match(self, peer: JID, kind: str, roster: Roster) -> Item | None:
        """The first item that concerns a stanza of this kind from or to ``peer``."""
        table = self._tables.get(kind)
        if table is None:
            table = self._tables[kind] = self._arrange(kind)
        get, end = table.get, len(self.items)
        local, domain, resource = peer.local, peer.domain, peer.resource
        # §2.1: account, domain, everybody; resource, and resource of any account of a domain:
        # that is how one participant of any room of a chat service is named
        place = min(
            get((local, domain, None), end), get((None, domain, None), end), get(_EVERYBODY, end)
        )
        if resource is not None:
            place = min(
                place, get((local, domain, resource), end), get((None, domain, resource), end)
            )
        if self.uses_roster:
            contact = roster.get(peer.bare, _STRANGER)
            place = min(place, get(("subscription", contact.subscription), end))
            for group in contact.groups:
                place = min(place, get(("group", group), end))
        return self.items[place] if place < end else None

    def allows(self, peer: JID, kind: str, roster: Roster) -> bool:
        """What the list says; without an item that matches, yes (§2.2, rule 7)."""
        item = self.match(peer, kind, roster)
        return item is None or item.allow

    def _arrange(self, kind: str) -> dict[_Key, int]:
        """The place of the first item for everything that an item can ask for."""
        table: dict[_Key, int] = {}
        for place, item in enumerate(self.items):
            if not item.kinds or kind in item.kinds:
                key = _key(item)
                if key is not None:
                    table.setdefault(key, place)
        return table


def _key(item: Item) -> _Key | None:
    if item.type == "":
        return _EVERYBODY
    if item.type != "jid":
        return (item.type, item.value)
    address = item.address
    return None if address is None else (address.local, address.domain, address.resource)


def blocklist(privacy_list: PrivacyList | None) -> dict[JID, None]:
    """The addresses of the blocklist that a default list stands for, in order (XEP-0191 §5)."""
    items = () if privacy_list is None else privacy_list.items
    addresses = (item.address for item in items if item.blocks)
    return dict.fromkeys(address for address in addresses if address is not None)


def block(items: tuple[Item, ...], addresses: Iterable[JID]) -> tuple[Item, ...]:
    """A default list with these addresses blocked: they come first (XEP-0191 §5)."""
    known = {item.address for item in items if item.blocks}
    new = [address for address in dict.fromkeys(addresses) if address not in known]
    room = items[0].order if items else 0
    if room < len(new):
        items = tuple(replace(item, order=len(new) + i) for i, item in enumerate(items))
        room = len(new)
    first = room - len(new)
    return (*(Item(first + i, False, "jid", str(jid)) for i, jid in enumerate(new)), *items)


def unblock(items: tuple[Item, ...], addresses: Collection[JID] | None) -> tuple[Item, ...]:
    """A default list with these addresses, or all, no longer blocked."""
    return tuple(
        item
        for item in items
        if not item.blocks or (addresses is not None and item.address not in addresses)
    )
