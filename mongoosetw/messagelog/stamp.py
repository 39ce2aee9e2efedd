"""The id that a logged message has in an archive, as clients are told it (XEP-0359)."""

from functools import lru_cache
from typing import Any, Final

from mongoosetw.messagelog.entry import Entry
from mongoosetw.xmpp import ns
from mongoosetw.xmpp.jid import JID
from mongoosetw.xmpp.stanza import Name, Stanza, escape, serialise

STANZA_ID: Final[Name] = (ns.STANZA_ID, "stanza-id")
_ONE_MORE: Final = (STANZA_ID,)


def marked(stanza: Stanza, user: JID) -> Stanza:
    """A logged message for its recipient, with the id that it has in the log (XEP-0359).

    If it can be, it is the very same stanza: the sender's part is over, and nobody else is to
    have it without the id.
    """
    entry: Entry = stanza.log
    children = stanza.known_children or stanza.children
    mine = user is entry.recipient
    if mine and children is entry.marked:
        return stanza
    identifier = b"%b%d'/>" % (_id_by(user.text), entry.id)
    if STANZA_ID in children:
        if identifier in stanza.inner:
            return stanza
        stanza = without_ids(stanza, user.text)
        children = stanza.children
    children += _ONE_MORE
    if mine:
        entry.marked = children
    return stanza.extend(children, identifier)


def with_id(stanza: Stanza, user: JID) -> Stanza:
    """A logged message with the id that it has in a user's archive (XEP-0359).

    Ids that claim to be the user's and were made by somebody else are removed (§5).
    """
    if STANZA_ID in stanza.children:
        stanza = without_ids(stanza, user.text)
    return stanza.with_child(STANZA_ID, b"%b%d'/>" % (_id_by(user.text), stanza.log.id))


@lru_cache(10_000)
def _id_by(user: str) -> bytes:
    return f"<stanza-id xmlns='{ns.STANZA_ID}' by='{escape(user)}' id='".encode()


def without_ids(stanza: Stanza, by: str) -> Stanza:
    """The stanza without ``<stanza-id/>`` elements that claim to be from ``by``."""
    kept = [
        child
        for child in stanza.element.children
        if isinstance(child, str)
        or (child.uri, child.name) != STANZA_ID
        or child.getAttribute("by") != by
    ]
    return stanza.copy(inner=b"".join(serialise(_text(child)) for child in kept))


def _text(child: Any) -> Any:
    return escape(child) if isinstance(child, str) else child
