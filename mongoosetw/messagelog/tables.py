"""Tables of the message log.

A message has one row, whoever keeps it. ``message_archive`` says whose archive shows it,
``message_pending`` who has not got it yet; both are narrow and in the order of their owner.
"""

from sqlalchemy import BigInteger, Boolean, Column, LargeBinary, String, Table, Text
from sqlalchemy import SmallInteger as Small

from mongoosetw.storage.schema import Schema, metadata

messages = Table(
    "message_log",
    metadata,
    Column("id", BigInteger, primary_key=True, autoincrement=False),
    Column("from_jid", String(3071), nullable=False),
    Column("to_jid", String(3071), nullable=False),
    Column("archived", Boolean, nullable=False),
    Column("stanza", Text, nullable=False),
)
"""``archived``: some archive shows the message, so its row stays when it has been delivered."""

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
"""``holder``: the session that has been sent the message; ``expire``: microseconds since 1970."""

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
    Column("one", Small, primary_key=True, autoincrement=False),
    Column("value", LargeBinary, nullable=False),
)
"""The key of the owner numbers, made with the tables."""

SCHEMA = Schema("messagelog", 1, (messages, archive, pending, owners, secret))
