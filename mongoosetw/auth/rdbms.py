"""Accounts in table ``users`` of the database: methods ``internal`` and ``rdbms``."""

from typing import Final

from sqlalchemy import (
    BindParameter,
    Column,
    Connection,
    DateTime,
    String,
    Table,
    Text,
    bindparam,
    delete,
    func,
    insert,
    select,
    update,
)
from sqlalchemy.exc import IntegrityError

from mongoosetw.auth.backend import AccountExists
from mongoosetw.auth.cache import AccountCache
from mongoosetw.auth.keys import KeyPolicy
from mongoosetw.auth.stored import (
    KnownAccount,
    RunInThread,
    Secret,
    StoredBackend,
    run_in_thread_pool,
)
from mongoosetw.storage.database import Database
from mongoosetw.storage.lookup import Lookup, by_domain
from mongoosetw.storage.schema import Schema, metadata
from mongoosetw.xmpp.jid import JID

__all__ = ["SCHEMA", "RdbmsBackend", "users"]

users: Final = Table(
    "users",
    metadata,
    Column("username", String(250), primary_key=True),
    Column("server", String(250), primary_key=True),
    Column("password", Text, nullable=False),
    Column("pass_details", Text),
    Column("created_at", DateTime, nullable=False, server_default=func.now()),
)

SCHEMA: Final = Schema(owner="auth", version=1, tables=(users,))

_ONE = (users.c.server == bindparam("s"), users.c.username == bindparam("u"))
_LOAD: Final = select(users.c.username, users.c.password, users.c.pass_details).where(
    _ONE[0], users.c.username.in_(bindparam("us", expanding=True))
)
_CREATE: Final = insert(users)
_NEW: Final[dict[str, BindParameter[str]]] = {
    "password": bindparam("new_password"),
    "pass_details": bindparam("new_details"),
}
_REPLACE: Final = update(users).where(*_ONE).values(_NEW)
_EXCHANGE: Final = (
    update(users)
    .where(
        *_ONE,
        users.c.password == bindparam("old_password"),
        func.coalesce(users.c.pass_details, "") == bindparam("old_details"),
    )
    .values(_NEW)
)
_DELETE: Final = delete(users).where(*_ONE)
_DELETE_DOMAIN: Final = delete(users).where(users.c.server == bindparam("s"))
_LIST: Final = (
    select(users.c.username).where(users.c.server == bindparam("s")).order_by(users.c.username)
)
_COUNT: Final = select(func.count()).select_from(users)
_COUNT_DOMAIN: Final = _COUNT.where(users.c.server == bindparam("s"))


class RdbmsBackend(StoredBackend):
    """Keeps accounts in table ``users``, as MongooseIM does; raises what the database raises."""

    name = "rdbms"

    def __init__(
        self,
        db: Database,
        policy: KeyPolicy | None = None,
        cache: AccountCache[KnownAccount] | None = None,
        run_in_thread: RunInThread = run_in_thread_pool,
    ) -> None:
        super().__init__(policy, cache, run_in_thread)
        self._db = db
        self._rows = Lookup(db, "auth_load", _load)

    async def load(self, user: JID) -> Secret | None:
        """The account's row."""
        return await self._rows.get(user)

    async def create(self, user: JID, secret: Secret) -> None:
        """Add a row; raises AccountExists."""
        row = {"username": user.local, "server": user.domain, **secret._asdict()}

        def work(connection: Connection) -> None:
            try:
                connection.execute(_CREATE, row)
            except IntegrityError as error:
                raise AccountExists(str(user)) from error

        await self._db.run("auth_create", work)

    async def replace(self, user: JID, secret: Secret, expected: Secret | None = None) -> bool:
        """Change the row, if it is there and, when `expected` is given, still holds that."""
        values = _key(user) | {
            "new_password": secret.password,
            "new_details": secret.pass_details,
        }
        statement = _REPLACE
        if expected is not None:
            statement = _EXCHANGE
            values["old_password"] = expected.password
            values["old_details"] = expected.pass_details or ""
        return await self._db.run(
            "auth_replace", lambda connection: connection.execute(statement, values).rowcount > 0
        )

    async def delete(self, user: JID) -> bool:
        """Remove the row; False if there was none."""
        return await self._db.run(
            "auth_delete", lambda connection: connection.execute(_DELETE, _key(user)).rowcount > 0
        )

    async def remove_domain(self, domain: str) -> None:
        """Remove all rows of a domain."""
        await self._db.run(
            "auth_remove_domain", lambda c: c.execute(_DELETE_DOMAIN, {"s": domain}).rowcount
        )

    async def list(self, domain: str) -> list[str]:
        """The localparts of the domain's accounts, sorted."""

        def work(connection: Connection) -> list[str]:
            return sorted(connection.execute(_LIST, {"s": domain}).scalars())

        return await self._db.read("auth_list", work)

    async def count(self, domain: str | None = None) -> int:
        """The number of accounts, of one domain or of all."""

        def work(connection: Connection) -> int:
            if domain is None:
                return int(connection.execute(_COUNT).scalar_one())
            return int(connection.execute(_COUNT_DOMAIN, {"s": domain}).scalar_one())

        return await self._db.read("auth_count", work)


def _load(connection: Connection, users: list[JID]) -> dict[JID, Secret]:
    found = {}
    for domain, names in by_domain(users).items():
        rows = connection.execute(_LOAD, {"s": domain, "us": list(names)})
        found.update({names[name]: Secret(*secret) for name, *secret in rows})
    return found


def _key(user: JID) -> dict[str, str | None]:
    return {"s": user.domain, "u": user.local}
