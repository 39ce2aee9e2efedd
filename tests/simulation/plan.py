"""What a seed stands for: how large a cluster, for how long, and what goes wrong in it."""

from dataclasses import dataclass
from random import Random

KINDS = ("cut", "one-way cut", "partition", "slow", "kill", "power", "join", "leave", "freeze")
REDIS_KINDS = ("redis empty", "redis away", "redis frozen", "redis cut")


@dataclass(frozen=True)
class Plan:
    """One run.

    :ivar seconds: for which users are busy and faults happen.
    :ivar pause: mean seconds between two faults.
    :ivar activity: actions of a device, a second.
    :ivar latency: of the wires between nodes, least and longest seconds.
    :ivar skewed: the nodes' clocks differ.
    :ivar redis: sessions are looked up in Redis, which takes its time, and may be away.
    """

    seed: int
    nodes: int
    users: int
    seconds: float
    faults: tuple[str, ...]
    pause: float
    activity: float
    latency: tuple[float, float]
    skewed: bool
    redis: bool

    @staticmethod
    def of(seed: int, *, long: bool = False, redis: bool = False) -> "Plan":
        """The plan of a seed; every tenth one is calm, now and then one is large.

        :param long: many more users, and up to 50 nodes.
        """
        random = Random(seed)
        large = random.random() < (0.1 if long else 0.04)
        nodes = random.randint(3, 6)
        if large:
            nodes = random.randint(12, 50 if long else 16)
        users = random.randint(40, 400) if long and not large else random.randint(5, 12)
        if long and random.random() < 0.02:
            users = random.randint(1000, 3000)
        kinds = tuple(random.sample(KINDS, random.randint(1, len(KINDS))))
        if redis:
            kinds += REDIS_KINDS
        return Plan(
            seed=seed,
            nodes=nodes,
            users=users,
            seconds=random.uniform(40.0, 80.0),
            faults=() if random.random() < 0.1 else kinds,
            pause=random.choice((3.0, 8.0, 15.0)),
            activity=random.choice((0.1, 0.2, 0.5)),
            latency=random.choice(((0.0, 0.0), (0.0005, 0.005), (0.001, 0.3))),
            skewed=random.random() < 0.5,
            redis=redis,
        )
