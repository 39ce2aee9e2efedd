"""Rows that are stored in place of what there was, by one statement that no rival disturbs."""

from collections.abc import Mapping
from typing import Any

from sqlalchemy import Executable, Table
from sqlalchemy.dialects import postgresql, sqlite


def upsert(table: Table, *changed: str) -> Mapping[str, Executable]:
    """The INSERT of a row that may be there already, for each dialect.

    :param changed: the columns that take the new row's value if its key is there; none: the
        row stays as it is.
    """
    return {"sqlite": _sqlite(table, changed), "postgresql": _postgresql(table, changed)}


def _sqlite(table: Table, changed: tuple[str, ...]) -> Executable:
    insert = sqlite.insert(table)
    if not changed:
        return insert.on_conflict_do_nothing()
    return insert.on_conflict_do_update(table.primary_key.columns, set_=_new(insert, changed))


def _postgresql(table: Table, changed: tuple[str, ...]) -> Executable:
    insert = postgresql.insert(table)
    if not changed:
        return insert.on_conflict_do_nothing()
    return insert.on_conflict_do_update(
        index_elements=table.primary_key.columns, set_=_new(insert, changed)
    )


def _new(insert: sqlite.Insert | postgresql.Insert, changed: tuple[str, ...]) -> dict[str, Any]:
    return {name: insert.excluded[name] for name in changed}
