"""The elements of ``jabber:iq:privacy`` (XEP-0016 §2): read and written."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final, Literal

from twisted.words.xish import domish

from modules.mod_privacy.rules import KINDS, SUBSCRIPTIONS, Item
from modules.mod_privacy.store import Names
from mongoosetw.xmpp import ns
from mongoosetw.xmpp.errors import StanzaError
from mongoosetw.xmpp.jid import JID, InvalidJID
from mongoosetw.xmpp.stanza import escape

_LAST_ORDER: Final = 2**32 - 1  # xs:unsignedInt
_LONGEST_NAME: Final = 250
"""Of a list, in characters; with the user's it is a key of the database."""
_LONGEST_GROUP: Final = 1023


@dataclass(frozen=True, slots=True)
class Change:
    """What a request of type set asks for.

    :ivar name: of a list; None declines the active or default list.
    :ivar items: of a list; none: it is to be removed.
    """

    what: Literal["active", "default", "list"]
    name: str | None
    items: tuple[Item, ...] = ()


def wanted_list(query: domish.Element) -> str | None:
    """The name of the list that is asked for, None if it is the names of all.

    :raises StanzaError: ``bad-request``: more than one, or something else (§2.3).
    """
    children = _children(query)
    if not children:
        return None
    if len(children) > 1 or children[0].name != "list":
        raise StanzaError("bad-request")
    return _name(children[0])


def wanted_change(query: domish.Element, most: int) -> Change:
    """What a request of type set asks for.

    :param most: items that a list may have.
    :raises StanzaError: ``bad-request`` and what :func:`_item` raises.
    """
    children = _children(query)
    if len(children) != 1:
        raise StanzaError("bad-request")  # §2.1
    element = children[0]
    if element.name == "active":
        return Change("active", element.getAttribute("name"))
    if element.name == "default":
        return Change("default", element.getAttribute("name"))
    if element.name != "list":
        raise StanzaError("bad-request")
    elements = _children(element)
    if len(elements) > most:
        raise StanzaError("policy-violation", text="too many items")
    items = tuple(map(_item, elements))
    if len({item.order for item in items}) != len(items):
        raise StanzaError("bad-request")  # §2.1: unique among all items in the list
    return Change("list", _name(element), items)


def _children(element: domish.Element) -> list[domish.Element]:
    return [child for child in element.elements() if child.uri == ns.PRIVACY]


def _name(element: domish.Element) -> str:
    name = str(element.getAttribute("name") or "")
    if not name or len(name) > _LONGEST_NAME:
        raise StanzaError("bad-request")
    return name


def _item(element: domish.Element) -> Item:
    """:raises StanzaError: it breaks a rule of §2.1."""
    order, action = element.getAttribute("order", ""), element.getAttribute("action")
    digits = order.isascii() and order.isdigit() and len(order) <= 10
    if element.name != "item" or action not in ("allow", "deny") or not digits:
        raise StanzaError("bad-request")
    kinds = frozenset(child.name for child in _children(element))
    if int(order) > _LAST_ORDER or not kinds <= KINDS:
        raise StanzaError("bad-request")
    kind = element.getAttribute("type") or ""
    value = _value(kind, element.getAttribute("value")) if kind else ""
    return Item(int(order), action == "allow", kind, value, kinds)


def _value(kind: str, value: str | None) -> str:
    if not value:
        raise StanzaError("bad-request")
    if kind == "jid":
        return str(address(value))
    if kind == "subscription" and value in SUBSCRIPTIONS:
        return value
    if kind == "group" and len(value) <= _LONGEST_GROUP:
        return value
    raise StanzaError("bad-request")


def address(text: str | None) -> JID:
    """An address that a client names.

    :raises StanzaError: ``bad-request`` without one, ``jid-malformed`` if it is none.
    """
    if text is None:
        raise StanzaError("bad-request")
    try:
        return JID.parse(text.strip())
    except InvalidJID as error:
        raise StanzaError("jid-malformed", text=str(error)) from error


def names_xml(active: str | None, names: Names) -> str:
    """The answer to who asks for all lists (§2.3): active and default list go first."""
    parts = [] if active is None else [f"<active name='{escape(active)}'/>"]
    if names.default is not None:
        parts.append(f"<default name='{escape(names.default)}'/>")
    parts += [f"<list name='{escape(name)}'/>" for name in names.names]
    return f"<query xmlns='{ns.PRIVACY}'>{''.join(parts)}</query>"


def list_xml(name: str, items: Iterable[Item]) -> str:
    """A list with its items; without them it is a push (§2.2, rule 10)."""
    inner = "".join(map(_item_xml, items))
    return f"<query xmlns='{ns.PRIVACY}'><list name='{escape(name)}'>{inner}</list></query>"


def _item_xml(item: Item) -> str:
    head = "<item"
    if item.type:
        head += f" type='{item.type}' value='{escape(item.value)}'"
    action = "allow" if item.allow else "deny"
    kinds = "".join(f"<{kind}/>" for kind in sorted(item.kinds))
    return f"{head} action='{action}' order='{item.order}'>{kinds}</item>"
