"""Logs that were written by earlier versions."""

from dataclasses import replace

from sqlalchemy import insert, inspect, select

from mongoosetw.messagelog.tables import SCHEMA, messages
from mongoosetw.storage import migrate
from mongoosetw.storage.database import Database
from mongoosetw.testing.storage_contract import OverPostgreSQL, OverSQLite, StorageContract

_FIRST = (
    "ALTER TABLE message_log ADD COLUMN from_jid VARCHAR(3071) NOT NULL DEFAULT 'romeo@a/1'",
    "ALTER TABLE message_log ADD COLUMN to_jid VARCHAR(3071) NOT NULL DEFAULT 'juliet@a/2'",
)
"""What version 1 had besides."""
_ROW = {"id": 7, "sender": 1, "recipient": 2, "flags": 3, "holder": 0, "stanza": "<message/>"}


def itself(db: Database) -> Database:
    """The store that is tested is the database."""
    return db


class UpgradeTests(StorageContract[Database]):
    """From version 1."""

    schemas = (replace(SCHEMA, version=1),)
    sql = staticmethod(itself)

    def test_messages_stay(self) -> None:
        """A message of an older log is all there, without what is not needed any more."""
        with self.store.engine.connect() as connection:
            with connection.begin():
                for statement in _FIRST:
                    connection.exec_driver_sql(statement)
                connection.execute(insert(messages), _ROW)
            migrate.ensure(connection, SCHEMA, upgrade=True)
            names = {column["name"] for column in inspect(connection).get_columns("message_log")}
            rows = [tuple(row) for row in connection.execute(select(messages))]
        self.assertEqual(names, set(_ROW))
        self.assertEqual(rows, [tuple(_ROW.values())])


class SQLiteUpgradeTests(OverSQLite, UpgradeTests):
    """In a file."""


class PostgreSQLUpgradeTests(OverPostgreSQL, UpgradeTests):
    """On PostgreSQL."""
