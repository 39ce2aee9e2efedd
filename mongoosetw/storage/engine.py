"""SQLAlchemy engines for SQLite and PostgreSQL, set for durability."""

import os
import sqlite3
import time
from typing import Any, Final

from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.engine import URL
from sqlalchemy.pool import NullPool, StaticPool

from mongoosetw.config.schema import DatabaseConnection
from mongoosetw.storage.driver import execute

BUSY_TIMEOUT = 5000
"""Milliseconds for which SQLite waits for another process."""
JOURNAL_LIMIT = 64 * 1024 * 1024
"""Bytes; what is left of a longer journal when it was needed."""
_GLANCE: Final = 0.01  # seconds
_WRITERS_CACHE = 16 * 1024  # KiB; indexes by owner are written all over
_PAGE = 8192  # bytes; most of what is written are rows of some hundred, one behind the other
# What was told to be stored survives a crash, whatever the database's default is. Stronger
# values, which wait for standby servers, stay.
_DURABLE = (
    "SELECT set_config('synchronous_commit', 'on', false) "
    "WHERE current_setting('synchronous_commit') = 'off'"
)


def engine_for(options: DatabaseConnection, data_dir: str) -> Engine:
    """The engine that the configuration asks for."""
    if options.driver == "sqlite":
        return sqlite_engine(options.path or os.path.join(data_dir, "mongoosetw.sqlite"))
    url = URL.create(
        "postgresql+psycopg2",
        options.username,
        options.password or None,
        options.host,
        options.port,
        options.database,
    )
    return postgresql_engine(url, options.query_timeout)


def postgresql_engine(url: URL | str, query_timeout: float = 5.0) -> Engine:
    """An engine for PostgreSQL; every lane keeps its one connection."""
    arguments = {
        "connect_timeout": 5,
        "options": f"-c statement_timeout={int(query_timeout * 1000)}",
        # an idle connection is not forgotten by what lies between
        "keepalives_idle": 60,
        "keepalives_interval": 10,
        "keepalives_count": 3,
    }
    return create_engine(url, poolclass=NullPool, connect_args=arguments, use_native_hstore=False)


def connect(engine: Engine, *, write: bool) -> Connection:
    """A connection for calls that write, or for ones that only read.

    :raises sqlalchemy.exc.DBAPIError: the database cannot be reached.
    """
    connection = engine.connect().execution_options(write=write)
    if engine.dialect.name == "postgresql":
        _set_up_postgresql(connection, write=write)
    elif write:
        execute(connection, f"PRAGMA cache_size={-_WRITERS_CACHE}")
    else:
        refuse_writes(connection, True)
    return connection


def _set_up_postgresql(connection: Connection, *, write: bool) -> None:
    if write:
        with connection.begin():
            connection.exec_driver_sql(_DURABLE)
    else:
        # each statement alone sees what is committed, as it would in a transaction by
        # default; but that one would cost two more ways to the database
        connection.execution_options(isolation_level="AUTOCOMMIT")
        connection.execution_options(postgresql_readonly=True)  # after that, or without effect


def refuse_writes(connection: Connection, refuse: bool) -> None:
    """Has an SQLite connection fail statements that write, or take them again."""
    execute(connection, f"PRAGMA query_only={'ON' if refuse else 'OFF'}")


def sqlite_engine(path: str) -> Engine:
    """An engine for an SQLite file, made for its owner's eyes only."""
    if not os.path.exists(path):
        os.close(os.open(path, os.O_CREAT | os.O_WRONLY, 0o600))
    # enough for LogWriter's statements of many sizes (storage/bulk.py)
    arguments = {"check_same_thread": False, "cached_statements": 512}
    engine = create_engine(f"sqlite:///{path}", poolclass=NullPool, connect_args=arguments)
    _set_up(engine, durable=True)
    return engine


def memory_engine() -> Engine:
    """An SQLite database that lives in memory and has one connection, for tests."""
    engine = create_engine(
        "sqlite://", poolclass=StaticPool, connect_args={"check_same_thread": False}
    )
    _set_up(engine, durable=False)
    return engine


def _keep_a_log(connection: sqlite3.Connection) -> None:
    """Has an SQLite file use a write-ahead log, which it does for good.

    While another process writes to a new file, or has just begun to do the same, SQLite refuses
    that at once, whatever the timeout is: to wait with locks of one's own might be for ever.

    :raises sqlite3.OperationalError: the other one takes longer than ``BUSY_TIMEOUT``.
    """
    until = time.monotonic() + BUSY_TIMEOUT / 1000
    while True:
        try:
            connection.execute("PRAGMA journal_mode=WAL")
            return
        except sqlite3.OperationalError as error:
            busy = error.sqlite_errorcode & 0xFF == sqlite3.SQLITE_BUSY  # of whatever kind
            if not busy or time.monotonic() > until:
                raise
        time.sleep(_GLANCE)


def _set_up(engine: Engine, *, durable: bool) -> None:
    @event.listens_for(engine, "connect")
    def connected(connection: Any, _: object) -> None:
        connection.isolation_level = None  # SQLAlchemy begins transactions itself, below
        if durable:
            connection.execute(f"PRAGMA page_size={_PAGE}")  # of a new file
            _keep_a_log(connection)
            connection.execute("PRAGMA synchronous=FULL")
            connection.execute(f"PRAGMA journal_size_limit={JOURNAL_LIMIT}")
        connection.execute(f"PRAGMA busy_timeout={BUSY_TIMEOUT}")
        connection.execute("PRAGMA foreign_keys=ON")

    @event.listens_for(engine, "begin")
    def begun(connection: Any) -> None:
        # A transaction that will write takes its lock at once: one that reads first and then
        # meets a rival's commit could not wait for it (https://sqlite.org/isolation.html).
        write = connection.get_execution_options().get("write", False)
        execute(connection, "BEGIN IMMEDIATE" if write else "BEGIN")
