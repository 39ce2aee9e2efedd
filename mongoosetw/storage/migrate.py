"""Schema versions: one row for each owner of tables, checked when it starts."""

import logging
import os
import sqlite3
from contextlib import closing

from sqlalchemy import Column, Connection, Integer, String, Table, bindparam, insert, select, update

from mongoosetw.storage.schema import Schema, metadata

logger = logging.getLogger(__name__)

schema_version = Table(
    "schema_version",
    metadata,
    Column("module", String(250), primary_key=True),
    Column("version", Integer, nullable=False),
)

_LOCK = 0x6D6F6E67  # any number that is the same in all nodes
_FIND = select(schema_version.c.version).where(schema_version.c.module == bindparam("owner"))
_CHANGE = (
    update(schema_version)
    .where(schema_version.c.module == bindparam("owner"))
    .values(version=bindparam("new"))
)


class SchemaRefused(Exception):
    """The database's tables do not fit the code; the text says what to do."""


def ensure(connection: Connection, schema: Schema, *, upgrade: bool = False) -> None:
    """Creates the tables at the latest version, or checks and upgrades them.

    :param upgrade: upgrade PostgreSQL, too (``mongoosectl db upgrade``).
    :raises SchemaRefused: newer than the code; or older, on PostgreSQL without ``upgrade``.
    """
    with connection.begin():
        _lock(connection)
        schema_version.create(connection, checkfirst=True)
        found = connection.execute(_FIND, {"owner": schema.owner}).scalar()
        if found is None:
            metadata.create_all(connection, tables=list(schema.tables), checkfirst=True)
            for statement in schema.more.get(connection.dialect.name, ()):
                connection.exec_driver_sql(statement)
            row = {"module": schema.owner, "version": schema.version}
            connection.execute(insert(schema_version), row)
            return
    if found > schema.version:
        raise SchemaRefused(
            f"the tables of {schema.owner} have version {found}, newer than this program's "
            f"({schema.version}): run the newer program, or restore an older database"
        )
    if found < schema.version:
        _upgrade(connection, schema, found, upgrade=upgrade)


def _lock(connection: Connection) -> None:
    """Nodes that start at the same time take turns, to the transaction's end.

    Both this and what follows may take longer than a query.
    """
    if connection.dialect.name == "postgresql":
        connection.exec_driver_sql("SET LOCAL statement_timeout = 0")
        connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({_LOCK})")


def _upgrade(connection: Connection, schema: Schema, found: int, *, upgrade: bool) -> None:
    sqlite = connection.dialect.name == "sqlite"
    if not sqlite and not upgrade:
        raise SchemaRefused(
            f"the tables of {schema.owner} have version {found}, this program needs "
            f"{schema.version}: run mongoosectl db upgrade"
        )
    if sqlite:
        _back_up(connection, f"{schema.owner}-{found}")
    with connection.begin():
        _lock(connection)
        found = connection.execute(_FIND, {"owner": schema.owner}).scalar_one()
        if found >= schema.version:
            return  # another node was quicker
        for version in range(found + 1, schema.version + 1):
            step = schema.steps[version]
            for statement in step.sqlite if sqlite else step.pg:
                connection.exec_driver_sql(statement)
        connection.execute(_CHANGE, {"owner": schema.owner, "new": schema.version})
    logger.info("schema_upgraded owner=%s version=%d", schema.owner, schema.version)


def _back_up(connection: Connection, label: str) -> None:
    """Copies the SQLite file beside itself before its structure changes."""
    path = connection.engine.url.database
    if not path:
        return
    copy = f"{path}.before-upgrade-{label}"
    os.close(os.open(copy, os.O_CREAT | os.O_WRONLY, 0o600))
    with closing(sqlite3.connect(path)) as source, closing(sqlite3.connect(copy)) as target:
        source.backup(target)
    logger.info("database_copied path=%s", copy)
