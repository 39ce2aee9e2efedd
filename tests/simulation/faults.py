"""What goes wrong in a cluster."""

from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # types only
    from tests.simulation.world import World


class Faults:
    """Makes the faults of a plan happen, and undoes them after a while."""

    def __init__(self, world: "World") -> None:
        self._world = world
        self._random = world.random
        self._cluster = world.cluster
        self._started = world.plan.nodes
        self._over = False
        self._kinds: dict[str, Callable[[], None]] = {
            "cut": self._cut,
            "one-way cut": self._cut_one_way,
            "partition": self._partition,
            "slow": self._slow,
            "kill": self._kill,
            "power": self._power,
            "join": self._join,
            "leave": self._leave,
            "freeze": self._freeze,
            "redis empty": self._empty_redis,
            "redis away": self._stop_redis,
            "redis frozen": self._freeze_redis,
            "redis cut": self._cut_redis,
        }

    def begin(self) -> None:
        """From now on things go wrong."""
        if self._world.plan.faults:
            self._next()

    def _next(self) -> None:
        self._later(self._random.expovariate(1 / self._world.plan.pause), self._happen)

    def _later(self, delay: float, function: Callable[..., object], *args: object) -> None:
        def unless_over() -> None:
            if not self._over:
                function(*args)

        self._world.clock.callLater(delay, unless_over)

    def _happen(self) -> None:
        self._kinds[self._random.choice(self._world.plan.faults)]()
        self._next()

    def end(self) -> None:
        """Everything is whole again, as far as it can be."""
        self._over = True
        self._cluster.heal()
        self._cluster.network.hurry()
        self._start_redis()

    # -- wires

    def _two(self) -> tuple[str, str] | None:
        names = list(self._cluster.nodes)
        if len(names) < 2:
            return None
        a, b = self._random.sample(names, 2)
        return a, b

    def _cut(self, *, one_way: bool = False) -> None:
        pair = self._two()
        if pair is not None:
            a, b = pair
            self._world.note(f"{a} -> {b} is cut" if one_way else f"{a} <-> {b} is cut")
            self._cluster.network.cut(a, b, one_way=one_way)
            self._later(self._random.uniform(0.5, 30.0), self._heal, a, b)

    def _cut_one_way(self) -> None:
        self._cut(one_way=True)

    def _heal(self, a: str, b: str) -> None:
        self._world.note(f"{a} <-> {b} is healed")
        self._cluster.network.heal(a, b)

    def _partition(self) -> None:
        names = list(self._cluster.nodes)
        part = self._random.sample(names, len(names) // 2)
        pairs = [(a, b) for a in part for b in names if b not in part]
        self._world.note(f"{', '.join(part)} are cut off")
        for a, b in pairs:
            self._cluster.network.cut(a, b)
        self._later(self._random.uniform(5.0, 30.0), self._rejoin, pairs)

    def _rejoin(self, pairs: list[tuple[str, str]]) -> None:
        self._world.note("they are no longer cut off")
        for a, b in pairs:
            self._cluster.network.heal(a, b)

    def _slow(self) -> None:
        pair = self._two()
        if pair is not None:
            wire = self._cluster.network.wire(*pair)
            wire.slower = self._random.uniform(0.1, 5.0)
            self._world.note(f"{pair[0]} -> {pair[1]} takes {wire.slower:.1f} seconds")
            self._later(self._random.uniform(1.0, 20.0), setattr, wire, "slower", 0.0)

    # -- nodes

    def _some_node(self) -> str | None:
        """A node that others can do without."""
        names = [node.name for node in self._world.usable()]
        return self._random.choice(names) if len(names) > 1 else None

    def _kill(self, *, power: bool = False) -> None:
        name = self._some_node()
        if name is not None:
            self._world.kill_node(name, power=power)
            if self._random.random() < 0.8:
                self._later(self._random.choice((0.3, 5.0, 20.0)), self._start_again, name)

    def _power(self) -> None:
        self._kill(power=True)

    def _start_again(self, name: str) -> None:
        if name not in self._cluster.nodes and name not in self._world.leaving:
            self._world.start_node(name)

    def _join(self) -> None:
        if self._started < 2 * self._world.plan.nodes:
            self._world.start_node(f"n{self._started}")
            self._started += 1

    def _leave(self) -> None:
        name = self._some_node()
        if name is not None:
            self._world.leave_node(name)
            self._later(self._random.uniform(2.0, 20.0), self._start_again, name)

    def _freeze(self) -> None:
        name = self._some_node()
        if name is not None:
            self._world.note(f"{name} freezes")
            self._cluster.freeze(name)
            self._later(self._random.choice((1.0, 8.0, 25.0)), self._thaw, name)

    def _thaw(self, name: str) -> None:
        node = self._cluster.nodes.get(name)
        if node is not None and node.clock.frozen:
            self._world.note(f"{name} thaws")
            self._cluster.thaw(name)

    # -- Redis

    def _empty_redis(self) -> None:
        self._world.note("Redis is started again, empty")
        self._cluster.redis.stop()
        self._cluster.redis.start()

    def _stop_redis(self) -> None:
        if self._cluster.redis.running:
            self._world.note("Redis is stopped")
            self._cluster.redis.stop()
            self._later(self._random.uniform(0.5, 20.0), self._start_redis)

    def _freeze_redis(self) -> None:
        self._world.note("Redis freezes")
        self._cluster.redis.frozen = True
        self._later(self._random.uniform(0.5, 10.0), self._thaw_redis)

    def _thaw_redis(self) -> None:
        self._cluster.redis.frozen = False

    def _cut_redis(self) -> None:
        """Some nodes lose their connection; nothing else happens."""
        self._world.note("some connections to Redis are lost")
        for client in self._cluster.redis.clients:
            if self._random.random() < 0.5:
                client.lose()

    def _start_redis(self) -> None:
        self._thaw_redis()
        if not self._cluster.redis.running:
            self._world.note("Redis is started")
            self._cluster.redis.start(empty=self._random.random() < 0.5)
