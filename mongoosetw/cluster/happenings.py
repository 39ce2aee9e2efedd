"""What happened in the cluster lately, for ``mongoosectl cluster status``."""

import time
from collections import deque
from collections.abc import Callable
from typing import Final

KEPT: Final = 100


class Happenings:
    """The last events, the newest last."""

    def __init__(self, now: Callable[[], float] = time.time) -> None:
        self._now = now
        self._events: deque[tuple[float, str, str, str]] = deque(maxlen=KEPT)

    def add(self, what: str, node: str, how: str = "") -> None:
        """Notes an event.

        :param what: ``joined``, ``left``, ``lost``, ``refused`` …
        :param node: the node's name, or an address if it is not known.
        """
        self._events.append((self._now(), what, node, how))

    def describe(self) -> list[dict[str, str]]:
        """The events for reading, the newest first."""
        return [
            {"when": _utc(when), "event": what, "node": node, "how": how}
            for when, what, node, how in reversed(self._events)
        ]


def _utc(seconds: float) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(seconds))
