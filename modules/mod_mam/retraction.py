"""Message retraction (XEP-0424): a tombstone takes the message's place in both archives."""

from typing import Any, Final

from sqlalchemy import Connection, bindparam, select, update

from modules.mod_mam import search
from mongoosetw.messagelog.tables import archive, messages
from mongoosetw.xmpp import ns
from mongoosetw.xmpp.jid import JID
from mongoosetw.xmpp.stanza import Stanza, escape

_SEARCHED: Final = 5_000
"""How many messages of a conversation are looked at, the newest first."""
_RECENT = (
    select(archive.c.id)
    .where(
        archive.c.owner == bindparam("owner"),
        archive.c.remote == bindparam("remote"),
        archive.c.id < bindparam("before"),
    )
    .order_by(archive.c.id.desc())
    .limit(_SEARCHED)
    .subquery()
)
_CANDIDATES = (
    select(messages.c.id, messages.c.stanza)
    .join_from(_RECENT, messages, _RECENT.c.id == messages.c.id)
    .where(messages.c.stanza.contains(bindparam("named")))
    .order_by(messages.c.id.desc())
)
_BY_ID = (
    select(messages.c.id, messages.c.stanza)
    .join_from(archive, messages, archive.c.id == messages.c.id)
    .where(
        archive.c.owner == bindparam("owner"),
        archive.c.remote == bindparam("remote"),
        archive.c.id == bindparam("id"),
    )
)
_REPLACE = (
    update(messages).where(messages.c.id == bindparam("k_id")).values(stanza=bindparam("tombstone"))
)


def wanted(stanza: Stanza) -> str | None:
    """The id of the message that a stanza retracts (XEP-0424 §3), None if it retracts none."""
    element = stanza.child(ns.RETRACT, "retract")
    return None if element is None else element.getAttribute("id")


def retract(
    connection: Connection,
    *,
    owner: int,
    remote: int,
    author: JID,
    named: str,
    by: Stanza,
    before: int,
    stamp: str,
    text: bool,
) -> bool:
    """Puts a tombstone in a message's place.

    :param owner: whose archive to look in; ``remote``: the other side.
    :param author: who retracts (bare JID): only what the same account sent is replaced.
    :param named: the message's id, origin-id or id in the archive.
    :param before: the id of the retraction in the log.
    :returns: False if there is no such message.
    """
    values = {"owner": owner, "remote": remote, "before": before, "named": named}
    for row in _candidates(connection, values):
        found = Stanza.parse(row.stanza)
        if found.from_ is None or found.from_.bare != author:
            continue
        if named not in (found.id, str(row.id), _origin_id(found)):
            continue
        grave = tombstone(found, by, stamp)
        change = {"k_id": row.id, "tombstone": grave.to_bytes().decode()}
        connection.execute(_REPLACE, change)
        if text:
            search.forget(connection, [row.id])
        return True
    return False


def _candidates(connection: Connection, values: dict[str, Any]) -> list[Any]:
    rows = list(connection.execute(_CANDIDATES, values))
    named = str(values["named"])
    if named.isascii() and named.isdigit() and len(named) < 19:
        rows += list(connection.execute(_BY_ID, {**values, "id": int(named)}))
    return rows


def _origin_id(stanza: Stanza) -> str | None:
    element = stanza.child(ns.STANZA_ID, "origin-id")
    return None if element is None else element.getAttribute("id")


def tombstone(original: Stanza, by: Stanza, stamp: str) -> Stanza:
    """What remains of a message (XEP-0424 §4)."""
    inner = f"<retracted xmlns='{ns.RETRACT}' id='{escape(by.id)}' stamp='{stamp}'/>"
    origin = _origin_id(original)
    if origin:
        inner += f"<origin-id xmlns='{ns.STANZA_ID}' id='{escape(origin)}'/>"
    return original.copy(inner=inner.encode())
