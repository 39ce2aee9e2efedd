"""What all servers have in common: a folder, a process, data that each test starts from."""

import os
import shutil
import signal
import socket
import subprocess
import time
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from string import Template
from typing import ClassVar

from benchmarks import machine

_STARTING = 60.0
_STOPPING = 20.0


class ServerFailed(Exception):
    """A server did not start."""


class Server(ABC):
    """One server, in a folder of its own, started anew for each test.

    :ivar archive: messages are archived, for every user, always.
    :cvar groups: which scenarios it takes part in when none are named.
    :cvar packages: Debian packages that it needs.
    """

    name: ClassVar[str]
    title: ClassVar[str]
    template: ClassVar[str]
    groups: ClassVar[tuple[str, ...]] = ("core", "memory", "archive")
    packages: ClassVar[tuple[str, ...]] = ()

    def __init__(self, folder: Path, certificate: Path, *, archive: bool = False) -> None:
        self.folder = folder
        self.certificate = certificate
        self.archive = archive
        self.port = 0
        self._process: subprocess.Popen[bytes] | None = None

    # -- what each kind says

    @classmethod
    @abstractmethod
    def version(cls) -> str:
        """What is measured, for the report."""

    def settings(self) -> dict[str, str]:
        """What the template of the configuration is filled with, beside the common values."""
        return {}

    @abstractmethod
    def command(self, config: Path) -> list[str]:
        """The command that runs the server in the foreground."""

    def environment(self, config: Path) -> dict[str, str]:
        """Variables of its environment."""
        return {}

    # -- its life

    @property
    def pid(self) -> int:
        """The process at the root of the server's processes."""
        assert self._process is not None
        return self._process.pid

    @property
    def data(self) -> Path:
        """All that the server remembers."""
        return self.folder / "data"

    @property
    def _kept(self) -> Path:
        return self.folder / "data.kept"

    @property
    def beside(self) -> int | None:
        """A process beside it that does a part of its work, such as a database."""
        return None

    def close(self) -> None:
        """Ends what runs as long as the measurements last."""
        return None

    def keep_data(self) -> None:
        """Has every further start begin with the data as they are now."""
        shutil.rmtree(self._kept, ignore_errors=True)
        shutil.copytree(self.data, self._kept)

    @contextmanager
    def running(self) -> Iterator["Server"]:
        """Starts the server, and ends it and all its children afterwards.

        :raises ServerFailed: it does not open its port.
        """
        self.restore_data()
        self.port = machine.free_port()
        config = self._write_config()
        with (self.folder / "output").open("wb") as output:
            self._process = subprocess.Popen(
                self.command(config),
                cwd=self.folder,
                env={**os.environ, **self.environment(config)},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        try:
            self._wait_for_port()
            yield self
        finally:
            self._stop()

    def restore_data(self) -> None:
        """Puts the data back as they were kept."""
        if self._kept.exists():
            shutil.rmtree(self.data, ignore_errors=True)
            shutil.copytree(self._kept, self.data)
        self.data.mkdir(parents=True, exist_ok=True)

    def _write_config(self) -> Path:
        template = Path(__file__).with_name(self.template)
        config = self.folder / self.template
        values = {
            "folder": str(self.folder),
            "port": str(self.port),
            "certificate": str(self.certificate),
        }
        config.write_text(Template(template.read_text()).substitute(values, **self.settings()))
        return config

    def _wait_for_port(self) -> None:
        assert self._process is not None
        until = time.monotonic() + _STARTING
        while self._process.poll() is None and time.monotonic() < until:
            try:
                socket.create_connection(("127.0.0.1", self.port), 1).close()
                return
            except OSError:
                time.sleep(0.05)
        said = (self.folder / "output").read_text(errors="replace")
        raise ServerFailed(f"{self.name} does not listen:\n{said[-2000:]}")

    def _stop(self) -> None:
        assert self._process is not None
        self._process.terminate()
        try:
            self._process.wait(_STOPPING)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        try:
            os.killpg(self._process.pid, signal.SIGKILL)  # children that outlived it
        except ProcessLookupError:
            pass
        self._process = None
