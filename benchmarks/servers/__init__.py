"""The servers that are measured: ours and its peers."""

from benchmarks.servers.base import Server, ServerFailed
from benchmarks.servers.ejabberd import Ejabberd, EjabberdSQLite
from benchmarks.servers.mongoosetw import MongooseTW, MongooseTWPostgreSQL, MongooseTWWorkers
from benchmarks.servers.prosody import Prosody, ProsodyAsPackaged, ProsodySQLite

SERVERS: dict[str, type[Server]] = {
    kind.name: kind
    for kind in (
        MongooseTW, MongooseTWWorkers, MongooseTWPostgreSQL,
        Prosody, ProsodyAsPackaged, ProsodySQLite,
        Ejabberd, EjabberdSQLite,
    )
}  # fmt: skip

__all__ = [
    "SERVERS",
    "MongooseTW",
    "MongooseTWPostgreSQL",
    "MongooseTWWorkers",
    "Server",
    "ServerFailed",
]
