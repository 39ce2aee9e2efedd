"""Goes round many sessions without holding up everything else."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Final

from mongoosetw.hooks.c2s import SessionLike
from mongoosetw.module import Module

PORTION: Final = 500
"""Sessions that are looked at in one turn; that takes some milliseconds."""

Use = Callable[[SessionLike], None]


class Rounds:
    """Rounds that are made one after the other, so that what happened first is told first."""

    def __init__(self, module: Module[Any]) -> None:
        self._module = module
        self._rounds: deque[tuple[Iterator[SessionLike], Use]] = deque()

    def make(self, sessions: Iterable[SessionLike], use: Use) -> None:
        """Does something with each session, at once with the first ones if nothing waits."""
        self._rounds.append((iter(sessions), use))
        if len(self._rounds) == 1:
            self._go()

    def _go(self) -> None:
        try:
            self._look_at_some()
        finally:  # whatever happens with one session, the others have their turn
            if self._rounds:
                self._module.later(0, self._go)

    def _look_at_some(self) -> None:
        for _ in range(PORTION):
            sessions, use = self._rounds[0]
            session = next(sessions, None)
            if session is not None:
                use(session)
                continue
            self._rounds.popleft()
            if not self._rounds:
                return
