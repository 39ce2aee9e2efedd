"""Privacy lists in the database: MongooseIM's tables."""

from typing import Any

import sqlalchemy as sa
from sqlalchemy import Column, Connection, ForeignKey, Table, UniqueConstraint
from sqlalchemy.dialects import postgresql, sqlite

from modules.mod_privacy.rules import IQ, MESSAGE, PRESENCE_IN, PRESENCE_OUT, Item
from modules.mod_privacy.store import Edit, Items, Names
from mongoosetw.storage.database import Database
from mongoosetw.storage.lookup import Lookup, by_domain
from mongoosetw.storage.schema import Schema, metadata
from mongoosetw.xmpp.jid import JID

_ID = sa.BigInteger().with_variant(sa.Integer, "sqlite")  # only INTEGER counts by itself there

privacy_default_list = Table(
    "privacy_default_list",
    metadata,
    Column("server", sa.String(250), primary_key=True),
    Column("username", sa.String(250), primary_key=True),
    Column("name", sa.Text, nullable=False),
)
privacy_list = Table(
    "privacy_list",
    metadata,
    Column("id", _ID, primary_key=True, autoincrement=True),
    Column("server", sa.String(250), nullable=False),
    Column("username", sa.String(250), nullable=False),
    Column("name", sa.Text, nullable=False),
    Column("created_at", sa.DateTime, nullable=False, server_default=sa.func.now()),
    UniqueConstraint("server", "username", "name"),
)
privacy_list_data = Table(
    "privacy_list_data",
    metadata,
    Column("id", _ID, ForeignKey(privacy_list.c.id, ondelete="CASCADE"), primary_key=True),
    Column("ord", sa.BigInteger, primary_key=True, autoincrement=False),
    Column("t", sa.String(1), nullable=False),
    Column("value", sa.Text, nullable=False),
    Column("action", sa.String(1), nullable=False),
    Column("match_all", sa.Boolean, nullable=False),
    Column("match_iq", sa.Boolean, nullable=False),
    Column("match_message", sa.Boolean, nullable=False),
    Column("match_presence_in", sa.Boolean, nullable=False),
    Column("match_presence_out", sa.Boolean, nullable=False),
)
SCHEMA = Schema("mod_privacy", 1, (privacy_default_list, privacy_list, privacy_list_data))

_TYPES = {"": "n", "jid": "j", "group": "g", "subscription": "s"}
_NAMES = {letter: name for name, letter in _TYPES.items()}
_COLUMNS = {
    MESSAGE: "match_message",
    IQ: "match_iq",
    PRESENCE_IN: "match_presence_in",
    PRESENCE_OUT: "match_presence_out",
}


def _of_user(table: Table) -> Any:
    return (table.c.server == sa.bindparam("k_server")) & (
        table.c.username == sa.bindparam("k_username")
    )


