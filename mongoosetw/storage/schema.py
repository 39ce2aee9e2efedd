"""Tables as modules declare them."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from sqlalchemy import MetaData, Table

metadata = MetaData()
"""All tables of the core and of modules."""


@dataclass(frozen=True)
class Step:
    """SQL statements that bring tables one version up, by dialect."""

    pg: tuple[str, ...] = ()
    sqlite: tuple[str, ...] = ()


@dataclass(frozen=True)
class Schema:
    """The tables of one owner, with the version of their structure.

    :ivar steps: for each version from 2 on, how to get there from the one before.
    :ivar more: statements that make what is no plain table, by dialect.
    """

    owner: str
    version: int
    tables: tuple[Table, ...]
    steps: Mapping[int, Step] = field(default_factory=dict)
    more: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
