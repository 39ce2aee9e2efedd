"""Generic stores for modules that need no tables of their own: JSON values by owner."""

import json
from typing import TYPE_CHECKING, Any

from sqlalchemy import Column, Connection, String, Table, Text, bindparam, delete, select

from mongoosetw.storage.schema import Schema, metadata
from mongoosetw.storage.upsert import upsert

if TYPE_CHECKING:  # types only
    from mongoosetw.storage.database import Database

module_map = Table(
    "module_map",
    metadata,
    Column("module", String(250), primary_key=True),
    Column("store", String(250), primary_key=True),
    Column("host", String(250), primary_key=True),
    Column("owner", String(3071), primary_key=True),
    Column("name", String(250), primary_key=True),
    Column("value", Text, nullable=False),
)
SCHEMA = Schema("storage", 1, (module_map,))

_OWNER = [
    getattr(module_map.c, column) == bindparam(f"k_{column}")
    for column in ("module", "store", "host", "owner")
]
_NAME = module_map.c.name == bindparam("k_name")
_ALL = select(module_map.c.name, module_map.c.value).where(*_OWNER).order_by(module_map.c.name)
_GET = select(module_map.c.value).where(*_OWNER, _NAME)
_SET = upsert(module_map, "value")
_DELETE = delete(module_map).where(*_OWNER, _NAME)
_DELETE_HOST = delete(module_map).where(module_map.c.host == bindparam("k_host"))


class Map:
    """A mapping of names to JSON values for each owner (any string, such as a bare JID)."""

    def __init__(self, db: "Database", module: str, store: str, host: str) -> None:
        self._db = db
        self._place = {"module": module, "store": store, "host": host}

    def _key(self, owner: str, name: str | None = None) -> dict[str, str]:
        key = {f"k_{column}": value for column, value in self._place.items()}
        key["k_owner"] = owner
        if name is not None:
            key["k_name"] = name
        return key

    async def get(self, owner: str, name: str) -> Any:
        """The value, ``None`` if there is none."""
        key = self._key(owner, name)

        def work(connection: Connection) -> str | None:
            found: str | None = connection.execute(_GET, key).scalar()
            return found

        text = await self._db.read("map_get", work)
        return None if text is None else json.loads(text)

    async def set(self, owner: str, name: str, value: Any) -> None:
        """Stores a value, anything that JSON can say."""
        text = json.dumps(value)
        row = {**self._place, "owner": owner, "name": name, "value": text}
        statement = _SET[self._db.dialect]

        def work(connection: Connection) -> None:
            connection.execute(statement, row)

        await self._db.run("map_set", work)

    async def delete(self, owner: str, name: str) -> bool:
        """Removes a value; whether there was one."""
        key = self._key(owner, name)
        return await self._db.run(
            "map_delete", lambda connection: connection.execute(_DELETE, key).rowcount > 0
        )

    async def items(self, owner: str) -> dict[str, Any]:
        """All values of an owner."""
        key = self._key(owner)

        def work(connection: Connection) -> dict[str, Any]:
            return {name: json.loads(value) for name, value in connection.execute(_ALL, key)}

        return await self._db.read("map_items", work)


async def forget_host(db: "Database", host: str) -> None:
    """Removes all that any module has stored of a domain."""
    await db.run("map_forget_host", lambda c: c.execute(_DELETE_HOST, {"k_host": host}).rowcount)


class MemoryMap(Map):
    """A map store that lives as long as the process, for tests and for what may be lost."""

    def __init__(self) -> None:
        self._texts: dict[str, dict[str, str]] = {}

    async def get(self, owner: str, name: str) -> Any:
        """See :class:`Map`."""
        text = self._texts.get(owner, {}).get(name)
        return None if text is None else json.loads(text)

    async def set(self, owner: str, name: str, value: Any) -> None:
        """See :class:`Map`."""
        self._texts.setdefault(owner, {})[name] = json.dumps(value)

    async def delete(self, owner: str, name: str) -> bool:
        """See :class:`Map`."""
        names = self._texts.get(owner, {})
        found = names.pop(name, None) is not None
        if not names:
            self._texts.pop(owner, None)
        return found

    async def items(self, owner: str) -> dict[str, Any]:
        """See :class:`Map`."""
        names = self._texts.get(owner, {})
        return {name: json.loads(names[name]) for name in sorted(names)}


class KeyValue:
    """One JSON value for each owner."""

    def __init__(self, values: Map) -> None:
        self._values = values

    async def get(self, owner: str) -> Any:
        """The value, ``None`` if there is none."""
        return await self._values.get(owner, "")

    async def set(self, owner: str, value: Any) -> None:
        """Stores a value, anything that JSON can say."""
        await self._values.set(owner, "", value)

    async def delete(self, owner: str) -> bool:
        """Removes the value; whether there was one."""
        return await self._values.delete(owner, "")


def open_map(db: "Database", module: str, store: str, host: str) -> Map:
    """A map store."""
    return Map(db, module, store, host)


def open_keyvalue(db: "Database", module: str, store: str, host: str) -> KeyValue:
    """A key-value store."""
    return KeyValue(Map(db, module, store, host))
