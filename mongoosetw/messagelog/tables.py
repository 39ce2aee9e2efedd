"""Tables of the message log.

A message has one row, whoever keeps it, and that row is all that is written when a message
passes. What is sorted by owner follows later, many rows at a time: ``message_archive`` says
whose archive shows a message (see :mod:`mongoosetw.messagelog.indexing`), ``message_pending``
who has not got it yet.
"""

from typing import Final

from sqlalchemy import BigInteger, Column, Integer, LargeBinary, SmallInteger, String, Table, Text

from mongoosetw.storage.schema import Schema, Step, metadata

IN_SENDERS: Final = 1
"""Flag of a message that its sender's archive shows."""
IN_RECIPIENTS: Final = 2
"""Flag of a message that its recipient's archive shows."""

IN_OTHERS: Final = 4
"""Flag of a message that an archive of somebody else shows."""

SETTLED: Final = 1
"""Kind of position: all messages that the node logged up to it are delivered or pending."""
INDEXED: Final = 2  # 3 is mod_mam's
"""Kind of position: ``message_archive`` has all messages that the node logged up to it."""
REACH: Final = 4
"""Kind of position: the node has logged nothing above it, and something ``STRIDE`` below it."""
TAKEN_OVER: Final = 5
"""Kind of position: what the node logged up to it was taken over when the node was lost."""
STRIDE: Final = 4_000_000 << 8
"""Four seconds, as a part of ids."""

messages = Table(
    "message_log",
    metadata,
    # In SQLite "INTEGER PRIMARY KEY" is the row's own number: no further index
    Column("id", BigInteger().with_variant(Integer, "sqlite"), primary_key=True),
    Column("sender", BigInteger, nullable=False),
    Column("recipient", BigInteger, nullable=False),
    Column("flags", SmallInteger, nullable=False),
    Column("holder", BigInteger),
    Column("stanza", Text, nullable=False),
)
"""``sender``, ``recipient``: owner numbers of the bare JIDs; ``holder``: sid of the session that
the message was on its way to, as long as it matters (see ``SETTLED``); 0 is for none: sqlite3
looks for an adapter of each None, which takes as long as the rest of the row."""

archive = Table(
    "message_archive",
    metadata,
    Column("owner", BigInteger, primary_key=True, autoincrement=False),
    Column("id", BigInteger, primary_key=True, autoincrement=False),
    Column("remote", BigInteger, nullable=False),
    sqlite_with_rowid=False,
)
"""``remote``: the owner number of the bare JID on the other side."""

pending = Table(
    "message_pending",
    metadata,
    Column("owner", BigInteger, primary_key=True, autoincrement=False),
    Column("id", BigInteger, primary_key=True, autoincrement=False),
    Column("holder", BigInteger),
    Column("expire", BigInteger),
    sqlite_with_rowid=False,
)
"""``holder``: sid of the session that was sent the message; ``expire``: microseconds since 1970."""

positions = Table(
    "message_position",
    metadata,
    Column("node", SmallInteger, primary_key=True, autoincrement=False),
    Column("kind", SmallInteger, primary_key=True, autoincrement=False),
    Column("id", BigInteger, primary_key=True, autoincrement=False),
)
"""How far a node has come; of several rows the greatest id counts."""

owners = Table(
    "message_owner",
    metadata,
    Column("owner", BigInteger, primary_key=True, autoincrement=False),
    Column("jid", String(3071), nullable=False),
)
"""What an owner number stands for; see :meth:`mongoosetw.messagelog.log.MessageLog.owner`."""

secret = Table(
    "message_log_secret",
    metadata,
    Column("one", SmallInteger, primary_key=True, autoincrement=False),
    Column("value", LargeBinary, nullable=False),
)
"""The key of the owner numbers, made with the tables."""

_DROP_FULL_JIDS: Final = (
    "ALTER TABLE message_log DROP COLUMN from_jid",
    "ALTER TABLE message_log DROP COLUMN to_jid",
)
SCHEMA = Schema(
    "messagelog",
    2,
    (messages, archive, pending, positions, owners, secret),
    {2: Step(pg=_DROP_FULL_JIDS, sqlite=_DROP_FULL_JIDS)},
)
