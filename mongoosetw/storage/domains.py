"""Domains that were added while the server runs: MongooseIM's table ``domain_settings``."""

from dataclasses import dataclass
from enum import IntEnum
from typing import Final, Protocol

from sqlalchemy import (
    Column,
    Connection,
    SmallInteger,
    String,
    Table,
    bindparam,
    delete,
    insert,
    select,
    update,
)
from sqlalchemy.exc import IntegrityError

from mongoosetw.storage.database import Database
from mongoosetw.storage.schema import Schema, metadata


class Status(IntEnum):
    """What is to become of a domain; MongooseIM's numbers."""

    DISABLED = 0
    ENABLED = 1
    DELETING = 2


@dataclass(frozen=True, slots=True)
class DomainSetting:
    """One domain."""

    domain: str
    host_type: str
    status: Status = Status.ENABLED


class DomainTaken(Exception):
    """The domain that is to be added is there already."""


class DomainStore(Protocol):
    """Keeps the domains."""

    async def all(self) -> list[DomainSetting]:
        """Every domain, sorted."""

    async def get(self, domain: str) -> DomainSetting | None:
        """One domain; None if it was never added."""

    async def add(self, setting: DomainSetting) -> None:
        """Adds a domain.

        :raises DomainTaken: it is there already.
        """

    async def set_status(self, domain: str, status: Status) -> None:
        """Changes what is to become of a domain."""

    async def remove(self, domain: str) -> None:
        """Forgets a domain."""


class MemoryDomainStore:
    """Keeps the domains as long as the process lives."""

    def __init__(self) -> None:
        self._settings: dict[str, DomainSetting] = {}

    async def all(self) -> list[DomainSetting]:
        """See :class:`DomainStore`."""
        return [self._settings[domain] for domain in sorted(self._settings)]

    async def get(self, domain: str) -> DomainSetting | None:
        """See :class:`DomainStore`."""
        return self._settings.get(domain)

    async def add(self, setting: DomainSetting) -> None:
        """See :class:`DomainStore`."""
        if setting.domain in self._settings:
            raise DomainTaken(setting.domain)
        self._settings[setting.domain] = setting

    async def set_status(self, domain: str, status: Status) -> None:
        """See :class:`DomainStore`."""
        found = self._settings.get(domain)
        if found is not None:
            self._settings[domain] = DomainSetting(domain, found.host_type, status)

    async def remove(self, domain: str) -> None:
        """See :class:`DomainStore`."""
        self._settings.pop(domain, None)


domain_settings: Final = Table(
    "domain_settings",
    metadata,
    Column("domain", String(250), primary_key=True),
    Column("host_type", String(250), nullable=False),
    Column("status", SmallInteger, nullable=False, server_default="1"),
)
SCHEMA: Final = Schema("domains", 1, (domain_settings,))

_c = domain_settings.c
_ALL = select(_c.domain, _c.host_type, _c.status).order_by(_c.domain)
_THIS = _c.domain == bindparam("k_domain")
_GET = select(_c.domain, _c.host_type, _c.status).where(_THIS)
_ADD = insert(domain_settings)
_SET = update(domain_settings).where(_THIS)
_REMOVE = delete(domain_settings).where(_THIS)


class SQLDomainStore:
    """Keeps the domains in the server's database."""

    def __init__(self, db: Database) -> None:
        self._db = db

    async def all(self) -> list[DomainSetting]:
        """See :class:`DomainStore`."""

        def work(connection: Connection) -> list[DomainSetting]:
            rows = connection.execute(_ALL)
            return [DomainSetting(r.domain, r.host_type, Status(r.status)) for r in rows]

        # By Python's order of characters, which is not every database's.
        return sorted(await self._db.read("domains_all", work), key=lambda found: found.domain)

    async def get(self, domain: str) -> DomainSetting | None:
        """See :class:`DomainStore`."""

        def work(connection: Connection) -> DomainSetting | None:
            row = connection.execute(_GET, {"k_domain": domain}).first()
            return row and DomainSetting(row.domain, row.host_type, Status(row.status))

        return await self._db.read("domains_get", work)

    async def add(self, setting: DomainSetting) -> None:
        """See :class:`DomainStore`."""
        row = {
            "domain": setting.domain,
            "host_type": setting.host_type,
            "status": int(setting.status),
        }

        def work(connection: Connection) -> None:
            try:
                connection.execute(_ADD, row)
            except IntegrityError as error:
                raise DomainTaken(setting.domain) from error

        await self._db.run("domains_add", work)

    async def set_status(self, domain: str, status: Status) -> None:
        """See :class:`DomainStore`."""

        def work(connection: Connection) -> None:
            connection.execute(_SET, {"k_domain": domain, "status": int(status)})

        await self._db.run("domains_set_status", work)

    async def remove(self, domain: str) -> None:
        """See :class:`DomainStore`."""

        def work(connection: Connection) -> None:
            connection.execute(_REMOVE, {"k_domain": domain})

        await self._db.run("domains_remove", work)
