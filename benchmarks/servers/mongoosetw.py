"""Our server, as ``twistd mongoose`` runs it: one node process, SQLite."""

import importlib.metadata
import importlib.util
import platform
import ssl
import subprocess
import sys
from pathlib import Path

from benchmarks.servers.base import Server

ROOT = Path(__file__).resolve().parents[2]
_ARCHIVE = "[modules.mod_mam]\n[modules.mod_mam.pm]\n"
_STREAM_MANAGEMENT = "[modules.mod_stream_management]\n"


class MongooseTW(Server):
    """mongoosetw."""

    name = "mongoosetw"
    title = "mongoosetw"
    template = "mongoosetw.toml"

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
        return {"further": further + (_ARCHIVE if self.archive else "")}

    def command(self, config: Path) -> list[str]:
        """Twisted's daemon runner in the foreground, from the environment that runs this."""
        twistd = Path(sys.executable).with_name("twistd")
        return [str(twistd), "-n", "--pidfile=", "mongoose", "--config", str(config)]
