"""Servers that are there at once: forked from a process that has imported everything.

Where a server is killed hundreds of times, most of a run would be Python's imports otherwise. The
process that is forked has no reactor, which no two may share.
"""

import os
import sys
from multiprocessing import get_context
from multiprocessing.context import ForkServerProcess
from pathlib import Path

from twisted.scripts.twistd import run

from mongoosetw.cluster import worker_process

_IMPORTED = [
    "mongoosetw.tap",
    "mongoosetw.node",
    "mongoosetw.cluster.supervisor",
    "modules.mod_carboncopy",
    "modules.mod_mam",
    "modules.mod_offline",
    "modules.mod_presence",
    "modules.mod_stream_management",
    "psycopg2",
    "sqlalchemy.dialects.postgresql.psycopg2",
    "sqlalchemy.dialects.sqlite.pysqlite",
    "twisted.scripts.twistd",
]


def launch(folder: Path, config: Path, *, patient: bool = False) -> ForkServerProcess:
    """Starts a server.

    :param folder: its working directory, where ``log`` gets what it says.
    :param patient: a supervisor that never gives up a worker that is killed time and again.
    """
    context = get_context("forkserver")
    context.set_forkserver_preload(_IMPORTED)
    process = context.Process(target=_serve, args=(folder, config, patient), daemon=True)
    process.start()
    return process


def _serve(folder: Path, config: Path, patient: bool) -> None:
    os.chdir(folder)
    log = os.open("log", os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    os.dup2(log, 1)
    os.dup2(log, 2)
    os.close(log)
    if patient:
        vars(worker_process)["PROVEN"] = 0.0
    sys.argv = ["twistd", "-n", "--pidfile=", "mongoose", "--config", str(config)]
    run()
