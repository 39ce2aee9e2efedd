"""Statements on the way that is shorter than SQLAlchemy's: for those that run with every commit."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from functools import lru_cache
from typing import Any, TypeVar

from sqlalchemy import Connection, Dialect, Select
from sqlalchemy.exc import DBAPIError

T = TypeVar("T")


def execute(connection: Connection, statement: str, parameters: Sequence[Any] = ()) -> None:
    """Runs a statement in the driver's own words on SQLite.

    :raises sqlalchemy.exc.DBAPIError: as SQLAlchemy would.
    """
    call(connection, statement, lambda driver: driver.execute(statement, parameters))


def fetch(
    connection: Connection, statement: Select[Any], values: Mapping[str, Any]
) -> list[tuple[Any, ...]]:
    """All rows of a statement that is a constant, without lists among its parameters.

    :raises sqlalchemy.exc.DBAPIError: as SQLAlchemy would.
    """
    sql, constants, names = _compiled(statement, connection.dialect)
    named = {**constants, **values}
    given: Any = named if names is None else [named[name] for name in names]
    return call(connection, sql, lambda driver: _fetched(driver.cursor(), sql, given))


def _fetched(cursor: Any, sql: str, values: Any) -> list[tuple[Any, ...]]:
    with closing(cursor):
        cursor.execute(sql, values)
        rows: list[tuple[Any, ...]] = cursor.fetchall()
        return rows


@lru_cache(256)
def _compiled(
    statement: Select[Any], dialect: Dialect
) -> tuple[str, dict[str, Any], list[str] | None]:
    """The statement in the driver's words, its constants, and the order of its parameters if they
    have no names there."""
    compiled: Any = statement.compile(dialect=dialect)
    return str(compiled), dict(compiled.params), compiled.positiontup


def call(connection: Connection, statement: str, function: Callable[[Any], T]) -> T:
    """What a function does with the driver's connection; its errors come as SQLAlchemy's.

    :param statement: what is to be said in an error.
    :raises sqlalchemy.exc.DBAPIError: as SQLAlchemy would.
    """
    driver: Any = connection.connection.dbapi_connection
    dialect: Any = connection.dialect
    kind = dialect.loaded_dbapi.Error
    try:
        return function(driver)
    except kind as error:
        lost = dialect.is_disconnect(error, driver, None)
        raise DBAPIError.instance(
            statement, None, error, kind, connection_invalidated=lost, dialect=dialect
        ) from error
