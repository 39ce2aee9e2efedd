"""Pages of an archive, read from the message log."""

from dataclasses import dataclass
from functools import cache
from typing import Any, Final, TypeAlias

from sqlalchemy import (
    BindParameter,
    ColumnElement,
    Connection,
    Select,
    bindparam,
    func,
    or_,
    select,
)

from modules.mod_mam.query import HIGHEST, Query
from modules.mod_mam.search import condition, pattern
from mongoosetw.messagelog.tables import archive, messages
from mongoosetw.storage.driver import fetch
from mongoosetw.xmpp.errors import StanzaError
from mongoosetw.xmpp.jid import JID
from mongoosetw.xmpp.stanza import Stanza, escape

COUNTED = 5_000
"""Up to so many messages are counted; a larger number is not told (XEP-0059 §2.7 allows that)."""
_CHUNK: Final = 500
"""So many messages are read at once to find those from or to a full JID."""
_ANY: Final = str.maketrans({"\\": "_", " ": "%"})
"""What LIKE would take for an escape, and what XML may spell as other white space (§3.3.3)."""
_What: TypeAlias = tuple[bool, bool, bool, str]
"""What is asked for: messages with somebody, with a full JID, of some ids, with words (dialect)."""


@dataclass(frozen=True, slots=True)
class Page:
    """Some messages of an archive, oldest first: id and XML.

    :ivar complete: nothing matches beyond them, in the direction of the query.
    :ivar count: how many messages match in all, None if too many to be counted.
    :ivar index: how many match before the first of these, None if that is not known.
    """

    messages: list[tuple[int, str]]
    complete: bool
    count: int | None
    index: int | None


def page_of(
    connection: Connection, owner: int, remote: int | None, query: Query, *, count: bool
) -> Page:
    """Reads a page.

    :param remote: owner number of ``query.with_``'s bare JID.
    :param count: tell how many messages match in all.
    :raises StanzaError: ``item-not-found``: a message that the query names is not there.
    """
    _check(connection, owner, {*query.anchors, *query.ids})
    resource = query.with_.resource if query.with_ is not None else None
    dialect = connection.dialect.name
    what: _What = (
        remote is not None,
        resource is not None,
        bool(query.ids),
        dialect if query.text else "",
    )
    values: dict[str, Any] = {
        "owner": owner,
        "remote": remote,
        "full": query.with_,
        "resource": (resource or "").translate(_ANY),
        "ids": query.ids,
        "after": max(query.after, query.page_after),
        "before": min(query.before, query.page_before),
        "most": query.most + 1,
    }
    if query.text:
        values["words"] = pattern(dialect, owner, query.text)
    rows = _found(connection, what, values, backwards=query.backwards)
    complete = len(rows) <= query.most
    rows = rows[: query.most]
    if query.backwards:
        rows.reverse()
    total, index = None, None
    if count:
        total, index = _counts(connection, what, values, query, rows, complete=complete)
    return Page(rows, complete, total, index)


def _counts(
    connection: Connection,
    what: _What,
    values: dict[str, Any],
    query: Query,
    rows: list[tuple[int, str]],
    *,
    complete: bool,
) -> tuple[int | None, int | None]:
    whole = query.page_after == 0 and query.page_before == HIGHEST
    if whole and complete:
        return len(rows), 0 if rows else None
    values = {**values, "after": query.after, "before": query.before, "most": COUNTED + 1}
    total = _number(connection, what, values)
    if total > COUNTED:
        return None, None
    if not rows:
        return total, None
    if whole:
        return total, total - len(rows) if query.backwards else 0
    values["before"] = rows[0][0]
    return total, _number(connection, what, values)


def _found(
    connection: Connection, what: _What, values: dict[str, Any], *, backwards: bool
) -> list[tuple[int, str]]:
    """The first messages that match; or the last ones, the newest first."""
    page = _page(*what, backwards)
    _, full, _, _ = what
    if not full:
        return _rows(connection, page, values)
    # Rows do not have the full JIDs: every message would pay for what few ask for
    most, edge = values["most"], "before" if backwards else "after"
    values = {**values, "most": _CHUNK}
    found: list[tuple[int, str]] = []
    while len(found) < most:
        rows = _rows(connection, page, values)
        found += [row for row in rows if _is_with(row[1], values["full"])]
        if len(rows) < _CHUNK:
            break
        values[edge] = rows[-1][0]
    return found[:most]


def _is_with(xml: str, full: JID) -> bool:
    """Whether a message is from or to a full JID."""
    if xml.startswith(f"<message from='{escape(full.text)}'"):  # as the server writes it
        return True
    stanza = Stanza.parse(xml)
    return full in (stanza.from_, stanza.to)


def _number(connection: Connection, what: _What, values: dict[str, Any]) -> int:
    """How many messages match, ``most`` if there are more."""
    remote, full, ids, words = what
    if full:
        return len(_found(connection, what, values, backwards=False))
    number: int = _rows(connection, _count(remote, ids, words), values)[0][0]
    return number


def _rows(
    connection: Connection, statement: Select[Any], values: dict[str, Any]
) -> list[tuple[Any, ...]]:
    """The rows; for most queries on the short way."""
    if values["ids"]:  # a list
        return [tuple(row) for row in connection.execute(statement, values)]
    return fetch(connection, statement, values)


def _check(connection: Connection, owner: int, ids: set[int]) -> None:
    if ids:
        found = connection.execute(_EXIST, {"owner": owner, "ids": tuple(ids)}).scalar_one()
        if found != len(ids):
            raise StanzaError("item-not-found")  # XEP-0313 §4.3


_OWNED = archive.c.owner == bindparam("owner")
_IDS = archive.c.id.in_(bindparam("ids", expanding=True))
_EXIST = select(func.count()).select_from(archive).where(_OWNED, _IDS)
_ENDS = select(func.min(archive.c.id), func.max(archive.c.id)).where(_OWNED)


def _where(remote: bool, full: bool, ids: bool, text: str) -> list[ColumnElement[bool]]:
    found = [
        _OWNED,
        archive.c.id > bindparam("after"),
        archive.c.id < bindparam("before"),
    ]
    if remote:
        found.append(archive.c.remote == bindparam("remote"))
    if full:
        # All that may be: an address is written as it is, but for what XML has to spell otherwise
        resource: BindParameter[str] = bindparam("resource")
        found.append(or_(messages.c.stanza.contains(resource), messages.c.stanza.contains("&")))
    if ids:
        found.append(_IDS)
    if text:
        found.append(condition(text))
    return found


@cache
def _page(remote: bool, full: bool, ids: bool, text: str, backwards: bool) -> Select[Any]:
    chosen = select(archive.c.id, messages.c.stanza).join_from(
        archive, messages, archive.c.id == messages.c.id
    )
    order = archive.c.id.desc() if backwards else archive.c.id
    return chosen.where(*_where(remote, full, ids, text)).order_by(order).limit(bindparam("most"))


@cache
def _count(remote: bool, ids: bool, text: str) -> Select[Any]:
    where = _where(remote, False, ids, text)
    chosen = select(archive.c.id).where(*where).limit(bindparam("most"))
    if text:
        chosen = chosen.join_from(archive, messages, archive.c.id == messages.c.id)
    return select(func.count()).select_from(chosen.subquery())


def ends(connection: Connection, owner: int) -> tuple[int | None, int | None]:
    """Ids of the first and the last message of an archive."""
    row = connection.execute(_ENDS, {"owner": owner}).one()
    return row[0], row[1]
