"""One test of a store, run over every place where the store may keep its data.

The test's own class runs over memory, two subclasses over SQLite and PostgreSQL::

    class NoteStoreTests(StorageContract[NoteStore]):
        schemas = (SCHEMA,)
        memory = MemoryNoteStore
        sql = SQLNoteStore

        def test_get(self) -> None:
            self.result(self.store.put("a", "text"))
            self.assertEqual(self.result(self.store.get("a")), "text")

    class SQLiteNoteStoreTests(OverSQLite, NoteStoreTests):
        pass

    class PostgreSQLNoteStoreTests(OverPostgreSQL, NoteStoreTests):
        pass

PostgreSQL is the one that the environment variable ``MONGOOSETW_TEST_PG`` names, as
SQLAlchemy's URL; its tables of the same names are dropped.
"""

import os
from collections.abc import Coroutine
from typing import Any, ClassVar, Generic, TypeVar

from twisted.internet.defer import Deferred
from twisted.trial.unittest import SkipTest, SynchronousTestCase

from mongoosetw.storage import migrate
from mongoosetw.storage.database import Database
from mongoosetw.storage.engine import postgresql_engine
from mongoosetw.storage.schema import Schema, metadata
from mongoosetw.testing.postgres import VARIABLE

S = TypeVar("S")
T = TypeVar("T")


class StorageContract(SynchronousTestCase, Generic[S]):
    """A test of a store; over memory, if it is not mixed with one of the classes below.

    :cvar schemas: the tables that the store needs.
    :cvar memory: class of the store that needs no database (or a function that makes one, as
        ``staticmethod``); None: the SQL store is tested over an SQLite database in memory.
    :cvar sql: class of the store that keeps its data in a database, or likewise a function.
    :ivar store: the store, new and empty for each test method.
    """

    schemas: ClassVar[tuple[Schema, ...]] = ()
    memory: ClassVar["staticmethod[[], Any] | type[Any] | None"] = None
    sql: ClassVar["staticmethod[[Database], Any] | type[Any]"]
    store: S

    def setUp(self) -> None:
        """Makes the store."""
        self.store = self.open_store()

    def open_store(self) -> S:
        """The store over memory."""
        make = type(self).memory
        store: S = self.over(Database.in_memory()) if make is None else make()
        return store

    def over(self, db: Database) -> S:
        """The SQL store over a database, which is closed after the test."""
        self.addCleanup(db.close)
        for schema in self.schemas:
            self.successResultOf(db.ensure(schema))
        store: S = type(self).sql(db)
        return store

    def result(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """What a method of the store returns."""
        return self.successResultOf(Deferred.fromCoroutine(coroutine))

    def failure(self, coroutine: Coroutine[Any, Any, object], *expected: type[Exception]) -> None:
        """Checks that a method of the store raises one of the expected exceptions."""
        self.failureResultOf(Deferred.fromCoroutine(coroutine), *expected)


class OverSQLite(StorageContract[Any]):
    """Runs a test over an SQLite file."""

    def open_store(self) -> Any:
        """The store over a new file."""
        return self.over(Database.sqlite_file(self.mktemp()))


class OverPostgreSQL(StorageContract[Any]):
    """Runs a test over PostgreSQL."""

    def open_store(self) -> Any:
        """The store over new tables."""
        return self.over(empty_postgresql(*self.schemas))


def empty_postgresql(*schemas: Schema) -> Database:
    """The tests' PostgreSQL, without threads and without the tables of these schemas.

    :raises SkipTest: there is none.
    """
    url = os.environ.get(VARIABLE)
    if not url:
        raise SkipTest(
            f"{VARIABLE} names no PostgreSQL: run the tests by "
            "python -m mongoosetw.testing.postgres -- COMMAND"
        )
    engine = postgresql_engine(url)
    tables = [table for schema in schemas for table in schema.tables]
    with engine.begin() as connection:
        metadata.drop_all(connection, tables=[*tables, migrate.schema_version])
    return Database(engine, None)
