"""Pairs of clients chat at full speed while what serves them is killed; then the books are read."""

import os
import random
import selectors
import shutil
import socket
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing.context import ForkServerProcess
from pathlib import Path
from typing import ClassVar

from mongoosetw.testing.postgres import PostgreSQL
from tests.integration.crash.client import Book, ChatClient
from tests.integration.crash.program import launch
from tests.integration.live import free_port

CONFIG = """
[general]
hosts = ["localhost"]
data_dir = "data"
loglevel = "warning"
workers = {workers}
[auth]
methods = ["dummy"]
dummy.base_time = 0
dummy.variance = 0
[[listen.c2s]]
port = {port}
ip_address = "127.0.0.1"
tls.mode = "starttls"
allow_plain_without_tls = true
[modules.mod_presence]
[modules.mod_carboncopy]
[modules.mod_offline]
access_max_user_messages = "unlimited"
[modules.mod_stream_management]
buffer_max = 1000
{archive}
[acl]
everybody = [{{match = "all"}}]
[access]
unlimited = [{{acl = "everybody", value = "infinity"}}]
{database}
"""
ARCHIVE = "[modules.mod_mam]\n[modules.mod_mam.pm]\n"


class Node:
    """A server process in a folder of its own.

    :cvar patient: it starts its workers again however often they were killed.
    """

    patient: ClassVar[bool] = False

    def __init__(self, database: str = "", archive: str = ARCHIVE, workers: int = 1) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="crash-"))
        self.port = free_port()
        self.workers = workers
        self._config = self.folder / "mongoosetw.toml"
        values = {"port": self.port, "database": database, "archive": archive}
        self._config.write_text(CONFIG.format(workers=workers, **values))
        (self.folder / "log").touch()
        self.process: ForkServerProcess | None = None

    def start(self) -> None:
        """Starts the process and waits until it accepts connections.

        :raises RuntimeError: it does not.
        """
        self.process = launch(self.folder, self._config, patient=self.patient)
        until = time.monotonic() + 60
        while self.process.is_alive() and time.monotonic() < until:
            try:
                socket.create_connection(("127.0.0.1", self.port), 1).close()
                return
            except OSError:
                time.sleep(0.02)
        raise RuntimeError(self.output())

    def kill(self) -> None:
        """Kills the process without warning."""
        assert self.process is not None
        self.process.kill()
        self.process.join()

    def remove(self) -> None:
        """Ends the process and removes its folder."""
        if self.process is not None:
            self.kill()
        shutil.rmtree(self.folder, ignore_errors=True)

    def output(self) -> str:
        """What the process has logged."""
        return (self.folder / "log").read_text()


@contextmanager
def node(database: str = "", archive: str = ARCHIVE) -> Iterator[Node]:
    """A running server that is removed in the end."""
    server = Node(database, archive)
    try:
        server.start()
        yield server
    finally:
        server.remove()


@dataclass
class Result:
    """What a run has shown.

    :ivar faults: what went wrong, in words; empty if all is well.
    """

    sent: int
    acknowledged: int
    received: int
    repeated: int
    resumptions: int
    faults: list[str]

    def __str__(self) -> str:
        return (
            f"{self.sent} messages sent, {self.acknowledged} acknowledged, {self.received} "
            f"received of which {self.repeated} repeated, {self.resumptions} resumptions, "
            f"{len(self.faults)} faults"
        )


