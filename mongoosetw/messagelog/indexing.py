"""What follows the log: the archives' index, the state after a crash, and what is left over.

Rows sorted by owner are dear when they are written one message at a time: each lands on a
page of its own, and every such page is written for every commit. So they are written for
thousands of messages at once, in their order, by one statement.
"""

from typing import Any, Final

from sqlalchemy import Connection, TextClause, bindparam, delete, func, insert, select, text

from mongoosetw.messagelog.tables import (
    IN_RECIPIENTS,
    IN_SENDERS,
    INDEXED,
    SETTLED,
    messages,
    positions,
)

# Written by hand: the same for both databases but for one word, and one step for SQLite.
_INDEX: Final = f"""
    INSERT {{ignore}} INTO message_archive (owner, id, remote)
    SELECT owner, id, remote FROM (
        SELECT sender AS owner, id, recipient AS remote FROM message_log
        WHERE id > :after AND id <= :through AND (id & 255) = :node AND (flags & {IN_SENDERS}) <> 0
        UNION ALL
        SELECT recipient, id, sender FROM message_log
        WHERE id > :after AND id <= :through AND (id & 255) = :node
        AND (flags & {IN_RECIPIENTS}) <> 0
    ) AS shown ORDER BY owner, id {{conflict}}"""
_RECOVER: Final = """
    INSERT {ignore} INTO message_pending (owner, id, holder, expire)
    SELECT recipient, id, NULL, NULL FROM message_log
    WHERE id > :after AND (id & 255) = :node AND holder IS NOT NULL {conflict}"""
_PART = text(
    "UPDATE message_pending SET holder = NULL "
    "WHERE id > :after AND (id & 255) = :node AND holder IS NOT NULL"
)
_DOUBT: Final = 60_000_000 << 8
"""A minute, as a part of ids: within it links are known to be lost."""
_SWEEP = text(
    "DELETE FROM message_log WHERE id > :after AND id <= :through AND (id & 255) = :node "
    "AND flags = 0 AND NOT EXISTS (SELECT 1 FROM message_pending AS p "
    "WHERE p.owner = message_log.recipient AND p.id = message_log.id) "
    # Shown when the row was written already, so that the row does not say so
    "AND NOT EXISTS (SELECT 1 FROM message_archive AS a "
    "WHERE a.owner IN (message_log.sender, message_log.recipient) AND a.id = message_log.id)"
)


def _of(dialect: str, statement: str) -> TextClause:
    sqlite = dialect == "sqlite"
    return text(
        statement.format(
            ignore="OR IGNORE" if sqlite else "",
            conflict="" if sqlite else "ON CONFLICT DO NOTHING",
        )
    )


_STATEMENTS: Final = {
    (dialect, statement): _of(dialect, statement)
    for dialect in ("sqlite", "postgresql")
    for statement in (_INDEX, _RECOVER)
}
_POSITION = select(func.max(positions.c.id)).where(
    positions.c.node == bindparam("node"), positions.c.kind == bindparam("kind")
)
_PASSED = delete(positions).where(
    positions.c.node == bindparam("k_node"),
    positions.c.kind == bindparam("k_kind"),
    positions.c.id < bindparam("k_id"),
)
_ARRIVE = insert(positions)
_NUMBERS = select(positions.c.node).distinct()
_LAST_OF_NODE = select(func.max(messages.c.id)).where(
    messages.c.id > bindparam("after"), messages.c.id.op("&")(255) == bindparam("node")
)


def position(connection: Connection, node: int, kind: int) -> int:
    """How far a node has come; 0 if that was never noted."""
    return connection.execute(_POSITION, {"node": node, "kind": kind}).scalar() or 0


def numbers(connection: Connection) -> list[int]:
    """The nodes that have ever noted how far they were."""
    return list(connection.execute(_NUMBERS).scalars())


def arrive(connection: Connection, node: int, kind: int, identifier: int) -> None:
    """Notes how far a node has come, unless it has come further."""
    if identifier > position(connection, node, kind):
        row = {"node": node, "kind": kind, "id": identifier}
        connection.execute(_ARRIVE, row)
        connection.execute(_PASSED, {f"k_{name}": value for name, value in row.items()})


def index(connection: Connection, nodes: list[int]) -> None:
    """Brings the archives' index up to all that these nodes have committed."""
    for node in nodes:
        after = position(connection, node, INDEXED)
        through = connection.execute(_LAST_OF_NODE, {"node": node, "after": after}).scalar()
        if through is not None:
            _execute(connection, _INDEX, node=node, after=after, through=through)
            arrive(connection, node, INDEXED, through)


def recover(connection: Connection, node: int, through: int) -> None:
    """What a node had on its way to sessions when it ended waits for its recipients again.

    Whether it has left the node is not known, so it is nobody's: a session that has got it is on
    a node that knows so.
    """
    after = position(connection, node, SETTLED)
    connection.execute(_PART, {"node": node, "after": after - _DOUBT})
    _execute(connection, _RECOVER, node=node, after=after)
    arrive(connection, node, SETTLED, through or 1)  # so that it is known that there is this node
    index(connection, [node])


def sweep(connection: Connection, node: int, after: int, through: int) -> None:
    """Removes messages that are delivered and that no archive shows."""
    connection.execute(_SWEEP, {"node": node, "after": after, "through": through})


def _execute(connection: Connection, statement: str, **values: Any) -> None:
    connection.execute(_STATEMENTS[connection.dialect.name, statement], values)
