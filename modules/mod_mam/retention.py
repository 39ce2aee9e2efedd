"""How long archives keep messages, and how they let go of them: little by little."""

from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import (
    BindParameter,
    Column,
    Connection,
    Integer,
    String,
    Table,
    and_,
    bindparam,
    case,
    delete,
    exists,
    func,
    insert,
    or_,
    select,
    update,
)

from modules.mod_mam import search
from mongoosetw.messagelog.tables import (
    IN_RECIPIENTS,
    IN_SENDERS,
    archive,
    messages,
    owners,
    pending,
)
from mongoosetw.storage.schema import metadata

BATCH: Final = 200
"""Messages that one transaction removes from an archive."""

mam_retention = Table(
    "mam_retention",
    metadata,
    Column("server", String(250), primary_key=True),
    Column("username", String(250), primary_key=True),
    Column("max_age", Integer),
    Column("max_messages", Integer),
)
"""What an operator has set for single users; NULL: as for the domain, -1: without limit."""

_OWNED = archive.c.owner == bindparam("owner")
_OLDEST = (
    select(archive.c.id)
    .where(_OWNED, archive.c.id < bindparam("before"))
    .order_by(archive.c.id)
    .limit(BATCH)
)
_NEWEST_TO_GO = (
    select(archive.c.id)
    .where(_OWNED)
    .order_by(archive.c.id.desc())
    .limit(1)
    .offset(bindparam("keep"))
)
_IDS: BindParameter[list[int]] = bindparam("ids", expanding=True)
_OUT = delete(archive).where(archive.c.owner == bindparam("owner"), archive.c.id.in_(_IDS))
_UNMARK = (
    update(messages)
    .where(messages.c.id.in_(_IDS))
    .values(
        flags=messages.c.flags.op("&")(
            case(
                (
                    and_(
                        messages.c.sender == bindparam("owner"),
                        messages.c.recipient == bindparam("owner"),
                    ),
                    0,
                ),
                (messages.c.sender == bindparam("owner"), ~IN_SENDERS),
                (messages.c.recipient == bindparam("owner"), ~IN_RECIPIENTS),
                else_=-1,
            )
        )
    )
)
_WAITS = exists().where(pending.c.owner == messages.c.recipient, pending.c.id == messages.c.id)
_SHOWN = exists().where(
    archive.c.owner.in_((messages.c.sender, messages.c.recipient)), archive.c.id == messages.c.id
)
_UNSHOWN = select(messages.c.id).where(
    messages.c.id.in_(_IDS), messages.c.flags == 0, ~_WAITS, ~_SHOWN
)
_DELETE = delete(messages).where(messages.c.id.in_(_IDS))
_OWNERS = (
    select(owners.c.owner, owners.c.jid)
    .where(
        owners.c.owner > bindparam("after"),
        or_(
            owners.c.jid.endswith(bindparam("at_domain")),
            owners.c.jid == bindparam("domain"),
        ),
    )
    .order_by(owners.c.owner)
    .limit(100)
)
_STATS = select(func.count(), func.min(archive.c.id), func.max(archive.c.id)).where(_OWNED)
_EXPORT = (
    select(archive.c.id, messages.c.stanza)
    .join_from(archive, messages, archive.c.id == messages.c.id)
    .where(_OWNED, archive.c.id > bindparam("after"))
    .order_by(archive.c.id)
    .limit(500)
)
_OVERRIDE = select(mam_retention.c.max_age, mam_retention.c.max_messages).where(
    mam_retention.c.server == bindparam("server"), mam_retention.c.username == bindparam("user")
)
_CLEAR_OVERRIDE = delete(mam_retention).where(
    mam_retention.c.server == bindparam("k_server"),
    mam_retention.c.username == bindparam("k_username"),
)
_SET_OVERRIDE = insert(mam_retention)


@dataclass(frozen=True, slots=True)
class Limits:
    """What an archive keeps.

    :ivar max_age: seconds, None without a limit; ``max_messages`` likewise.
    """

    max_age: int | None = None
    max_messages: int | None = None

    def over(self, max_age: int | None, max_messages: int | None) -> "Limits":
        """These limits with a user's own, where there are any (-1: none)."""
        return Limits(
            self.max_age if max_age is None else (None if max_age < 0 else max_age),
            self.max_messages
            if max_messages is None
            else (None if max_messages < 0 else max_messages),
        )


def override(connection: Connection, server: str, user: str) -> tuple[int | None, int | None]:
    """What is set for one user."""
    row = connection.execute(_OVERRIDE, {"server": server, "user": user}).one_or_none()
    return (None, None) if row is None else (row.max_age, row.max_messages)


def set_override(
    connection: Connection, server: str, user: str, max_age: int | None, max_messages: int | None
) -> None:
    """Sets limits for one user, in place of what there was."""
    connection.execute(_CLEAR_OVERRIDE, {"k_server": server, "k_username": user})
    if max_age is not None or max_messages is not None:
        row = {"server": server, "username": user, "max_age": max_age, "max_messages": max_messages}
        connection.execute(_SET_OVERRIDE, row)


def purge(connection: Connection, owner: int, before: int, *, text: bool) -> int:
    """Takes some messages out of an archive, the oldest first; those below an id.

    :param text: the words of messages are kept, and go with them.
    :returns: how many they were; ``BATCH`` if there may be more.
    """
    found = [row.id for row in connection.execute(_OLDEST, {"owner": owner, "before": before})]
    if not found:
        return 0
    values: dict[str, Any] = {"owner": owner, "ids": found}
    connection.execute(_OUT, values)
    connection.execute(_UNMARK, values)
    gone = [row.id for row in connection.execute(_UNSHOWN, values)]
    if gone:
        connection.execute(_DELETE, {"ids": gone})
        if text:
            search.forget(connection, gone)
    return len(found)


def newest_to_go(connection: Connection, owner: int, keep: int) -> int | None:
    """The newest message beyond the ``keep`` newest of an archive, None if there is none."""
    found = connection.execute(_NEWEST_TO_GO, {"owner": owner, "keep": keep}).scalar()
    return None if found is None else int(found)


def owners_of(connection: Connection, domain: str, after: int) -> list[tuple[int, str]]:
    """Some owners of a domain and their JIDs, in the order of their numbers."""
    values = {"after": after, "at_domain": f"@{domain}", "domain": domain}
    return [(row.owner, row.jid) for row in connection.execute(_OWNERS, values)]


def statistics(connection: Connection, owner: int) -> tuple[int, int | None, int | None]:
    """How many messages an archive has, and the first and last id."""
    row = connection.execute(_STATS, {"owner": owner}).one()
    return row[0], row[1], row[2]


def export(connection: Connection, owner: int, after: int) -> list[tuple[int, str]]:
    """Some messages of an archive behind an id, oldest first."""
    rows = connection.execute(_EXPORT, {"owner": owner, "after": after})
    return [(row.id, row.stanza) for row in rows]
