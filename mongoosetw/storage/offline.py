"""What ``mongoosectl db`` does to the database, without a running server."""

from collections.abc import Iterator

from sqlalchemy import create_mock_engine, select
from sqlalchemy.exc import OperationalError
from sqlalchemy.schema import CreateIndex, CreateTable

from mongoosetw.config.schema import DatabaseConnection
from mongoosetw.storage import migrate
from mongoosetw.storage.engine import engine_for
from mongoosetw.storage.schema import Schema
from mongoosetw.storage.work import DatabaseUnavailable

_URLS = {"sqlite": "sqlite://", "postgresql": "postgresql+psycopg2://"}


def upgrade(
    options: DatabaseConnection, data_dir: str, schemas: list[Schema]
) -> Iterator[tuple[str, int, int]]:
    """Create missing tables and bring old ones to this program's version.

    :returns: for each schema its owner, the version before (0: no tables) and now.
    :raises DatabaseUnavailable: the database cannot be reached.
    :raises mongoosetw.storage.migrate.SchemaRefused: tables are newer than this program.
    """
    engine = engine_for(options, data_dir)
    try:
        with engine.connect() as connection:
            for schema in schemas:
                with connection.begin():
                    migrate.schema_version.create(connection, checkfirst=True)
                    versions = migrate.schema_version.c
                    found = connection.execute(
                        select(versions.version).where(versions.module == schema.owner)
                    ).scalar()
                migrate.ensure(connection, schema, upgrade=True)
                yield schema.owner, found or 0, schema.version
    except OperationalError as error:
        raise DatabaseUnavailable(str(error.orig).strip()) from error
    finally:
        engine.dispose()


def sql(dialect: str, schemas: list[Schema]) -> str:
    """Return the statements that create the tables of ``schemas`` in an empty database.

    :param dialect: ``sqlite`` or ``postgresql``.
    """
    engine = create_mock_engine(_URLS[dialect], lambda *_: None)
    statements = []
    for table in [migrate.schema_version, *(t for schema in schemas for t in schema.tables)]:
        statements.append(str(CreateTable(table).compile(dialect=engine.dialect)).strip())
        for index in sorted(table.indexes, key=lambda index: str(index.name)):
            statements.append(str(CreateIndex(index).compile(dialect=engine.dialect)).strip())
    for schema in schemas:
        statements += schema.more.get(dialect, ())
    return "".join(f"{statement};\n\n" for statement in statements).rstrip("\n")
