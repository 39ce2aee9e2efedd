"""Joins what is written within one turn of the reactor into one write per connection."""

from typing import Protocol

from twisted.internet.interfaces import IReactorTime


class Flushable(Protocol):
    """Something that has gathered output."""

    def flush(self) -> None:
        """Writes it."""


class TurnFlusher:
    """Flushes everything that asked for it, once, at the end of the turn."""

    def __init__(self, clock: IReactorTime) -> None:
        self._clock = clock
        self._waiting: list[Flushable] = []

    def add(self, flushable: Flushable) -> None:
        """Has ``flush`` called at the end of this turn. Ask once a turn.

        What asks while others are flushed is flushed in the same turn, behind them.
        """
        if not self._waiting:
            self._clock.callLater(0, self._flush)
        self._waiting.append(flushable)

    def _flush(self) -> None:
        try:
            for flushable in self._waiting:
                flushable.flush()
        finally:
            self._waiting.clear()
