"""Statements on the way that is shorter than SQLAlchemy's: for those that run with every commit."""

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError

T = TypeVar("T")


def execute(connection: Connection, statement: str, parameters: Sequence[Any] = ()) -> None:
    """Runs a statement in the driver's own words on SQLite.

    :raises sqlalchemy.exc.DBAPIError: as SQLAlchemy would.
    """
    call(connection, statement, lambda driver: driver.execute(statement, parameters))


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
