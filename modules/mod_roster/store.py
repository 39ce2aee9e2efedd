"""Roster items and where they are kept: MongooseIM's tables, with one column more."""

from dataclasses import dataclass
from functools import cache

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
    select,
)

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
_REMOVE = delete(rosterusers).where(*_OF_USER[0], rosterusers.c.jid == _JID)
_REMOVE_GROUPS = delete(rostergroups).where(*_OF_USER[1], rostergroups.c.jid == _JID)
_REMOVE_ALL = delete(rosterusers).where(*_OF_USER[0])
_REMOVE_ALL_GROUPS = delete(rostergroups).where(*_OF_USER[1])
_REMOVE_DOMAIN = delete(rosterusers).where(_OF_USER[0][0])
_REMOVE_DOMAIN_GROUPS = delete(rostergroups).where(_OF_USER[1][0])
_PUT = upsert(rosterusers, "nick", "subscription", "ask", "askmessage", "approved", "listed")
_PUT_GROUP = upsert(rostergroups)
_LETTERS = {"both": "B", "to": "T", "from": "F", "none": "N"}
_ASKS = {(False, False): "N", (True, False): "O", (False, True): "I", (True, True): "B"}


@cache
def _state(subscription: str, ask: str, approved: bool) -> State:
    return State(subscription in "BT", subscription in "BF", ask in "OB", ask in "IB", approved)


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

    async def save(self, user: JID, item: Item) -> None:
        """Stores an item in place of what there was."""
        key = {**_user_key(user), "k_jid": str(item.jid)}
        owner = {"server": user.domain, "username": user.local, "jid": str(item.jid)}
        state = item.state
        row = {
            **owner,
            "nick": item.name,
            "subscription": _LETTERS[state.subscription],
            "ask": _ASKS[state.ask, state.asked],
            "askmessage": "",
            "approved": state.approved,
            "listed": item.listed,
        }
        groups = [{**owner, "grp": group} for group in item.groups]
        dialect = self._db.dialect

        def work(connection: Connection) -> None:
            connection.execute(_PUT[dialect], row)
            connection.execute(_REMOVE_GROUPS, key)
            if groups:
                connection.execute(_PUT_GROUP[dialect], groups)

        await self._db.run("roster_save", work)

    async def remove(self, user: JID, contact: JID) -> None:
        """Removes an item."""
        key = {**_user_key(user), "k_jid": str(contact)}

        def work(connection: Connection) -> None:
            connection.execute(_REMOVE, key)
            connection.execute(_REMOVE_GROUPS, key)

        await self._db.run("roster_remove", work)

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