_default, _lists = privacy_default_list.c, privacy_list.c
_NAME = sa.bindparam("k_name", type_=sa.Text)
_OF_USER, _DEFAULT_OF_USER = _of_user(privacy_list), _of_user(privacy_default_list)
_SELECT_DEFAULT = sa.select(_default.name).where(_DEFAULT_OF_USER)
_LOCK_DEFAULT = _SELECT_DEFAULT.with_for_update()
_SELECT_DEFAULTS = (
    sa.select(_default.username, _default.name, privacy_list_data)
    .join_from(
        privacy_default_list,
        privacy_list,
        (_lists.server == _default.server)
        & (_lists.username == _default.username)
        & (_lists.name == _default.name),
    )
    .outerjoin(privacy_list_data, privacy_list_data.c.id == _lists.id)
    .where(
        _default.server == sa.bindparam("k_server"),
        _default.username.in_(sa.bindparam("k_usernames", expanding=True)),
    )
    .order_by(privacy_list_data.c.ord)
)
_SELECT_NAMES = sa.select(_lists.name).where(_OF_USER).order_by(_lists.name)
_COUNT = sa.select(sa.func.count()).select_from(privacy_list).where(_OF_USER)
_SELECT_ID = sa.select(_lists.id).where(_OF_USER, _lists.name == _NAME)
_LOCK_ID = _SELECT_ID.with_for_update()
_SELECT_ITEMS = (
    sa.select(privacy_list_data)
    .where(privacy_list_data.c.id == sa.bindparam("k_id"))
    .order_by(privacy_list_data.c.ord)
)
_INSERT_ITEM = sa.insert(privacy_list_data)
_DELETE_ITEMS = sa.delete(privacy_list_data).where(privacy_list_data.c.id == sa.bindparam("k_id"))
_DELETE_LIST = sa.delete(privacy_list).where(_lists.id == sa.bindparam("k_id"))
_DELETE_LISTS = sa.delete(privacy_list).where(_OF_USER)
_DELETE_DEFAULT = sa.delete(privacy_default_list).where(_DEFAULT_OF_USER)
_DELETE_DEFAULT_NAMED = _DELETE_DEFAULT.where(_default.name == _NAME)
_DELETE_DOMAIN = [
    sa.delete(table).where(table.c.server == sa.bindparam("k_server"))
    for table in (privacy_default_list, privacy_list)
]
_INSERT_LIST = {
    "sqlite": sqlite.insert(privacy_list).on_conflict_do_nothing(),
    "postgresql": postgresql.insert(privacy_list).on_conflict_do_nothing(),
}
_KEY = privacy_default_list.primary_key.columns
_SQLITE = sqlite.insert(privacy_default_list)
_POSTGRESQL = postgresql.insert(privacy_default_list)
_SET_DEFAULT = {
    "sqlite": _SQLITE.on_conflict_do_update(_KEY, set_={"name": _SQLITE.excluded.name}),
    "postgresql": _POSTGRESQL.on_conflict_do_update(
        index_elements=_KEY, set_={"name": _POSTGRESQL.excluded.name}
    ),
}


def _row(identifier: int, item: Item) -> dict[str, Any]:
    row = {
        "id": identifier,
        "ord": item.order,
        "t": _TYPES[item.type],
        "value": item.value,
        "action": "a" if item.allow else "d",
        "match_all": not item.kinds,
    }
    return row | {column: kind in item.kinds for kind, column in _COLUMNS.items()}


def _item(row: Any) -> Item:
    kinds = () if row["match_all"] else (k for k, column in _COLUMNS.items() if row[column])
    allow = row["action"] == "a"
    return Item(row["ord"], allow, _NAMES[row["t"]], row["value"], frozenset(kinds))


