"""What is read of the message log: its key, its last id, what is pending."""

import secrets
from dataclasses import dataclass
from typing import Any

from sqlalchemy import BindParameter, Connection, bindparam, func, select, update
from sqlalchemy.dialects import postgresql, sqlite

from mongoosetw.messagelog.tables import messages, pending, secret

_OWNER: BindParameter[int] = bindparam("owner")
_SECRET = select(secret.c.value).where(secret.c.one == 1)
_MAKE_SECRET: dict[str, Any] = {
    "sqlite": sqlite.insert(secret).on_conflict_do_nothing(),
    "postgresql": postgresql.insert(secret).on_conflict_do_nothing(),
}
_LAST = select(func.max(messages.c.id))
_PENDING = (
    select(
        pending.c.id,
        pending.c.holder,
        pending.c.expire,
        messages.c.flags,
        messages.c.stanza,
    )
    .join_from(pending, messages, pending.c.id == messages.c.id)
    .where(pending.c.owner == _OWNER, pending.c.id > bindparam("after"))
    .order_by(pending.c.id)
    .limit(bindparam("most"))
)
_WAITING = (
    select(pending.c.owner)
    .where(pending.c.owner.in_(bindparam("owners", expanding=True)))
    .distinct()
)
_SOME = select(pending.c.id).where(pending.c.owner == _OWNER).limit(bindparam("most")).subquery()
_COUNT = select(func.count()).select_from(_SOME)
_OWNERS = select(pending.c.owner).distinct()
_OWNERS_OF = _OWNERS.where(pending.c.id.op("&")(255) == bindparam("node"))
_EXPIRED = select(pending.c.owner, pending.c.id, messages.c.flags).join_from(
    pending, messages, pending.c.id == messages.c.id
)
_EXPIRED = _EXPIRED.where(pending.c.expire <= bindparam("now")).limit(1000)
_OF_OWNER = (
    select(pending.c.id, messages.c.flags)
    .join_from(pending, messages, pending.c.id == messages.c.id)
    .where(pending.c.owner == _OWNER)
)

_HOLD = update(pending).where(
    pending.c.owner == bindparam("k_owner"),
    pending.c.id.in_(bindparam("k_ids", expanding=True)),
)


@dataclass(frozen=True, slots=True)
class Pending:
    """A message that a recipient has not got yet.

    :ivar holder: sid of the session that it was sent to, None for none.
    :ivar expire: when it is no longer wanted, in microseconds since 1970, or None.
    :ivar shown: whether an archive shows it.
    :ivar stanza: the message as XML.
    """

    id: int
    holder: int | None
    expire: int | None
    shown: bool
    stanza: str


def secret_and_last(connection: Connection) -> tuple[bytes, int]:
    """The key of the owner numbers, made where it is missing, and the greatest id so far."""
    return shared_secret(connection), connection.execute(_LAST).scalar() or 0


def shared_secret(connection: Connection) -> bytes:
    """A secret that all nodes have of their database, made where it is missing."""
    found = connection.execute(_SECRET).scalar()
    if found is None:
        new = {"one": 1, "value": secrets.token_bytes(32)}
        connection.execute(_MAKE_SECRET[connection.dialect.name], new)
        found = connection.execute(_SECRET).scalar_one()
    return bytes(found)


def pending_of(connection: Connection, owner: int, after: int, most: int) -> list[Pending]:
    """The first messages behind an id that wait for an owner, oldest first."""
    rows = connection.execute(_PENDING, {"owner": owner, "after": after, "most": most})
    return [Pending(r.id, r.holder, r.expire, r.flags != 0, r.stanza) for r in rows]


def waiting(connection: Connection, owners: list[int]) -> dict[int, bool]:
    """Those of some owners for whom anything waits."""
    return dict.fromkeys(connection.execute(_WAITING, {"owners": owners}).scalars(), True)


def hold(connection: Connection, owner: int, ids: list[int], holder: int) -> None:
    """Notes which session some messages are on their way to."""
    connection.execute(_HOLD, {"k_owner": owner, "k_ids": ids, "holder": holder})


def pending_count(connection: Connection, owner: int, most: int) -> int:
    """How many messages wait for an owner; ``most`` if there are more."""
    return connection.execute(_COUNT, {"owner": owner, "most": most}).scalar_one()


def pending_keys(connection: Connection, owner: int) -> list[tuple[int, bool]]:
    """Ids of all that waits for an owner, and whether an archive shows it."""
    return [(row.id, row.flags != 0) for row in connection.execute(_OF_OWNER, {"owner": owner})]


def owners_waiting(connection: Connection, node: int | None = None) -> set[int]:
    """For whom something waits; only what one node has logged, if it is named."""
    if node is None:
        return set(connection.execute(_OWNERS).scalars())
    return set(connection.execute(_OWNERS_OF, {"node": node}).scalars())


def expired(connection: Connection, now: int) -> list[tuple[int, int, bool]]:
    """Owner, id and ``shown`` of some messages whose time is over."""
    rows = connection.execute(_EXPIRED, {"now": now})
    return [(row.owner, row.id, row.flags != 0) for row in rows]
