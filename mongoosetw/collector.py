"""Python's collector of cyclic garbage, set for a server whose objects do not form cycles."""

import gc
from typing import Final

_THRESHOLDS: Final = (10_000, 20, 20)


def settle() -> None:
    """Call it when the server has started: the collector never looks again at what is there.

    Connections, sessions and stanzas are freed by their reference counts. Looking for cycles
    among them as often as Python does by default cost a tenth of a login's time. Modules that a
    reload stops are not freed if they had been there at the start.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(*_THRESHOLDS)
