"""SQLite's journal, and how it is kept from growing while somebody always reads."""

import logging
import os
import time
from typing import Final

from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError

from mongoosetw.storage.driver import execute
from mongoosetw.storage.engine import BUSY_TIMEOUT, JOURNAL_LIMIT

logger = logging.getLogger(__name__)

_LARGE: Final = JOURNAL_LIMIT
"""Bytes of a journal beyond which SQLite's own check after every commit has not sufficed.
A smaller one that a large transaction has left serves again: that costs less than to extend it."""
_PATIENCE: Final = 500
"""Milliseconds for which writing may wait for those who read."""
_LOOK_EVERY: Final = 1.0
"""Seconds."""
_INTERVAL: Final = 10.0
"""Seconds between two such waits, if somebody reads for longer."""


class Journal:
    """The write-ahead log of an SQLite file, tended by the lane that writes.

    SQLite writes the log from its start again only if nobody was reading at the end of a
    commit. Where that never happens, who writes waits for who reads, for once
    (https://sqlite.org/wal.html#avoiding_excessively_large_wal_files).

    :param path: of the database.
    """

    def __init__(self, path: str) -> None:
        self._path = f"{path}-wal"
        self._look_at = 0.0

    def tend(self, connection: Connection) -> None:
        """Between two transactions, has a journal that has become large begin anew."""
        now = time.monotonic()
        if now < self._look_at:
            return
        self._look_at = now + _LOOK_EVERY
        if self._size() > _LARGE:
            self._begin_anew(connection)
            if self._size() > _LARGE:
                self._look_at = now + _INTERVAL
                logger.info("journal_is_read bytes=%d", self._size())

    def _size(self) -> int:
        try:
            return os.stat(self._path).st_size
        except OSError:
            return 0

    def _begin_anew(self, connection: Connection) -> None:
        execute(connection, f"PRAGMA busy_timeout={_PATIENCE}")
        try:
            execute(connection, "PRAGMA wal_checkpoint(TRUNCATE)")
        except DBAPIError as error:
            logger.info("journal_not_written_back reason=%s", error.orig)
        execute(connection, f"PRAGMA busy_timeout={BUSY_TIMEOUT}")
