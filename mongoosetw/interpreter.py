"""Python's interpreter, set for a server: the collector of cyclic garbage, and its threads."""

import gc
import sys
from typing import Final

_THRESHOLDS: Final = (10_000, 20, 20)
_SWITCH_INTERVAL: Final = 0.000_05
"""Seconds.

A thread of the database that wants to go on waits so long before it asks the reactor's thread for
the interpreter. At each read from a socket or write to one that lets go of the interpreter for a
moment and wakes the other, mostly in vain, and the waiting begins anew. With Python's default of
5 ms a thread was woken a hundred times for each commit.
"""


def settle() -> None:
    """Call it when the server has started. The collector never looks again at what is there.

    Connections, sessions and stanzas are freed by their reference counts. Looking for cycles
    among them as often as Python does by default cost a tenth of a login's time. Modules that a
    reload stops are not freed if they had been there at the start.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(*_THRESHOLDS)
    sys.setswitchinterval(_SWITCH_INTERVAL)
