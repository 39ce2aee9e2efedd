"""Whose fault a database error is: the call's, a rival transaction's, or the database's."""

import sqlite3
from enum import Enum, auto

from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError

# PostgreSQL, appendix A: serialization_failure, deadlock_detected, lock_not_available.
_RIVALS = frozenset({"40001", "40P01", "55P03"})
# Classes connection exception, insufficient resources, operator intervention, system error;
# invalid_authorization; and read_only_sql_transaction, which a demoted primary answers.
_GONE_CLASSES = frozenset({"08", "28", "53", "57", "58"})
_READ_ONLY = "25006"
_QUERY_CANCELED = "57014"  # the statement's own timeout
# https://sqlite.org/rescode.html, the second word of the (extended) code's name.
_SQLITE_RIVALS = frozenset({"BUSY", "LOCKED"})
_SQLITE_GONE = frozenset(
    {"CANTOPEN", "CORRUPT", "FULL", "IOERR", "NOMEM", "NOTADB", "PERM", "PROTOCOL", "READONLY"}
)


class Fault(Enum):
    """What a database error means for the calls that ran."""

    CALL = auto()
    """The call's own: a constraint, a wrong statement, one that took too long."""
    RIVAL = auto()
    """Another transaction was in the way: trying again helps."""
    GONE = auto()
    """The database cannot be reached or does not take writes."""


def fault_of(error: DBAPIError) -> Fault:
    """Tells whose fault an error is, by the code that the database gave."""
    if error.connection_invalidated:
        return Fault.GONE
    if isinstance(error.orig, sqlite3.Error):
        return _of_sqlite(error.orig)
    code = getattr(error.orig, "pgcode", None)
    if code is not None:
        return _of_postgresql(code)
    # libpq gives no code when it is the connection that failed
    lost = isinstance(error, OperationalError | InterfaceError)
    return Fault.GONE if lost else Fault.CALL


def _of_sqlite(error: sqlite3.Error) -> Fault:
    word = getattr(error, "sqlite_errorname", "SQLITE_ERROR").split("_")[1]
    if word in _SQLITE_RIVALS:
        return Fault.RIVAL
    return Fault.GONE if word in _SQLITE_GONE else Fault.CALL


def _of_postgresql(code: str) -> Fault:
    if code in _RIVALS:
        return Fault.RIVAL
    if code == _READ_ONLY or (code[:2] in _GONE_CLASSES and code != _QUERY_CANCELED):
        return Fault.GONE
    return Fault.CALL


def refuses_writes(error: DBAPIError) -> bool:
    """Whether the transaction or the database takes no writes."""
    return getattr(error.orig, "pgcode", None) == _READ_ONLY or (
        getattr(error.orig, "sqlite_errorname", "").startswith("SQLITE_READONLY")
    )


def timed_out(error: BaseException | None) -> bool:
    """Whether the database gave a statement up because it took too long."""
    return isinstance(error, DBAPIError) and (
        getattr(error.orig, "pgcode", None) == _QUERY_CANCELED
    )