class SQLPrivacyStore:
    """Keeps lists in the server's database."""

    def __init__(self, db: Database) -> None:
        self._db = db
        self._defaults = Lookup(db, "privacy_get_default_list", _read_defaults)

    async def get_list_names(self, user: JID) -> Names:
        """See :class:`modules.mod_privacy.store.PrivacyStore`."""

        def work(connection: Connection) -> Names:
            default = connection.execute(_SELECT_DEFAULT, _key(user)).scalar()
            return Names(default, tuple(connection.execute(_SELECT_NAMES, _key(user)).scalars()))

        return await self._db.read("privacy_get_list_names", work)

    async def get_privacy_list(self, user: JID, name: str) -> Items | None:
        """See :class:`modules.mod_privacy.store.PrivacyStore`."""

        def work(connection: Connection) -> Items | None:
            identifier = connection.execute(_SELECT_ID, _key(user, name)).scalar()
            return None if identifier is None else _read(connection, identifier)

        return await self._db.read("privacy_get_privacy_list", work)

    async def get_default_list(self, user: JID) -> tuple[str, Items] | None:
        """See :class:`modules.mod_privacy.store.PrivacyStore`."""
        return await self._defaults.get(user)

    async def set_default_list(self, user: JID, name: str) -> bool:
        """See :class:`modules.mod_privacy.store.PrivacyStore`."""

        def work(connection: Connection) -> bool:
            # locked, so that it cannot be removed meanwhile
            if connection.execute(_LOCK_ID, _key(user, name)).scalar() is None:
                return False
            self._make_default(connection, user, name)
            return True

        return await self._db.run("privacy_set_default_list", work)

    async def forget_default_list(self, user: JID) -> None:
        """See :class:`modules.mod_privacy.store.PrivacyStore`."""

        def work(connection: Connection) -> None:
            connection.execute(_DELETE_DEFAULT, _key(user))

        await self._db.run("privacy_forget_default_list", work)

    async def replace_privacy_list(self, user: JID, name: str, items: Items, limit: int) -> bool:
        """See :class:`modules.mod_privacy.store.PrivacyStore`."""

        def work(connection: Connection) -> bool:
            if connection.execute(_LOCK_ID, _key(user, name)).scalar() is None:
                if connection.execute(_COUNT, _key(user)).scalar_one() >= limit:
                    return False
            _write(connection, self._locked(connection, user, name), items)
            return True

        return await self._db.run("privacy_replace_privacy_list", work)

    async def remove_privacy_list(self, user: JID, name: str) -> bool:
        """See :class:`modules.mod_privacy.store.PrivacyStore`."""

        def work(connection: Connection) -> bool:
            identifier = connection.execute(_LOCK_ID, _key(user, name)).scalar()
            if identifier is None:
                return False
            connection.execute(_DELETE_DEFAULT_NAMED, _key(user, name))
            connection.execute(_DELETE_LIST, {"k_id": identifier})
            return True

        return await self._db.run("privacy_remove_privacy_list", work)

    async def edit_default_list(self, user: JID, edit: Edit, create: str | None) -> None:
        """See :class:`modules.mod_privacy.store.PrivacyStore`."""

        def work(connection: Connection) -> None:
            default = connection.execute(_LOCK_DEFAULT, _key(user)).scalar()
            name = default or create
            if name is None:
                return
            identifier = self._locked(connection, user, name)
            _write(connection, identifier, edit(_read(connection, identifier)))
            if default is None:
                self._make_default(connection, user, name)

        await self._db.run("privacy_edit_default_list", work)

    async def remove_user(self, user: JID) -> None:
        """See :class:`modules.mod_privacy.store.PrivacyStore`."""

        def work(connection: Connection) -> None:
            connection.execute(_DELETE_DEFAULT, _key(user))
            connection.execute(_DELETE_LISTS, _key(user))

        await self._db.run("privacy_remove_user", work)

    async def remove_domain(self, domain: str) -> None:
        """See :class:`modules.mod_privacy.store.PrivacyStore`."""

        def work(connection: Connection) -> None:
            for statement in _DELETE_DOMAIN:
                connection.execute(statement, {"k_server": domain})

        await self._db.run("privacy_remove_domain", work)

    def _locked(self, connection: Connection, user: JID, name: str) -> int:
        """The id of a list, made if need be, which other transactions wait for from now on."""
        row = {"server": user.domain, "username": user.local, "name": name}
        connection.execute(_INSERT_LIST[self._db.dialect], row)
        identifier: int = connection.execute(_LOCK_ID, _key(user, name)).scalar_one()
        return identifier

    def _make_default(self, connection: Connection, user: JID, name: str) -> None:
        row = {"server": user.domain, "username": user.local, "name": name}
        connection.execute(_SET_DEFAULT[self._db.dialect], row)


def _read(connection: Connection, identifier: int) -> Items:
    rows = connection.execute(_SELECT_ITEMS, {"k_id": identifier}).mappings()
    return tuple(map(_item, rows))


def _read_defaults(connection: Connection, users: list[JID]) -> dict[JID, tuple[str, Items]]:
    found: dict[JID, tuple[str, list[Item]]] = {}
    for domain, names in by_domain(users).items():
        key = {"k_server": domain, "k_usernames": list(names)}
        for row in connection.execute(_SELECT_DEFAULTS, key).mappings():
            items = found.setdefault(names[row["username"]], (row["name"], []))[1]
            if row["ord"] is not None:  # the list has items
                items.append(_item(row))
    return {user: (name, tuple(items)) for user, (name, items) in found.items()}


def _write(connection: Connection, identifier: int, items: Items) -> None:
    connection.execute(_DELETE_ITEMS, {"k_id": identifier})
    if items:
        connection.execute(_INSERT_ITEM, [_row(identifier, item) for item in items])


def _key(user: JID, name: str = "") -> dict[str, str | None]:
    return {"k_server": user.domain, "k_username": user.local, "k_name": name}