class Chat:
    """Pairs of clients.

    :param port: of the server that a client connects to next.
    """

    def __init__(self, port: Callable[[], int], pairs: int = 8, window: int = 8) -> None:
        self._port = port
        self._books: list[Book] = []
        self.clients: list[ChatClient] = []
        self._selector = selectors.DefaultSelector()
        self._retry: dict[ChatClient, float] = {}
        self._late = 0
        for number in range(pairs):
            there, back = Book(), Book()
            names = (f"romeo{number}", f"juliet{number}")
            self._books += [there, back]
            self.clients.append(ChatClient(*names, there, back, window))
            self.clients.append(ChatClient(*reversed(names), back, there, window))

    def run(self, until: Callable[[], bool], seconds: float) -> bool:
        """Lets the clients chat until something holds; False if it does not in time."""
        end = time.monotonic() + seconds
        while not until():
            if time.monotonic() > end:
                return False
            self._connect()
            for key, _ in self._selector.select(0.02):
                self._serve(key.data)
        return True

    def gather(self, complete: Callable[[], bool] = lambda: True) -> None:
        """Waits until all clients have come back; a minute is too long.

        :param complete: whether all is there that they come to.
        """
        if not self.run(lambda: complete() and all(c.ready for c in self.clients), 60):
            self._late += 1

    def chat(self, seconds: float) -> None:
        """Lets the clients chat for a while."""
        self.run(lambda: False, seconds)

    def finish(self, seconds: float = 60) -> bool:
        """Lets the clients send no new messages, and waits until all is acknowledged."""
        for client in self.clients:
            client.sending = False
        done = self.run(lambda: all(c.done for c in self.clients), seconds)
        arrived = self.run(self._all_arrived, seconds if done else 1)
        self.chat(0.5)
        return done and arrived

    def _all_arrived(self) -> bool:
        return all(len(set(book.received)) == book.sent for book in self._books)

    def drop_some(self, chance: random.Random) -> None:
        """Cuts some of the connections."""
        for client in self.clients:
            if client.socket is not None and chance.random() < 0.3:
                self._forget(client)

    def close(self) -> None:
        """Closes all connections."""
        for client in self.clients:
            self._forget(client)
        self._selector.close()

    def _forget(self, client: ChatClient) -> None:
        if client.socket is not None:
            self._selector.unregister(client.socket)
            client.lost()
        self._retry[client] = time.monotonic() + 0.05

    def _connect(self) -> None:
        now = time.monotonic()
        for client in self.clients:
            if client.socket is None and self._retry.get(client, 0) <= now:
                try:
                    client.connect(self._port())
                except OSError:
                    client.lost()
                    self._retry[client] = now + 0.05
                else:
                    self._selector.register(client.socket, selectors.EVENT_READ, client)

    def _serve(self, client: ChatClient) -> None:
        connection = client.socket
        client.readable()
        if client.socket is None and connection is not None:
            self._selector.unregister(connection)
            self._retry[client] = time.monotonic() + 0.05

    def conclude(self) -> Result:
        """Lets all messages arrive and reads the books."""
        finished = self.finish()
        result = self.result()
        if not finished:
            result.faults.append("not everything was acknowledged in time")
        return result

    def result(self) -> Result:
        """Reads the books."""
        faults = [f"{self._late} times not all came back in time"] if self._late else []
        for client, book in zip(self.clients, self._books, strict=True):
            faults += _faults(client, book)
        received = sum(len(book.received) for book in self._books)
        return Result(
            sent=sum(book.sent for book in self._books),
            acknowledged=sum(len(book.acknowledged) for book in self._books),
            received=received,
            repeated=received - sum(len(set(book.received)) for book in self._books),
            resumptions=sum(client.resumptions for client in self.clients),
            faults=faults,
        )


def _faults(client: ChatClient, book: Book) -> list[str]:
    name = f"{client.user} to {client.peer}"
    lost = set(range(1, book.sent + 1)) - set(book.received)
    faults = [f"{name}: {number} lost" for number in sorted(lost)]
    first = list(dict.fromkeys(book.received))
    if first != sorted(first):
        at = next(i for i in range(1, len(first)) if first[i] < first[i - 1])
        late, before = first[at], first[at - 1]
        ids = f"stanza-ids {book.ids[late]} and {book.ids[before]}"
        faults.append(f"{name}: {late} arrived after {before}, {ids}")
    return faults + [f"{name}: {what}" for what in book.indistinct()]


def crash_runs(server: Node, kills: int, seed: int, *, pairs: int = 8) -> Result:
    """Kills a server again and again while clients chat.

    Connections are cut at random, too, so that sessions are resumed.
    """
    chance = random.Random(seed)
    with chatting(server, pairs) as chat:
        for _ in range(kills):
            chat.gather()
            chat.chat(chance.uniform(0.02, 0.8))
            if chance.random() < 0.5:
                chat.drop_some(chance)
                chat.chat(chance.uniform(0.0, 0.3))
            server.kill()
            server.start()
        return chat.conclude()


def database_runs(
    server: Node, database: PostgreSQL, kills: int, seed: int, *, pairs: int = 8
) -> Result:
    """Kills the database again and again while clients chat."""
    chance = random.Random(seed)
    with chatting(server, pairs) as chat:
        for _ in range(kills):
            chat.gather()
            chat.chat(chance.uniform(0.02, 0.8))
            database.kill()
            chat.chat(chance.uniform(0.0, 1.0))
            database.start()
        return chat.conclude()


@contextmanager
def chatting(server: Node, pairs: int) -> Iterator[Chat]:
    """Pairs of clients of a server, whose connections are closed in the end."""
    chat = Chat(lambda: server.port, pairs)
    try:
        yield chat
    finally:
        chat.close()


def seed_of(environment: str = "CRASH_SEED") -> int:
    """The seed that the environment names, or a new one."""
    return int(os.environ.get(environment) or random.SystemRandom().randrange(1 << 32))
