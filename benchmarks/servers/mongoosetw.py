"""Our server, as ``twistd mongoose`` runs it: one node process, SQLite."""

import importlib.metadata
import importlib.util
import platform
import ssl
import subprocess
import sys
from functools import cached_property
from pathlib import Path
from typing import ClassVar

from benchmarks import machine
from benchmarks.servers.base import Server
from mongoosetw.testing.postgres import PostgreSQL

ROOT = Path(__file__).resolve().parents[2]
_ARCHIVE = "[modules.mod_mam]\n[modules.mod_mam.pm]\n"
_STREAM_MANAGEMENT = "[modules.mod_stream_management]\n"


class MongooseTW(Server):
    """mongoosetw."""

    name = "mongoosetw"
    title = "mongoosetw"
    template = "mongoosetw.toml"
    workers: ClassVar[int] = 1

    @staticmethod
    def has_archive() -> bool:
        """Whether there is a mod_mam to measure."""
        return importlib.util.find_spec("modules.mod_mam") is not None

    @staticmethod
    def has_stream_management() -> bool:
        """Whether there is a mod_stream_management; the peers have theirs on when there is."""
        return importlib.util.find_spec("modules.mod_stream_management") is not None

    @classmethod
    def version(cls) -> str:
        """Version and commit, and what it runs on."""
        commit = subprocess.run(
            ["git", "describe", "--always", "--dirty"],
            cwd=ROOT, capture_output=True, text=True, check=False,
        ).stdout.strip()  # fmt: skip
        own, twisted = (importlib.metadata.version(name) for name in ("mongoosetw", "Twisted"))
        tls = " ".join(ssl.OPENSSL_VERSION.split()[:2])
        return (
            f"{own} ({commit or 'no commit'}), "
            f"Python {platform.python_version()}, Twisted {twisted}, {tls}"
        )

    def settings(self) -> dict[str, str]:
        """The modules that depend on what is measured."""
        further = _STREAM_MANAGEMENT if self.has_stream_management() else ""
        further += _ARCHIVE if self.archive else ""
        return {"further": further, "workers": str(self.workers)}

    def command(self, config: Path) -> list[str]:
        """Twisted's daemon runner in the foreground, from the environment that runs this."""
        twistd = Path(sys.executable).with_name("twistd")
        return [str(twistd), "-n", "--pidfile=", "mongoose", "--config", str(config)]


class MongooseTWWorkers(MongooseTW):
    """mongoosetw on two cores: a client is on one node or the other as it happens."""

    name = "mongoosetw-workers"
    title = "mongoosetw, 2 workers"
    groups = ()
    workers = 2


class MongooseTWPostgreSQL(MongooseTW):
    """mongoosetw on a PostgreSQL of its own, which syncs to the disk as it does by default."""

    name = "mongoosetw-postgresql"
    title = "mongoosetw, PostgreSQL"
    groups = ("archive",)
    packages: ClassVar[tuple[str, ...]] = ("postgresql",)

    @cached_property
    def _database(self) -> PostgreSQL:
        database = PostgreSQL(settings="")
        database.start()
        database.query("CREATE DATABASE bench")
        return database

    @classmethod
    def version(cls) -> str:
        """The database's; the rest is as above."""
        return f"PostgreSQL {machine.version('postgresql')}"

    def settings(self) -> dict[str, str]:
        """The modules, and the database."""
        lines = self._database.configuration.replace('"postgres"', '"bench"')
        settings = super().settings()
        return {**settings, "further": settings["further"] + lines}

    @property
    def beside(self) -> int:
        """The database."""
        lock = Path(self._database.folder, "data", "postmaster.pid")
        return int(lock.read_text().partition("\n")[0])

    def keep_data(self) -> None:
        """Copies the database as well."""
        super().keep_data()
        self._database.query("CREATE DATABASE kept TEMPLATE bench")

    def restore_data(self) -> None:
        """Puts the database back as well."""
        super().restore_data()
        if self._database.query("SELECT 1 FROM pg_database WHERE datname = 'kept'"):
            self._database.query("DROP DATABASE bench")
            self._database.query("CREATE DATABASE bench TEMPLATE kept")

    def close(self) -> None:
        """Ends the database."""
        self._database.close()
