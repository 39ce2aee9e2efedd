"""The words of messages: SQLite's FTS5, or PostgreSQL's text search.

The index follows the log some messages at a time: a message costs nothing here when it passes.
Each entry holds the owners of the archives that show the message as words of their own, so that
one look-up finds a user's messages among everybody's.
"""

import html
import re
from typing import Any, Final

from sqlalchemy import (
    BindParameter,
    ColumnElement,
    Connection,
    bindparam,
    select,
    text,
)

from mongoosetw.messagelog.indexing import arrive, position
from mongoosetw.messagelog.tables import IN_RECIPIENTS, IN_SENDERS, messages

SEARCHABLE: Final = 3
"""Kind of position: the words of all messages that the node logged up to it can be found."""
BATCH: Final = 500

CREATE: Final = {
    "sqlite": ("CREATE VIRTUAL TABLE mam_text USING fts5(owners, body, tokenize='unicode61')",),
    "postgresql": (
        "CREATE TABLE mam_text (id BIGINT PRIMARY KEY, words TSVECTOR NOT NULL)",
        "CREATE INDEX i_mam_text_words ON mam_text USING gin (words)",
    ),
}
"""Statements that make the index; it is no table that SQLAlchemy knows how to describe."""
_ADD: Final = {
    "sqlite": text("INSERT OR REPLACE INTO mam_text (rowid, owners, body) VALUES (:id, :o, :b)"),
    "postgresql": text(
        "INSERT INTO mam_text (id, words) VALUES "
        "(:id, to_tsvector('simple', :o) || to_tsvector('simple', :b)) ON CONFLICT DO NOTHING"
    ),
}
_REMOVE: Final = {
    "sqlite": text("DELETE FROM mam_text WHERE rowid IN :ids").bindparams(
        bindparam("ids", expanding=True)
    ),
    "postgresql": text("DELETE FROM mam_text WHERE id IN :ids").bindparams(
        bindparam("ids", expanding=True)
    ),
}
_MATCH: Final = {
    "sqlite": text("message_log.id IN (SELECT rowid FROM mam_text WHERE mam_text MATCH :words)"),
    "postgresql": text(
        "message_log.id IN (SELECT id FROM mam_text WHERE words @@ to_tsquery('simple', :words))"
    ),
}
_NEXT = (
    select(
        messages.c.id,
        messages.c.sender,
        messages.c.recipient,
        messages.c.flags,
        messages.c.stanza,
    )
    .where(messages.c.id > bindparam("after"), messages.c.id.op("&")(255) == bindparam("node"))
    .order_by(messages.c.id)
    .limit(bindparam("most"))
)
_BODY: Final = re.compile(r"<body(?: [^>]*)?>(.*?)</body>", re.DOTALL)
_TAG: Final = re.compile(r"<[^>]*>")
_WORD: Final = re.compile(r"\w+")


def follow(connection: Connection, node: int, most: int) -> bool:
    """Makes the words of some more messages of a node searchable; False if that was all."""
    after = position(connection, node, SEARCHABLE)
    rows = connection.execute(_NEXT, {"after": after, "node": node, "most": most}).all()
    if not rows:
        return False
    add = [
        {"id": row.id, "o": _owners(row), "b": words}
        for row in rows
        if row.flags and (words := _words(row.stanza))
    ]
    if add:
        connection.execute(_ADD[connection.dialect.name], add)
    arrive(connection, node, SEARCHABLE, rows[-1].id)
    return len(rows) == most


def forget(connection: Connection, ids: list[int]) -> None:
    """Removes the words of messages."""
    connection.execute(_REMOVE[connection.dialect.name], {"ids": ids})


def condition(dialect: str) -> ColumnElement[bool]:
    """What holds for messages that contain the words of :func:`pattern`."""
    words: BindParameter[str] = bindparam("words")
    return _MATCH[dialect].bindparams(words)  # type: ignore[return-value]  # text is one, too


def pattern(dialect: str, owner: int, asked: str) -> str:
    """What to look for: all words of ``asked``, in messages of an archive."""
    found = [word.lower() for word in _WORD.findall(asked)]
    if dialect == "sqlite":
        return " AND ".join([f'owners:"o{owner}"', *(f'body:"{word}"' for word in found)])
    return " & ".join([f"'o{owner}'", *(f"'{word}'" for word in found)])


def _owners(row: Any) -> str:
    shown = [row.sender] if row.flags & IN_SENDERS else []
    shown += [row.recipient] if row.flags & IN_RECIPIENTS else []
    return " ".join(f"o{owner}" for owner in shown)


def _words(stanza: str) -> str:
    bodies = [html.unescape(_TAG.sub(" ", body)) for body in _BODY.findall(stanza)]
    return " ".join(bodies).strip()
