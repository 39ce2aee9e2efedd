"""Connections on which the database answers no more, and how they are ended.

PostgreSQL itself ends statements that take too long. But a machine that has vanished or a
process that is suspended ends nothing, and the client library waits for ever.
"""

import os
import socket
import threading
from collections.abc import Sequence
from contextlib import suppress
from typing import Any, Protocol

from sqlalchemy import Connection


class Line:
    """The socket beneath a connection, so that another thread can end what waits on it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._socket: socket.socket | None = None

    def hold(self, connection: Connection) -> None:
        """Takes the socket of a connection to PostgreSQL; others have none."""
        if connection.dialect.driver == "psycopg2":
            driver: Any = connection.connection.dbapi_connection
            with self._lock:
                # a copy: its number stays ours when the library closes the original
                self._socket = socket.socket(fileno=os.dup(driver.fileno()))

    def drop(self) -> None:
        """The connection is closed."""
        with self._lock:
            held, self._socket = self._socket, None
            if held is not None:
                held.close()

    def cut(self) -> None:
        """Has whoever waits for an answer find the connection closed."""
        with self._lock, suppress(OSError):
            if self._socket is not None:
                self._socket.shutdown(socket.SHUT_RDWR)


class Watched(Protocol):
    """Something with calls that may get stuck."""

    def cut_if_stuck(self, patience: float) -> None:
        """Ends the connection if its call waits for longer than so many seconds."""


class Watchdog:
    """A thread that looks after lanes.

    :param patience: seconds that one call may take.
    """

    def __init__(self, lanes: Sequence[Watched], patience: float) -> None:
        self._lanes = lanes
        self._patience = patience
        self._ended = threading.Event()
        threading.Thread(target=self._run, name="database-watchdog", daemon=True).start()

    def end(self) -> None:
        """Looks no more."""
        self._ended.set()

    def _run(self) -> None:
        while not self._ended.wait(self._patience / 4):
            for lane in self._lanes:
                lane.cut_if_stuck(self._patience)
