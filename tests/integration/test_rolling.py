"""Chat over real sockets while all workers of a machine are replaced."""

import random
import time

from tests.integration.machine import Machine, MachineTestCase
from tests.integration.talker import Talker

MODULES = "[modules.mod_offline]\n[modules.mod_stream_management]\n"


class RollingChat(MachineTestCase):
    """Two workers, and clients that talk all the time."""

    def check_rolling_restart(self) -> None:
        """Has them talk before, during and after a rolling restart."""
        alpha = self.machine(cluster="drain_rate = 20", extra=MODULES)
        self.start(alpha)
        talkers = self.gather(alpha, 8)
        self.talk(talkers, 2)
        alpha.ctl("cluster restart")
        deadline = time.monotonic() + 90
        while not alpha.logged("rolling_ends"):
            self.talk(talkers, 0.5)
            self.assertLess(time.monotonic(), deadline)
        self.talk(talkers, 2)
        self.calm_down(talkers)
        for talker in talkers:
            self.check_books(talker, talkers)
        self.assertGreaterEqual(sum(talker.resumed for talker in talkers), len(talkers))
        self.check_end(alpha)

    def check_end(self, machine: Machine) -> None:
        """All stop at the same time, where none can leave sessions to others."""
        assert machine.process is not None
        machine.process.terminate()
        self.assertEqual(machine.process.wait(25), 0)

    def gather(self, machine: Machine, number: int) -> list[Talker]:
        """Logs all in; the kernel spreads them over the workers."""
        talkers = []
        for n in range(number):
            machine.ctl("account register", jid=f"u{n}@localhost", password="secret")
            talker = Talker(machine.port, f"u{n}")
            self.addCleanup(talker.end)
            talker.begin()
            talkers.append(talker)
        return talkers

    def talk(self, talkers: list[Talker], seconds: float) -> None:
        """All say something to one another."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            one, other = random.sample(talkers, 2)
            one.say(other)
            one.work()
            other.work()
            time.sleep(0.002)

    def calm_down(self, talkers: list[Talker]) -> None:
        """Everything that is on its way arrives."""
        end = time.monotonic() + 30
        while time.monotonic() < end:
            for talker in talkers:
                talker.work()
            if all(self.is_complete(talker, talkers) for talker in talkers):
                return
            time.sleep(0.1)

    def is_complete(self, talker: Talker, talkers: list[Talker]) -> bool:
        """Whether all that was sent to somebody has arrived."""
        others = [other for other in talkers if other is not talker]
        return all(talker.heard.get(o.jid, []) == o.sent_to(talker) for o in others)

    def check_books(self, talker: Talker, talkers: list[Talker]) -> None:
        """Nothing is lost, out of order, or doubled so that a client could not tell."""
        for other in talkers:
            if other is not talker:
                self.assertEqual(talker.heard.get(other.jid, []), other.sent_to(talker))
        self.assertEqual(talker.doubled, [])
        self.assertEqual(talker.begun, 1)
        self.assertLessEqual(talker.resumed, 2)


class RollingChatTests(RollingChat):
    """Workers that share an SQLite file."""

    def test_rolling_restart(self) -> None:
        """Nothing is lost or out of order, and every session goes on, twice elsewhere at most."""
        self.check_rolling_restart()


class PostgreSQLRollingChatTests(RollingChat):
    """Workers that share PostgreSQL."""

    postgresql = True

    def test_rolling_restart(self) -> None:
        """The same on PostgreSQL."""
        self.check_rolling_restart()
