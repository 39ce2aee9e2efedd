"""What follows the log: the archives' index, the state after a crash, and what is left over.

Rows sorted by owner are dear when they are written one message at a time: each lands on a
page of its own, and every such page is written for every commit. So they are written for
thousands of messages at once, in their order, by two statements.
"""

from collections.abc import Collection
from typing import Any, Final

from sqlalchemy import Connection, TextClause, bindparam, delete, func, select, text

from mongoosetw.messagelog.tables import (
    IN_RECIPIENTS,
    IN_SENDERS,
    INDEXED,
    REACH,
    SETTLED,
    STRIDE,
    TAKEN_OVER,
    messages,
    positions,
)
from mongoosetw.storage.upsert import upsert

# Written by hand: the same for both databases but for one word, and one step for SQLite. Sorting
# what senders' archives show apart from what recipients' do costs a sixth less than together.
_INDEX: Final = """
    INSERT {{ignore}} INTO message_archive (owner, id, remote)
    SELECT {owner}, id, {remote} FROM message_log
    WHERE id > :after AND id <= :through AND (id & 255) = :node AND (flags & {flag}) <> 0
    ORDER BY {owner}, id {{conflict}}"""
_INDEX_SENDERS: Final = _INDEX.format(owner="sender", remote="recipient", flag=IN_SENDERS)
_INDEX_RECIPIENTS: Final = _INDEX.format(owner="recipient", remote="sender", flag=IN_RECIPIENTS)
_RECOVER: Final = """
    INSERT {ignore} INTO message_pending (owner, id, holder, expire)
    SELECT recipient, id, NULL, NULL FROM message_log
    WHERE id > :after AND (id & 255) = :node AND holder <> 0 {conflict}"""
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
    for statement in (_INDEX_SENDERS, _INDEX_RECIPIENTS, _RECOVER)
}
_POSITION = select(func.max(positions.c.id)).where(
    positions.c.node == bindparam("node"), positions.c.kind == bindparam("kind")
)
_PASSED = delete(positions).where(
    positions.c.node == bindparam("k_node"),
    positions.c.kind == bindparam("k_kind"),
    positions.c.id < bindparam("k_id"),
)
_ARRIVE: Final = upsert(positions)
_REACHES = (
    select(positions.c.node, func.max(positions.c.id))
    .where(positions.c.kind == REACH)
    .group_by(positions.c.node)
)
_LAST_OF_NODE = select(func.max(messages.c.id)).where(
    messages.c.id > bindparam("after"), messages.c.id.op("&")(255) == bindparam("node")
)
_LAST_WITHIN = _LAST_OF_NODE.where(messages.c.id <= bindparam("through"))


def position(connection: Connection, node: int, kind: int) -> int:
    """How far a node has come; 0 if that was never noted."""
    return connection.execute(_POSITION, {"node": node, "kind": kind}).scalar() or 0


def arrive(connection: Connection, node: int, kind: int, identifier: int) -> None:
    """Notes how far a node has come, unless it has come further."""
    if identifier > position(connection, node, kind):
        row = {"node": node, "kind": kind, "id": identifier}
        connection.execute(_ARRIVE[connection.dialect.name], row)
        _pass(connection, node, kind, identifier)


def _pass(connection: Connection, node: int, kind: int, identifier: int) -> None:
    """Removes lesser positions of a node."""
    connection.execute(_PASSED, {"k_node": node, "k_kind": kind, "k_id": identifier})


def index(connection: Connection, nodes: list[int]) -> None:
    """Brings the archives' index up to all that these nodes have committed."""
    for node in nodes:
        after = position(connection, node, INDEXED)
        through = connection.execute(_LAST_OF_NODE, {"node": node, "after": after}).scalar()
        if through is not None:
            for statement in (_INDEX_SENDERS, _INDEX_RECIPIENTS):
                _execute(connection, statement, node=node, after=after, through=through)
            arrive(connection, node, INDEXED, through)


def recover(connection: Connection, node: int, through: int) -> None:
    """What a node had on its way to sessions when it ended waits for its recipients again.

    Whether it has left the node is not known, so it is nobody's: a session that has got it is on
    a node that knows so.

    :param through: as far as is accounted for then; 0: as far as there is anything now. The node
        may live, and go on.
    """
    if through:
        _pass(connection, node, REACH, position(connection, node, REACH) + 1)
    else:
        through = last_logged(connection, node)
    after = position(connection, node, SETTLED)
    connection.execute(_PART, {"node": node, "after": after - _DOUBT})
    _execute(connection, _RECOVER, node=node, after=after)
    arrive(connection, node, SETTLED, through)
    arrive(connection, node, TAKEN_OVER, through)
    index(connection, [node])


def last_of_earlier(connection: Connection, node: int) -> int:
    """The last id that is known of an earlier process which had a node's number."""
    reach = position(connection, node, REACH)
    return max(reach - STRIDE, *(position(connection, node, k) for k in (SETTLED, TAKEN_OVER)))


def last_logged(connection: Connection, node: int) -> int:
    """The last id that a node has logged, or one before it behind which there is nothing left.

    What is looked through are a few seconds of the log, wherever they are.
    """
    reach = position(connection, node, REACH)
    # What is noted ahead of a message may be committed before it
    after = max(reach - STRIDE - 1, position(connection, node, TAKEN_OVER))
    found = connection.execute(_LAST_WITHIN, {"node": node, "after": after, "through": reach})
    return found.scalar() or after


def left_behind(connection: Connection, linked: Collection[int]) -> dict[int, int]:
    """Nodes that have logged more than was taken over from them, and how far they may have come.

    :param linked: those that see to that themselves.
    """
    return {
        node: reach
        for node, reach in connection.execute(_REACHES).all()
        if node not in linked
        and last_logged(connection, node) > position(connection, node, TAKEN_OVER)
    }


def sweep(connection: Connection, node: int, after: int, through: int) -> None:
    """Removes messages that are delivered and that no archive shows."""
    connection.execute(_SWEEP, {"node": node, "after": after, "through": through})


def _execute(connection: Connection, statement: str, **values: Any) -> None:
    connection.execute(_STATEMENTS[connection.dialect.name, statement], values)
