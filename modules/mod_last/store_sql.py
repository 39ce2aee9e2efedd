"""Last activity in the database: MongooseIM's table ``last``."""

import sqlalchemy as sa
from sqlalchemy import Column, Connection, Index, Table

from mongoosetw.storage.database import Database
from mongoosetw.storage.schema import Schema, metadata
from mongoosetw.storage.upsert import upsert
from mongoosetw.xmpp.jid import JID

last = Table(
    "last",
    metadata,
    Column("server", sa.String(250), primary_key=True),
    Column("username", sa.String(250), primary_key=True),
    Column("seconds", sa.Integer, nullable=False),
    Column("state", sa.Text, nullable=False),
    Index("i_last_server_seconds", "server", "seconds"),
)
SCHEMA = Schema("mod_last", 1, (last,))

_mine = (last.c.server == sa.bindparam("s")) & (last.c.username == sa.bindparam("u"))
_SELECT = sa.select(last.c.seconds, last.c.state).where(_mine)
_PUT = upsert(last, "seconds", "state")
_DELETE = sa.delete(last).where(_mine)
_DELETE_DOMAIN = sa.delete(last).where(last.c.server == sa.bindparam("s"))


def _key(user: JID) -> dict[str, str]:
    return {"s": user.domain, "u": user.local or ""}


class SQLLastStore:
    """Keeps activity in the server's database."""

    def __init__(self, db: Database) -> None:
        self._db = db

    async def get(self, user: JID) -> tuple[int, str] | None:
        """See :class:`modules.mod_last.store.LastStore`."""

        def work(connection: Connection) -> tuple[int, str] | None:
            row = connection.execute(_SELECT, _key(user)).first()
            return None if row is None else (row.seconds, row.state)

        return await self._db.read("last_get", work)

    async def put(self, user: JID, seconds: int, state: str) -> None:
        """See :class:`modules.mod_last.store.LastStore`."""
        row = {"server": user.domain, "username": user.local, "seconds": seconds, "state": state}
        statement = _PUT[self._db.dialect]

        def work(connection: Connection) -> None:
            connection.execute(statement, row)

        await self._db.run("last_put", work)

    async def remove(self, user: JID) -> None:
        """See :class:`modules.mod_last.store.LastStore`."""

        def work(connection: Connection) -> None:
            connection.execute(_DELETE, _key(user))

        await self._db.run("last_remove", work)

    async def remove_domain(self, domain: str) -> None:
        """See :class:`modules.mod_last.store.LastStore`."""

        def work(connection: Connection) -> None:
            connection.execute(_DELETE_DOMAIN, {"s": domain})

        await self._db.run("last_remove_domain", work)
