"""The words of messages: SQLite's FTS5, or PostgreSQL's text search.

The index follows the log some messages at a time: a message costs nothing here when it passes.
Each entry holds the owners of the archives that show the message as words of their own, so that
one look-up finds a user's messages among everybody's.
"""

import html
import json
import re
from typing import Any, Final

from sqlalchemy import (
    BindParameter,
    ColumnElement,
    Connection,
    bindparam,
    text,
)

from mongoosetw.messagelog.indexing import arrive, position
from mongoosetw.messagelog.tables import IN_RECIPIENTS, IN_SENDERS

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
# One statement with one step reads many messages, and another adds them: after each step SQLite's
# thread waits for the interpreter, and whoever has something to write waits for that thread.
_ADD: Final = {
    "sqlite": text(
        "INSERT OR REPLACE INTO mam_text (rowid, owners, body) SELECT json_extract(value, '$[0]'), "
        "json_extract(value, '$[1]'), json_extract(value, '$[2]') FROM json_each(:found)"
    ),
    "postgresql": text(
        "INSERT INTO mam_text (id, words) SELECT CAST(value->>0 AS BIGINT), "
        "to_tsvector('simple', value->>1) || to_tsvector('simple', value->>2) "
        "FROM json_array_elements(CAST(:found AS JSON)) ON CONFLICT DO NOTHING"
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
_NEXT: Final = {
    "sqlite": text(
        "SELECT json_group_array(json_array(id, sender, recipient, flags, stanza)) FROM ("
        "SELECT id, sender, recipient, flags, stanza FROM message_log "
        "WHERE id > :after AND (id & 255) = :node ORDER BY id LIMIT :most) AS found"
    ),
    "postgresql": text(
        "SELECT json_agg(json_build_array(id, sender, recipient, flags, stanza)) FROM ("
        "SELECT id, sender, recipient, flags, stanza FROM message_log "
        "WHERE id > :after AND (id & 255) = :node ORDER BY id LIMIT :most) AS found"
    ),
}
_BODY: Final = re.compile(r"<body(?: [^>]*)?>(.*?)</body>", re.DOTALL)
_TAG: Final = re.compile(r"<[^>]*>")
_WORD: Final = re.compile(r"\w+")


def follow(connection: Connection, node: int, most: int) -> bool:
    """Makes the words of some more messages of a node searchable; False if that was all."""
    dialect = connection.dialect.name
    after = position(connection, node, SEARCHABLE)
    given = {"after": after, "node": node, "most": most}
    found: Any = connection.execute(_NEXT[dialect], given).scalar() or []
    rows: list[list[Any]] = json.loads(found) if isinstance(found, str) else found
    if not rows:
        return False
    add = [
        (identifier, _owners(sender, recipient, flags), words)
        for identifier, sender, recipient, flags, stanza in rows
        if flags and (words := _words(stanza))
    ]
    if add:
        connection.execute(_ADD[dialect], {"found": json.dumps(add)})
    arrive(connection, node, SEARCHABLE, max(row[0] for row in rows))
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


def _owners(sender: int, recipient: int, flags: int) -> str:
    shown = [sender] if flags & IN_SENDERS else []
    shown += [recipient] if flags & IN_RECIPIENTS else []
    return " ".join(f"o{owner}" for owner in shown)


def _words(stanza: str) -> str:
    bodies = [html.unescape(_TAG.sub(" ", body)) for body in _BODY.findall(stanza)]
    return " ".join(bodies).strip()
