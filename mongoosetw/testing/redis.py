"""Private Redis servers and sentinels for tests, in temporary folders."""

import shutil
import signal
import socket
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Final

from hiredis import Reader, pack_command

_PATIENCE: Final = 10.0


def free_port() -> int:
    """A TCP port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


class _Program:
    """A process in a folder of its own, which a test starts, ends and disturbs as it likes.

    :ivar folder: holds the configuration, the log and the Unix socket.
    :ivar port: TCP's, on 127.0.0.1.
    """

    options: tuple[str, ...] = ()

    def __init__(self, settings: str = "") -> None:
        self.folder = tempfile.mkdtemp(prefix="mongoosetw-redis-")
        self.port = free_port()
        self.socket = f"{self.folder}/socket"
        self._process: subprocess.Popen[bytes] | None = None
        # A file for its configuration: sentinels write theirs
        Path(self.folder, "conf").write_text(
            f"port {self.port}\nbind 127.0.0.1\nunixsocket {self.socket}\ndir {self.folder}\n"
            f"protected-mode no\n{settings}\n"
        )

    @staticmethod
    def installed() -> bool:
        """Whether Redis is there."""
        return shutil.which("redis-server") is not None

    def start(self) -> None:
        """Starts it and waits until it answers."""
        with open(f"{self.folder}/log", "ab") as log:
            command = ["redis-server", f"{self.folder}/conf", *self.options]
            self._process = subprocess.Popen(command, stdout=log, stderr=log)
        end = time.monotonic() + _PATIENCE
        while not self._answers():
            assert time.monotonic() < end, Path(self.folder, "log").read_text()
            time.sleep(0.01)

    def _answers(self) -> bool:
        try:
            self.command("PING")
        except OSError:
            return False
        return True

    def command(self, *command: str | int, login: tuple[str, ...] = ()) -> object:
        """Runs a command in a connection of its own.

        :param login: what ``AUTH`` gets first.
        """
        commands = [("AUTH", *login), command] if login else [command]
        reader = Reader()
        with socket.create_connection(("127.0.0.1", self.port), timeout=5) as connection:
            for each in commands:
                connection.sendall(pack_command(each))  # type: ignore[arg-type]
                while (answer := reader.gets()) is False:
                    reader.feed(connection.recv(65536))
        return answer

    def stop(self) -> None:
        """Ends it in good order."""
        self._end(signal.SIGTERM)

    def kill(self) -> None:
        """Kills it."""
        self._end(signal.SIGKILL)

    def _end(self, number: signal.Signals) -> None:
        process, self._process = self._process, None
        if process is not None:
            process.send_signal(signal.SIGCONT)
            process.send_signal(number)
            process.wait()

    def freeze(self) -> None:
        """Suspends it: connections stay, but nothing is answered."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """Lets it run on."""
        assert self._process is not None
        self._process.send_signal(signal.SIGCONT)

    def close(self) -> None:
        """Ends it, if it runs, and removes its folder."""
        self.kill()
        shutil.rmtree(self.folder, ignore_errors=True)


class RedisServer(_Program):
    """A Redis server. It keeps nothing on disk: started again it is empty."""

    def __init__(self, settings: str = "") -> None:
        """
        :param settings: further lines of its configuration.
        """
        super().__init__(f'save ""\nrepl-diskless-sync-delay 0\n{settings}')

    @property
    def configuration(self) -> str:
        """Lines of the server's configuration file that name this Redis."""
        return f'[outgoing_pools.redis.default]\nhost = "127.0.0.1"\nport = {self.port}\n'


class RedisSentinel(_Program):
    """A sentinel, which watches a server under the name ``mymaster``."""

    options = ("--sentinel",)

    def __init__(self, master: RedisServer, quorum: int, settings: str = "") -> None:
        """
        :param quorum: how many sentinels have to agree that the server is gone.
        """
        super().__init__(
            f"sentinel monitor mymaster 127.0.0.1 {master.port} {quorum}\n"
            "sentinel down-after-milliseconds mymaster 500\n"
            f"sentinel failover-timeout mymaster 3000\n{settings}"
        )
