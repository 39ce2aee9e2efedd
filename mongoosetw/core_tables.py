"""The tables that the core itself owns; those of modules are declared on their classes."""

from typing import Final

from mongoosetw.auth import rdbms
from mongoosetw.messagelog import tables
from mongoosetw.storage import discovery, domains, keyvalue
from mongoosetw.storage.schema import Schema

SCHEMAS: Final[tuple[Schema, ...]] = (
    rdbms.SCHEMA,
    keyvalue.SCHEMA,
    domains.SCHEMA,
    tables.SCHEMA,
    discovery.SCHEMA,
)
