"""How long the last page of an archive takes, with a thousand messages in it and a million.

    python -m benchmarks.archive_size

The messages are copies, older and older, of some that were really sent, made in the database
while the server is down.
"""

import argparse
import contextlib
import sqlite3
import statistics
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from benchmarks import certificate, generator, machine
from benchmarks.compare import BUILD
from benchmarks.generator import Generator
from benchmarks.report import number
from benchmarks.servers import MongooseTW

_SENT = 20
_SIZES = (1_000, 1_000_000)
_AGE = 1 << 8  # one microsecond in an id
_COPIES = """
    WITH RECURSIVE copy(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM copy WHERE n < :copies)
    INSERT INTO {table} ({columns})
    SELECT {values} FROM {table} AS original CROSS JOIN copy
    WHERE original.id >= :oldest"""
_TABLES = {
    "message_log": ["id", "sender", "recipient", "flags", "holder", "from_jid", "to_jid", "stanza"],
    "message_archive": ["owner", "id", "remote"],
}


def fill(database: Path, size: int) -> None:
    """Copies the messages of two archives until each has ``size``."""
    with contextlib.closing(sqlite3.connect(database)) as connection:
        count, oldest, newest = connection.execute(
            "SELECT count(*) / 2, min(id), max(id) FROM message_archive"
        ).fetchone()
        if not count:
            raise LookupError("the archives are empty: nothing was indexed yet")
        span = newest - oldest + _AGE
        values = {"copies": size // count - 1, "oldest": oldest}
        for table, columns in _TABLES.items():
            chosen = [f"id - n * {span}" if name == "id" else name for name in columns]
            statement = _COPIES.format(
                table=table, columns=", ".join(columns), values=", ".join(chosen)
            )
            connection.execute(statement, values)
        connection.commit()
        now = connection.execute("SELECT count(*) / 2 FROM message_archive").fetchone()[0]
        assert now == size // count * count, f"{now} messages instead of {size}"


def measure(folder: Path, size: int, seconds: float) -> list[float]:
    """Milliseconds of the last page, of several runs."""
    pem = certificate.make(folder / "certificate.pem")
    server = MongooseTW(folder, pem, archive=True)
    load = Generator(generator.build(BUILD), folder / "keys")
    arguments = ["mam", "-n", "2", "-c", "1", "-T", str(seconds), "--warm", "1"]
    with server.running():
        load.make_accounts(server.port, 2)
        load.run([*arguments, "--fill", str(_SENT)], server.port)
    fill(next(server.data.glob("*.sqlite")), size)
    with server.running():
        runs = [load.run([*arguments, "--fill", "1"], server.port) for _ in range(3)]
    return [float(run["lat_p50_ms"]) for run in runs]


def main(arguments: Sequence[str] | None = None) -> int:
    """Prints the median for each size, and their ratio."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.archive_size",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--seconds", type=float, default=3)
    options = parser.parse_args(arguments)
    machine.require([*generator.PACKAGES, *MongooseTW.packages])
    medians = []
    for size in _SIZES:
        with tempfile.TemporaryDirectory(prefix="mongoosetw-bench-") as name:
            medians.append(statistics.median(measure(Path(name), size, options.seconds)))
        print(f"last page of {size:9,} messages: {number(medians[-1])} ms")
    print(f"ratio: {medians[1] / medians[0]:.2f}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
