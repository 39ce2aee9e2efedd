"""Roster items and where they are kept: MongooseIM's tables, with one column more."""

from dataclasses import dataclass
from functools import cache
from typing import Any

from sqlalchemy import (
    Boolean,
    Column,
    Connection,
    DateTime,
    String,
    Table,
    Text,
    bindparam,
    delete,
    false,
    func,
    insert,
    select,
)
from sqlalchemy.exc import IntegrityError

from modules.mod_roster.rules import NONE, State
from mongoosetw.storage.database import Database
from mongoosetw.storage.lookup import Lookup, by_domain
from mongoosetw.storage.schema import Schema, metadata
from mongoosetw.storage.upsert import upsert
from mongoosetw.xmpp.jid import JID


@dataclass(frozen=True, slots=True)
class Item:
    """One contact of a user (RFC 6121 §2.1.2).

    :ivar listed: it is in the roster; otherwise only a subscription request is kept.
    """

    jid: JID
    name: str = ""
    groups: tuple[str, ...] = ()
    state: State = NONE
    listed: bool = True

    @property
    def subscription(self) -> str:
        """``none``, ``to``, ``from`` or ``both`` (RFC 6121 §2.1.2.5)."""
        return self.state.subscription


rosterusers = Table(
    "rosterusers",
    metadata,
    Column("server", String(250), primary_key=True),
    Column("username", String(250), primary_key=True),
    Column("jid", String(3071), primary_key=True),
    Column("nick", Text, nullable=False),
    Column("subscription", String(1), nullable=False),
    Column("ask", String(1), nullable=False),
    Column("askmessage", Text, nullable=False),
    Column("approved", Boolean, nullable=False, server_default=false()),
    Column("listed", Boolean, nullable=False),
    Column("created_at", DateTime, nullable=False, server_default=func.now()),
)
rostergroups = Table(
    "rostergroups",
    metadata,
    Column("server", String(250), primary_key=True),
    Column("username", String(250), primary_key=True),
    Column("jid", String(3071), primary_key=True),
    Column("grp", String(1023), primary_key=True),
)
SCHEMA = Schema("mod_roster", 1, (rosterusers, rostergroups))

_OF_USER = [
    [table.c.server == bindparam("k_server"), table.c.username == bindparam("k_username")]
    for table in (rosterusers, rostergroups)
]
_OF_USERS = [
    [
        table.c.server == bindparam("k_server"),
        table.c.username.in_(bindparam("k_usernames", expanding=True)),
    ]
    for table in (rosterusers, rostergroups)
]
_LOAD = select(
    rosterusers.c.username,
    rosterusers.c.jid,
    rosterusers.c.nick,
    rosterusers.c.subscription,
    rosterusers.c.ask,
    rosterusers.c.approved,
    rosterusers.c.listed,
).where(*_OF_USERS[0])
_LOAD_GROUPS = select(rostergroups.c.username, rostergroups.c.jid, rostergroups.c.grp).where(
    *_OF_USERS[1]
)
_JID = bindparam("k_jid", type_=String)
_CURRENT = (
    select(
        rosterusers.c.nick,
        rosterusers.c.subscription,
        rosterusers.c.ask,
        rosterusers.c.approved,
        rosterusers.c.listed,
    )
    .where(*_OF_USER[0], rosterusers.c.jid == _JID)
    .with_for_update()
)
_CURRENT_GROUPS = select(rostergroups.c.grp).where(*_OF_USER[1], rostergroups.c.jid == _JID)
_REMOVE = delete(rosterusers).where(*_OF_USER[0], rosterusers.c.jid == _JID)
_REMOVE_GROUPS = delete(rostergroups).where(*_OF_USER[1], rostergroups.c.jid == _JID)
_REMOVE_ALL = delete(rosterusers).where(*_OF_USER[0])
_REMOVE_ALL_GROUPS = delete(rostergroups).where(*_OF_USER[1])
_REMOVE_DOMAIN = delete(rosterusers).where(_OF_USER[0][0])
_REMOVE_DOMAIN_GROUPS = delete(rostergroups).where(_OF_USER[1][0])
_ADD = insert(rosterusers)
_PUT = upsert(rosterusers, "nick", "subscription", "ask", "askmessage", "approved", "listed")
_PUT_GROUP = upsert(rostergroups)
_LETTERS = {"both": "B", "to": "T", "from": "F", "none": "N"}
_ASKS = {(False, False): "N", (True, False): "O", (False, True): "I", (True, True): "B"}


@cache
def _state(subscription: str, ask: str, approved: bool) -> State:
    return State(subscription in "BT", subscription in "BF", ask in "OB", ask in "IB", approved)


