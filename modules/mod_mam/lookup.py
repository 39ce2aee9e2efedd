"""Pages of an archive, read from the message log."""

from dataclasses import dataclass
from functools import cache
from typing import Any

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

COUNTED = 5_000
"""Up to so many messages are counted; a larger number is not told (XEP-0059 §2.7 allows that)."""


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
    full = query.with_ is not None and query.with_.resource is not None
    dialect = connection.dialect.name
    what = (remote is not None, full, bool(query.ids), dialect if query.text else "")
    values: dict[str, Any] = {
        "owner": owner,
        "remote": remote,
        "full": str(query.with_),
        "ids": query.ids,
        "after": max(query.after, query.page_after),
        "before": min(query.before, query.page_before),
        "most": query.most + 1,
    }
    if query.text:
        values["words"] = pattern(dialect, owner, query.text)
    rows = _rows(connection, _page(*what, query.backwards), values)
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
    what: tuple[bool, bool, bool, str],
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
    total = _rows(connection, _count(*what), values)[0][0]
    if total > COUNTED:
        return None, None
    if not rows:
        return total, None
    if whole:
        return total, total - len(rows) if query.backwards else 0
    values["before"] = rows[0][0]
    return total, _rows(connection, _count(*what), values)[0][0]


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
        jid: BindParameter[str] = bindparam("full")
        found.append(or_(messages.c.from_jid == jid, messages.c.to_jid == jid))
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
def _count(remote: bool, full: bool, ids: bool, text: str) -> Select[Any]:
    chosen = select(archive.c.id).where(*_where(remote, full, ids, text)).limit(bindparam("most"))
    if full or text:
        chosen = chosen.join_from(archive, messages, archive.c.id == messages.c.id)
    return select(func.count()).select_from(chosen.subquery())


def ends(connection: Connection, owner: int) -> tuple[int | None, int | None]:
    """Ids of the first and the last message of an archive."""
    row = connection.execute(_ENDS, {"owner": owner}).one()
    return row[0], row[1]
