"""ejabberd: without its control script and without distribution, both cores in use."""

from pathlib import Path
from typing import ClassVar

from benchmarks import machine
from benchmarks.servers.base import Server, ServerFailed
from benchmarks.servers.mongoosetw import MongooseTW


class Ejabberd(Server):
    """ejabberd with its archive in mnesia."""

    name = "ejabberd"
    title = "ejabberd"
    template = "ejabberd.yml"
    packages: ClassVar[tuple[str, ...]] = ("ejabberd",)
    archive_storage = "mnesia"

    @classmethod
    def version(cls) -> str:
        """The package's, and its Erlang's."""
        return f"{machine.version('ejabberd')}, Erlang/OTP {machine.version('erlang-base')}"

    def settings(self) -> dict[str, str]:
        """The modules that depend on what is measured."""
        modules = ["  mod_stream_mgmt: {}\n"] if MongooseTW.has_stream_management() else []
        if self.archive:
            options = f"default: always, assume_mam_usage: true, db_type: {self.archive_storage}"
            modules.append(f"  mod_mam: {{{options}}}\n")
        return {"further": "".join(modules)}

    def command(self, config: Path) -> list[str]:
        """The emulator with the flags that ejabberdctl gives it; it reads no terminal."""
        mnesia = f'"{self.data}"'
        return ["erl", "+K", "true", "+P", "250000", "-env", "ERL_CRASH_DUMP_BYTES", "0",
                "-mnesia", "dir", mnesia, "-noinput", "-s", "ejabberd"]  # fmt: skip

    def environment(self, config: Path) -> dict[str, str]:
        """Where its files are.

        :raises ServerFailed: ejabberd's own code is not where Debian puts it.
        """
        libraries = sorted(Path("/usr/lib").glob("*/ejabberd-*"))
        if not libraries:
            raise ServerFailed("ejabberd is not installed below /usr/lib")
        return {
            "EJABBERD_CONFIG_PATH": str(config),
            "EJABBERD_LOG_PATH": str(self.folder / "ejabberd.log"),
            "ERL_LIBS": str(libraries[0].parent),
            "ERL_MAX_PORTS": "65536",
            "ERL_MAX_ETS_TABLES": "1400",
            "HOME": str(self.folder),
        }


class EjabberdSQLite(Ejabberd):
    """ejabberd with its archive in SQLite."""

    name = "ejabberd-sqlite"
    title = "ejabberd, SQLite"
    groups = ("archive",)
    packages = ("ejabberd", "erlang-p1-sqlite3")
    archive_storage = "sql"
