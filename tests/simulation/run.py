"""Plays seeds, and tells what was wrong."""

import logging
from collections.abc import Callable, Iterable
from random import Random
from traceback import format_exc
from typing import Final
from unittest.mock import patch

from tests.simulation.checks import GROUPS
from tests.simulation.plan import Plan
from tests.simulation.world import World

ALL: Final = tuple(GROUPS)


class _Errors(logging.Handler):
    """What the servers log as errors is a problem."""

    def __init__(self, world: World) -> None:
        super().__init__(logging.ERROR)
        self._world = world

    def emit(self, record: logging.LogRecord) -> None:
        self._world.problem(f"a server logs {self.format(record)}")


def play(
    plan: Plan,
    groups: Iterable[str] = ALL,
    told: Callable[[str], object] = lambda event: None,
) -> World:
    """Plays a plan; what is wrong is in the world's ``problems``.

    :param told: each event as it happens.
    """
    # What is drawn for the database decides in which order rows stand there.
    with patch("secrets.token_bytes", Random(plan.seed).randbytes):
        world = World(plan, told)
        handler = _Errors(world)
        logging.getLogger("mongoosetw").addHandler(handler)
        try:
            _play(world, groups)
        except Exception:  # boundary: whatever a server raises, further seeds are played
            world.problem(format_exc())
        finally:
            logging.getLogger("mongoosetw").removeHandler(handler)
            world.cluster.close()
    return world


def _play(world: World, groups: Iterable[str]) -> None:
    world.play()
    for group in groups:
        if group == "messages":
            world.collect()
        world.problems += GROUPS[group](world)
    if world.leaving:
        world.problems.append(f"{', '.join(world.leaving)} did not end")


def report(world: World) -> str:
    """What was wrong, what happened before, and how to see it again."""
    problems = world.problems[:20]
    return "\n".join(
        [
            f"{world.plan}",
            "The last events:",
            *world.events,
            f"{len(world.problems)} problems:",
            *problems,
            f"Again: {_command(world.plan)}",
        ]
    )


def _command(plan: Plan) -> str:
    """What plays a plan again."""
    long = "" if plan == Plan.of(plan.seed, redis=plan.redis) else " SIMULATE_LONG=1"
    redis = " SIMULATE_REDIS=1" if plan.redis else ""
    return f"SIMULATE_SEED={plan.seed}{long}{redis} make simulate"
