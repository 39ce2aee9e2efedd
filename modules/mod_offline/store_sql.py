"""Offline messages in the database: MongooseIM's table ``offline_message``."""

import sqlalchemy as sa
from sqlalchemy import Column, Connection, Index, Table

from modules.mod_offline.store import Kept
from mongoosetw.storage.database import Database
from mongoosetw.storage.schema import Schema, metadata
from mongoosetw.xmpp.jid import JID

offline_message = Table(
    "offline_message",
    metadata,
    Column("id", sa.Integer, primary_key=True, autoincrement=True),
    Column("timestamp", sa.BigInteger, nullable=False),
    Column("expire", sa.BigInteger),
    Column("server", sa.String(250), nullable=False),
    Column("username", sa.String(250), nullable=False),
    Column("from_jid", sa.String(250), nullable=False),
    Column("packet", sa.Text, nullable=False),
    Column("permanent_fields", sa.LargeBinary),
    Index("i_offline_message", "server", "username", "id"),
)
SCHEMA = Schema("mod_offline", 1, (offline_message,))

_t = offline_message.c
_mine = (_t.server == sa.bindparam("s")) & (_t.username == sa.bindparam("u"))
_INSERT = sa.insert(offline_message)
_COUNT = sa.select(sa.func.count()).where(_mine)
_SELECT = sa.select(_t.id, _t.timestamp, _t.expire, _t.from_jid, _t.packet).where(_mine)
_SELECT = _SELECT.order_by(_t.id)
_DELETE = sa.delete(offline_message).where(_mine)
_DELETE_READ = _DELETE.where(_t.id <= sa.bindparam("last"))
_DELETE_EXPIRED = sa.delete(offline_message).where(_t.expire <= sa.bindparam("now"))


def _key(user: JID) -> dict[str, str]:
    return {"s": user.domain, "u": user.local or ""}


class SQLOfflineStore:
    """Keeps messages in the server's database."""

    def __init__(self, db: Database) -> None:
        self._db = db

    async def write(self, user: JID, message: Kept, limit: float) -> bool:
        """See :class:`modules.mod_offline.store.OfflineStore`."""

        def work(connection: Connection) -> bool:
            if limit != float("inf"):
                if connection.execute(_COUNT, _key(user)).scalar_one() >= limit:
                    return False
            row = {
                "timestamp": message.at,
                "expire": message.expire,
                "server": user.domain,
                "username": user.local,
                "from_jid": message.sender,
                "packet": message.packet,
            }
            connection.execute(_INSERT, row)
            return True

        return await self._db.run("offline_write", work)

    async def read(self, user: JID) -> list[Kept]:
        """See :class:`modules.mod_offline.store.OfflineStore`."""

        def work(connection: Connection) -> list[Kept]:
            rows = connection.execute(_SELECT, _key(user)).all()
            return [Kept(r.timestamp, r.expire, r.from_jid, r.packet, r.id) for r in rows]

        return await self._db.read("offline_read", work)

    async def remove_through(self, user: JID, number: int) -> None:
        """See :class:`modules.mod_offline.store.OfflineStore`."""

        def work(connection: Connection) -> None:
            connection.execute(_DELETE_READ, {**_key(user), "last": number})

        await self._db.run("offline_remove_read", work)

    async def remove(self, user: JID) -> None:
        """See :class:`modules.mod_offline.store.OfflineStore`."""

        def work(connection: Connection) -> None:
            connection.execute(_DELETE, _key(user))

        await self._db.run("offline_remove", work)

    async def remove_expired(self, now: int) -> int:
        """See :class:`modules.mod_offline.store.OfflineStore`."""

        def work(connection: Connection) -> int:
            return connection.execute(_DELETE_EXPIRED, {"now": now}).rowcount

        return await self._db.run("offline_expire", work)
