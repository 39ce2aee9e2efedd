"""How a thread that has come back from the database gets the interpreter from a busy reactor.

CPython's threads take turns. One that waits for its turn asks for it after 5 ms. But each system
call of the thread whose turn it is wakes the waiting one, mostly in vain: before it is awake the
other one goes on, and the 5 ms begin anew. A reactor under load makes such calls all the time. So a
thread that writes is woken some hundred times for each commit, which costs both threads more than
the commit's rows do, and its turn comes when the reactor has nothing more to do.

While something is being written, threads ask after 10 µs instead. The writing thread's timers have
to be exact for that: by default Linux lets them come 50 µs later, when the next call has woken it.
"""

import sys
import threading
from typing import Final

_SOON: Final = 0.000_01  # seconds
_EXACT: Final = 1_000  # nanoseconds


def be_exact() -> bool:
    """Has the calling thread's timers come when they are due; returns whether they do now.

    See ``PR_SET_TIMERSLACK`` in prctl(2), and ``/proc/pid/timerslack_ns`` in proc(5).
    """
    try:
        with open(f"/proc/{threading.get_native_id()}/timerslack_ns", "w") as slack:
            slack.write(str(_EXACT))
    except OSError:
        return False  # no Linux, or one that does not let us
    return True


class Hurry:
    """How soon the process's threads ask for their turn. For the reactor's thread."""

    def __init__(self) -> None:
        self._count = 0
        self._usual = 0.0

    def begin(self) -> None:
        """Has them ask soon."""
        if not self._count:
            self._usual = sys.getswitchinterval()
            sys.setswitchinterval(_SOON)
        self._count += 1

    def end(self) -> None:
        """Undoes one :meth:`begin`; after the last they ask as usual."""
        self._count -= 1
        if not self._count:
            sys.setswitchinterval(self._usual)


HURRY: Final = Hurry()
"""There is one interpreter."""
