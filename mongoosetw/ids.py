"""Numbers that sort by time and are never given twice, by no node of a cluster."""

from collections.abc import Callable
from time import time_ns
from typing import Final

NODES: Final = 256
"""How many nodes can make ids at the same time."""


class TimeIDs:
    """Makes ids: microseconds since 1970 in the upper 55 bits, the node's number in the lower 8.

    An id is greater than all before it from the same node, also when the clock goes back.

    :param node: the node's number, below 256 and unique among the living nodes.
    :param now: microseconds since 1970; None: the system's clock.
    """

    __slots__ = ("_last", "_nanoseconds", "_node")

    def __init__(self, node: int = 0, now: Callable[[], int] | None = None) -> None:
        if not 0 <= node < NODES:
            raise ValueError(f"node number {node} is not below {NODES}")
        self._node = node
        self._nanoseconds = time_ns if now is None else lambda: now() * 1000
        self._last = 0

    @property
    def node(self) -> int:
        """The node's number."""
        return self._node

    @property
    def last(self) -> int:
        """The greatest id that may have been made so far."""
        return self._last << 8 | 255

    def next(self) -> int:
        """A new id, positive and below 2⁶³."""
        now = self._nanoseconds() // 1000
        if now <= self._last:
            now = self._last + 1
        self._last = now
        return now << 8 | self._node

    def stay_above(self, identifier: int) -> None:
        """Makes no id up to this one any more: what an earlier process has given away."""
        self._last = max(self._last, identifier >> 8)


def node_of(identifier: int) -> int:
    """The number of the node that made an id."""
    return identifier % NODES


def timestamp(identifier: int) -> float:
    """When an id was made, in seconds since 1970."""
    return (identifier >> 8) / 1e6


def first_at(microseconds: int) -> int:
    """The lowest id that can have been made at a time, in microseconds since 1970."""
    return microseconds << 8
