"""Workers of one machine are killed again and again, and started again by their supervisor."""

import os
import random
import signal
import time
from contextlib import suppress
from typing import Any, ClassVar

from mongoosetw.ctl import Failed, ask
from tests.integration.crash.harness import ARCHIVE, Node, Result, chatting


class Workers(Node):
    """A supervisor and its workers.

    :ivar kills: how often a worker was killed.
    """

    patient: ClassVar[bool] = True  # else it gives one up that has died six times within a minute

    def __init__(self, database: str = "", archive: str = ARCHIVE, workers: int = 2) -> None:
        super().__init__(database, archive, workers)
        self.kills = 0

    def status(self) -> list[dict[str, Any]]:
        """What the supervisor says of its workers; nothing while it does not answer."""
        try:
            answer = ask(self.folder / "data" / "mongoosectl.sock", "status", {})
        except Failed:
            return []
        workers: list[dict[str, Any]] = answer["workers"]
        return workers

    @property
    def complete(self) -> bool:
        """Whether all workers run."""
        return [worker["state"] for worker in self.status()] == ["running"] * self.workers

    def start(self) -> None:
        """Starts all and waits until they run."""
        super().start()
        until = time.monotonic() + 60
        while not self.complete:
            if time.monotonic() > until:
                raise RuntimeError(self.output())
            time.sleep(0.1)

    def kill_one(self, chance: random.Random) -> None:
        """Kills one of the workers that run, unless it is the last one."""
        pids = [worker["pid"] for worker in self.status() if worker["state"] == "running"]
        if len(pids) > 1:
            with suppress(ProcessLookupError):  # it has just been taken for running
                os.kill(chance.choice(pids), signal.SIGKILL)
                self.kills += 1


def worker_runs(server: Workers, kills: int, seed: int, *, pairs: int = 8) -> Result:
    """Kills one worker after the other while clients chat.

    Connections are cut at random, too. One worker is left each time: what all of them had on
    its way when they died comes late, after up to half a minute, and so out of order.
    """
    chance = random.Random(seed)
    with chatting(server, pairs) as chat:
        while server.kills < kills:
            if server.workers == 2 or chance.random() < 0.8:
                chat.gather(lambda: server.complete)
            chat.chat(chance.uniform(0.02, 0.8))
            if chance.random() < 0.5:
                chat.drop_some(chance)
                chat.chat(chance.uniform(0.0, 0.3))
            server.kill_one(chance)
        return chat.conclude()
