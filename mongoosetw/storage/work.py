"""Calls, and how several of them share one transaction without spoiling one another."""

import time
from collections.abc import Callable
from typing import Any

from sqlalchemy import Connection, Result
from sqlalchemy.engine import FilterResult
from sqlalchemy.exc import DBAPIError
from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from mongoosetw.storage.faults import Fault, fault_of, refuses_writes
from mongoosetw.xmpp.errors import BackendUnavailable

_PSYCOPG2_IN_ERROR = 3  # psycopg2.extensions.TRANSACTION_STATUS_INERROR


class DatabaseUnavailable(BackendUnavailable):
    """The database cannot be reached or does not take writes; it may be back soon."""


class CommitUncertain(DatabaseUnavailable):
    """The connection was lost during the commit: whether it happened is not known."""


class Work:
    """One call, and the Deferred of its result.

    :ivar outcome: what the Deferred is to fire with; a Failure to fail.
    :ivar submitted: when the call was made, on ``time.monotonic``'s clock.
    :ivar began: when it was run, 0.0 before.
    :ivar single: it is one statement, for which SQLite needs no transaction around it.
    """

    __slots__ = ("began", "deferred", "function", "name", "outcome", "single", "submitted")

    def __init__(
        self, name: str, function: Callable[[Connection], Any], *, single: bool = False
    ) -> None:
        self.name = name
        self.function = function
        self.single = single
        self.deferred: Deferred[Any] = Deferred()
        self.outcome: Any = None
        self.submitted = time.monotonic()
        self.began = 0.0


def perform(connection: Connection, works: list[Work], *, write: bool) -> None:
    """Runs calls in as few transactions as can be; sets their outcomes.

    :raises CommitUncertain: the connection was lost while it committed.
    :raises DBAPIError: a rival's fault or the database's: nothing of it was done.
    """
    if not write:
        _read(connection, works)
    elif len(works) == 1 and works[0].single:
        works[0].outcome = _outcome(connection, works[0])
    elif not _write_at_once(connection, works) and len(works) > 1:
        _write_apart(connection, works)


def _read(connection: Connection, works: list[Work]) -> None:
    transaction = connection.begin()
    try:
        for work in works:
            work.outcome = _outcome(connection, work)
            if isinstance(work.outcome, Failure):
                # PostgreSQL takes no more statements in a transaction after an error
                transaction.rollback()
                transaction = connection.begin()
    finally:
        transaction.close()


def _write_at_once(connection: Connection, works: list[Work]) -> bool:
    """All calls together; whether that went well, else nothing is done.

    Savepoints would spare the others when one fails, but cost every call two more
    statements, and hardly ever does one fail.
    """
    transaction = connection.begin()
    try:
        for work in works:
            work.outcome = _outcome(connection, work)
            if isinstance(work.outcome, Failure):
                return False
        _commit(transaction.commit)
        return True
    finally:
        transaction.close()


def _write_apart(connection: Connection, works: list[Work]) -> None:
    """All calls in one transaction, those that fail undone."""
    transaction = connection.begin()
    try:
        perform_each(connection, works)
        _commit(transaction.commit)
    finally:
        transaction.close()


def perform_each(connection: Connection, works: list[Work]) -> None:
    """Runs calls within a transaction, each in a savepoint of its own; sets their outcomes.

    :raises DBAPIError: a rival's fault or the database's.
    """
    for work in works:
        savepoint = connection.begin_nested()
        work.outcome = _outcome(connection, work)
        if isinstance(work.outcome, Failure):
            savepoint.rollback()
        else:
            savepoint.commit()


def _commit(commit: Callable[[], None]) -> None:
    try:
        commit()
    except DBAPIError as error:
        if error.connection_invalidated:
            raise CommitUncertain(reason(error)) from error
        raise


def _outcome(connection: Connection, work: Work) -> Any:
    work.began = time.monotonic()
    try:
        result = work.function(connection)
        if isinstance(result, Result | FilterResult):
            raise TypeError(f"{work.name} returned a cursor; return plain values")
        if _in_error(connection):
            raise RuntimeError(f"{work.name} went on after a failed statement; use a savepoint")
    except DBAPIError as error:
        own = connection.get_execution_options().get("write") is False and refuses_writes(error)
        if fault_of(error) is not Fault.CALL and not own:
            raise  # all calls of the transaction are concerned
        return Failure()
    except Exception:  # boundary: handed to the caller, in the reactor's thread
        return Failure()
    return result


def _in_error(connection: Connection) -> bool:
    """Whether PostgreSQL would silently turn the commit into a rollback."""
    if connection.dialect.driver != "psycopg2":
        return False
    driver: Any = connection.connection.dbapi_connection
    return bool(driver.info.transaction_status == _PSYCOPG2_IN_ERROR)


def reason(error: Exception) -> str:
    """The first line of what the database said."""
    said = error.orig if isinstance(error, DBAPIError) and error.orig else error
    return str(said).strip().partition("\n")[0]