def _columns(item: Item) -> tuple[str, str, str, bool, bool]:
    state = item.state
    subscription, ask = _LETTERS[state.subscription], _ASKS[state.ask, state.asked]
    return item.name, subscription, ask, state.approved, item.listed


def _is_stored(connection: Connection, key: dict[str, Any], item: Item | None) -> bool:
    """Whether an item is as it is thought to be; if so it stays so until the transaction ends."""
    row = connection.execute(_CURRENT, key).one_or_none()
    if row is None or item is None:
        return row is None and item is None
    groups = connection.execute(_CURRENT_GROUPS, key).scalars()
    return tuple(row) == _columns(item) and tuple(sorted(groups)) == item.groups


Rows = tuple[list[tuple[str, str, str, str, bool, bool]], dict[str, list[str]]]
"""A roster as it is stored: its items, and the groups by the item's JID."""


def _load(connection: Connection, users: list[JID]) -> dict[JID, Rows]:
    found: dict[JID, Rows] = {}
    for domain, names in by_domain(users).items():
        key = {"k_server": domain, "k_usernames": list(names)}
        for name, *item in connection.execute(_LOAD, key):
            found.setdefault(names[name], ([], {}))[0].append(tuple(item))
    if found:  # only items have groups
        for domain, names in by_domain(found).items():
            key = {"k_server": domain, "k_usernames": list(names)}
            for name, jid, group in connection.execute(_LOAD_GROUPS, key):
                found[names[name]][1].setdefault(jid, []).append(group)
    return found


class RosterStore:
    """The rosters in the database."""

    def __init__(self, db: Database) -> None:
        self._db = db
        self._rosters = Lookup(db, "roster_load", _load)

    async def load(self, user: JID) -> dict[JID, Item]:
        """All items of a user, with requests that wait for an answer."""
        found = await self._rosters.get(user)
        if found is None:
            return {}
        rows, groups = found
        items = {}
        for jid, nick, subscription, ask, approved, listed in rows:
            contact = JID.parse(jid)
            state = _state(subscription, ask, bool(approved))
            of_item = tuple(sorted(groups.get(jid, ())))
            items[contact] = Item(contact, nick, of_item, state, bool(listed))
        return items

    async def save(self, user: JID, item: Item, before: Item | None) -> bool:
        """Stores an item in place of what there was.

        :param before: what there was, as the caller knows it.
        :returns: False if another node has changed that meanwhile; nothing is stored then.
        """
        key = {**_user_key(user), "k_jid": str(item.jid)}
        owner = {"server": user.domain, "username": user.local, "jid": str(item.jid)}
        columns = ("nick", "subscription", "ask", "approved", "listed")
        row = {**owner, "askmessage": "", **dict(zip(columns, _columns(item), strict=True))}
        groups = [{**owner, "grp": group} for group in item.groups]
        dialect = self._db.dialect
        # Where nothing was, a rival's row has to be in the way instead of being replaced.
        put = _ADD if before is None else _PUT[dialect]

        def work(connection: Connection) -> bool:
            if not _is_stored(connection, key, before):
                return False
            connection.execute(put, row)
            connection.execute(_REMOVE_GROUPS, key)
            if groups:
                connection.execute(_PUT_GROUP[dialect], groups)
            return True

        try:
            return await self._db.run("roster_save", work)
        except IntegrityError:
            return False  # both nodes have found no item, and the other one was quicker

    async def remove(self, user: JID, item: Item) -> bool:
        """Removes an item; False if another node has changed it meanwhile."""
        key = {**_user_key(user), "k_jid": str(item.jid)}

        def work(connection: Connection) -> bool:
            if not _is_stored(connection, key, item):
                return False
            connection.execute(_REMOVE, key)
            connection.execute(_REMOVE_GROUPS, key)
            return True

        return await self._db.run("roster_remove", work)

    async def remove_user(self, user: JID) -> None:
        """Removes a user's whole roster."""
        key = _user_key(user)

        def work(connection: Connection) -> None:
            connection.execute(_REMOVE_ALL, key)
            connection.execute(_REMOVE_ALL_GROUPS, key)

        await self._db.run("roster_remove_user", work)

    async def remove_domain(self, domain: str) -> None:
        """Removes all rosters of a domain."""
        key = {"k_server": domain}

        def work(connection: Connection) -> None:
            connection.execute(_REMOVE_DOMAIN, key)
            connection.execute(_REMOVE_DOMAIN_GROUPS, key)

        await self._db.run("roster_remove_domain", work)


def _user_key(user: JID) -> dict[str, str | None]:
    return {"k_server": user.domain, "k_username": user.local}
