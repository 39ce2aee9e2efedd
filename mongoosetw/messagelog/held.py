"""Messages on their way to sessions that acknowledge what they get, without a row for each."""

import logging
from collections.abc import Callable, Collection, Iterable
from itertools import chain
from typing import TypeAlias

from mongoosetw.ids import TimeIDs, node_of
from mongoosetw.messagelog.tables import SETTLED, pending, positions
from mongoosetw.messagelog.waiting import MayWait
from mongoosetw.storage.batch import LogWriter
from mongoosetw.storage.work import DatabaseUnavailable

logger = logging.getLogger(__name__)


OnItsWay: TypeAlias = tuple[int, tuple[int, ...]]
"""One message: its owner's number, and the sids of the sessions that it goes to."""


class Held:
    """What this node has on its way, by id.

    Most messages are settled within a moment. Those that are not by the next tick but one
    get a row in ``message_pending``. So everything below the oldest that has no row yet is
    either delivered or pending; that position is noted at each tick, and after a crash only
    what lies above it is in doubt.

    :ivar settled: the position that was noted last.
    """

    def __init__(self, writer: LogWriter, ids: TimeIDs, waiting: MayWait) -> None:
        """
        :param waiting: gets the owners of rows that are written here.
        """
        self._writer = writer
        self._waiting = waiting
        self._ids = ids
        self._young: dict[int, OnItsWay] = {}
        self._old: dict[int, OnItsWay] = {}
        self._written: dict[int, OnItsWay] = {}  # these have a row
        self.settled = 0

    def add(self, identifier: int, owner: int, holder: int) -> None:
        """Holds a message for an owner, on its way to a session."""
        found = self._young.get(identifier)
        self._young[identifier] = (owner, (holder,) if found is None else (*found[1], holder))

    def take(self, identifier: int, owner: int, holder: int) -> None:
        """Holds a message that has a row."""
        self._written[identifier] = (owner, (holder,))

    def pass_on(self, identifier: int, holder: int, successor: int) -> bool:
        """A message goes to another session than it was on its way to; False if it is not held."""
        for held in (self._young, self._old, self._written):
            found = held.get(identifier)
            if found is not None and holder in found[1]:
                owner, holders = found
                others = (other for other in holders if other != holder)
                held[identifier] = owner, (*others, successor)
                return True
        return False

    def has(self, identifier: int) -> bool:
        """Whether a message is on its way."""
        return identifier in self._young or identifier in self._old or identifier in self._written

    def settle(self, identifier: int, owner: int) -> bool:
        """The message has arrived; False if it has a row, or is not held here for the owner."""
        for held in (self._young, self._old, self._written):
            found = held.get(identifier)
            if found is not None and found[0] == owner:
                del held[identifier]
                return held is not self._written
        return False

    def keep(self, identifier: int, holder: int) -> None:
        """The message has not arrived at a session: unless others get it, it waits."""
        for held in (self._young, self._old, self._written):
            found = held.get(identifier)
            if found is None:
                continue
            owner, holders = found
            left = held[identifier] = (owner, tuple(other for other in holders if other != holder))
            if not left[1] and (held is self._written or self._write({identifier: left})):
                del held[identifier]
            return

    def comes_back(self, identifier: int, holder: int) -> None:
        """As :meth:`keep`, where the session may live on: a row must not name it any more."""
        for held in (self._young, self._old, self._written):
            way = held.get(identifier)
            if way is not None:
                self._loses(held, identifier, way, lambda other: other == holder)
                return

    def holders(self, node: int) -> set[int]:
        """The sids of a node's sessions that something is on its way to."""
        holders = chain.from_iterable(way[1] for way in self._all())
        return {holder for holder in holders if node_of(holder) == node}

    def owners(self, node: int) -> set[int]:
        """The owners of what is on its way to a node's sessions."""
        return {owner for owner, holders in self._all() if node in map(node_of, holders)}

    def _all(self) -> Iterable[OnItsWay]:
        return chain(self._young.values(), self._old.values(), self._written.values())

    def lost(self, node: int) -> set[int]:
        """A node is gone: what is on its way to its sessions alone waits.

        Whether it has arrived is not known; and the sessions may still be there.

        :param node: its number, which is a part of its sessions' sids.
        :returns: the owners.
        """
        return self._lose(lambda holder: node_of(holder) == node, self._young, self._old)

    def outlived(self, alive: Collection[int], *, young: bool = False) -> set[int]:
        """What has been on its way for long to sessions that are no more waits.

        A session may have moved to another node, and have gone with that.

        :param alive: the sids of all sessions.
        :param young: what has just been sent, too.
        :returns: the owners.
        """
        unwritten = (self._young, self._old) if young else (self._old,)
        return self._lose(lambda holder: holder not in alive, *unwritten)

    def _lose(self, gone: Callable[[int], bool], *unwritten: dict[int, OnItsWay]) -> set[int]:
        return {
            way[0]
            for held in (*unwritten, self._written)
            for identifier, way in list(held.items())
            if self._loses(held, identifier, way, gone)
        }

    def _loses(
        self,
        held: dict[int, OnItsWay],
        identifier: int,
        way: OnItsWay,
        gone: Callable[[int], bool],
    ) -> bool:
        owner, holders = way
        others = tuple(holder for holder in holders if not gone(holder))
        if others == holders:
            return False
        left = held[identifier] = (owner, others)
        if others:
            return False
        if held is self._written:  # the row names a session that it is no longer on its way to
            self._writer.remove(pending, [(owner, identifier)])
        if self._write({identifier: left}):
            del held[identifier]
        return True

    def part_with(self, identifiers: Iterable[int]) -> set[int]:
        """Gives messages a row, and knows of them no longer: another node sees to them.

        :returns: the owners.
        :raises DatabaseUnavailable: no rows are taken now.
        """
        owners = set()
        for identifier in identifiers:
            for held in (self._young, self._old, self._written):
                way = held.get(identifier)
                if way is None:
                    continue
                if held is not self._written and not self._write({identifier: way}):
                    raise DatabaseUnavailable("too many rows wait")
                del held[identifier]
                owners.add(way[0])
        return owners

    def tick(self) -> int:
        """Gives a row to what has been on its way for long; notes and returns the position."""
        late, self._old, self._young = self._old, self._young, {}
        if self._write(late):
            self._written |= late
        else:
            self._old |= late
        position = min(self._old, default=self._ids.last + 1) - 1
        if position > self.settled:
            node = self._ids.node
            self._writer.remove(positions, [(node, SETTLED, self.settled)])
            self.settled = position
            try:
                self._writer.add([(positions, (node, SETTLED, position))])
            except DatabaseUnavailable:
                logger.info("message_log_position_not_noted")  # more is in doubt after a crash
        return position

    def keep_all(self) -> None:
        """Gives a row to everything that is on its way; at the end of the process."""
        self.tick()
        self.tick()

    def _write(self, held: dict[int, OnItsWay]) -> bool:
        """Writes rows; False if the writer takes none."""
        rows = [
            (pending, (owner, identifier, holders[0] if holders else None, None))
            for identifier, (owner, holders) in held.items()
        ]
        try:
            if rows:
                for owner, _ in held.values():
                    self._waiting.add(owner)
                self._writer.add(rows)
        except DatabaseUnavailable:
            return False
        return True
