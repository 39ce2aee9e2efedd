"""Prosody: tuned by what an administrator can set in two lines, and as packaged."""

from pathlib import Path
from typing import ClassVar

from benchmarks import machine
from benchmarks.servers.base import Server
from benchmarks.servers.mongoosetw import MongooseTW


class Prosody(Server):
    """Prosody with a generational garbage collector and without Nagle's algorithm."""

    name = "prosody"
    title = "Prosody, tuned"
    template = "prosody.cfg.lua"
    packages: ClassVar[tuple[str, ...]] = ("prosody",)
    tuned = True
    archive_storage = ""

    @classmethod
    def version(cls) -> str:
        """The package's, and its Lua's."""
        return f"{machine.version('prosody')}, Lua {machine.version('lua5.4')}"

    def settings(self) -> dict[str, str]:
        """The modules that depend on what is measured, and the two lines."""
        modules = ['"smacks";'] if MongooseTW.has_stream_management() else []
        modules += ['"mam";'] if self.archive else []
        return {
            "further": " ".join(modules),
            "network": "; nagle = false" if self.tuned else "",
            "collection": 'gc = { mode = "generational" }' if self.tuned else "",
            "archive_storage": self.archive_storage,
        }

    def command(self, config: Path) -> list[str]:
        """In the foreground."""
        return ["prosody", "-F", "--config", str(config)]


class ProsodyAsPackaged(Prosody):
    """Prosody with the collector's default, which is slow and saves memory."""

    name = "prosody-packaged"
    title = "Prosody, as packaged"
    groups = ("memory",)
    tuned = False


class ProsodySQLite(Prosody):
    """Tuned Prosody with its archive in SQLite."""

    name = "prosody-sqlite"
    title = "Prosody, SQLite"
    groups = ("archive",)
    packages = ("prosody", "lua-dbi-sqlite3")
    archive_storage = 'archive = "sql"'
