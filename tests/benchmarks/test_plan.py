"""What `make bench` and `make bench-memory` are asked to do."""

import io
from contextlib import redirect_stderr

from twisted.trial.unittest import SynchronousTestCase

from benchmarks import memory, plan
from benchmarks.scenarios import SCENARIOS


class PlanTests(SynchronousTestCase):
    """The command line."""

    def test_everything(self) -> None:
        """Without a choice all scenarios run on our server, but those of the archive."""
        chosen = plan.parse([])
        names = {s.name for s in chosen.scenarios}
        self.assertEqual(names, {s.name for s in SCENARIOS.values() if s.group != "archive"})
        for scenario in chosen.scenarios:
            self.assertIn("mongoosetw", chosen.servers_of(scenario))

    def test_packaged_prosody_is_for_memory(self) -> None:
        """Prosody as packaged is compared where it is the better Prosody."""
        chosen = plan.parse([])
        taking_part = {
            s.group for s in chosen.scenarios if "prosody-packaged" in chosen.servers_of(s)
        }
        self.assertEqual(taking_part, {"memory"})

    def test_choice(self) -> None:
        """Servers and scenarios that are named run, and only as many accounts are made."""
        chosen = plan.parse(["--servers", "mongoosetw prosody", "--tests", "chat-sat"])
        self.assertEqual(chosen.servers_of(chosen.scenarios[0]), ["mongoosetw", "prosody"])
        self.assertEqual(chosen.users_of("prosody", archive=False), 400)

    def test_unknown_names(self) -> None:
        """A scenario that does not exist is refused by its name."""
        said = io.StringIO()
        with redirect_stderr(said):
            self.assertRaises(SystemExit, plan.parse, ["--tests", "chat-sat nonsense"])
        self.assertIn("nonsense", said.getvalue())


class SlopeTests(SynchronousTestCase):
    """The growth of memory."""

    def test_steady_growth(self) -> None:
        """A leak of 10 bytes a login is 10 000 bytes a thousand logins."""
        taken = [(logins, 5_000_000 + 10 * logins, 0) for logins in range(0, 20_000, 1000)]
        self.assertAlmostEqual(memory.slope(taken, 1), 10_000)

    def test_warming_up_is_no_leak(self) -> None:
        """What the first passes take is not counted."""
        taken = [(logins, min(logins, 4000) * 1000, 0) for logins in range(0, 20_000, 1000)]
        self.assertAlmostEqual(memory.slope(taken, 1), 0)
