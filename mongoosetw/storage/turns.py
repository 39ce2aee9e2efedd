"""Processes that write to one SQLite file take turns.

SQLite lets whoever waits for its lock ask again after up to 100 ms. A busy process takes the lock
again in less than one, so that another would wait for seconds, and give up in the end.
"""

import fcntl
import os


class Turns:
    """A lock between processes, in the order of their asking; two files carry it.

    Who waits holds the first file's lock while it waits for the second's, so that whoever had
    its turn comes after it. The locks of a process that dies are free.

    :param path: of the database; the files lie beside it.
    """

    def __init__(self, path: str) -> None:
        flags = os.O_CREAT | os.O_RDWR | os.O_CLOEXEC
        self._next = os.open(f"{path}-next", flags, 0o600)
        self._turn = os.open(f"{path}-turn", flags, 0o600)

    def __enter__(self) -> None:
        """Waits for its turn."""
        fcntl.flock(self._next, fcntl.LOCK_EX)
        fcntl.flock(self._turn, fcntl.LOCK_EX)
        fcntl.flock(self._next, fcntl.LOCK_UN)

    def __exit__(self, *_: object) -> None:
        """Ends its turn."""
        fcntl.flock(self._turn, fcntl.LOCK_UN)

    def close(self) -> None:
        """Takes no more turns."""
        os.close(self._next)
        os.close(self._turn)
