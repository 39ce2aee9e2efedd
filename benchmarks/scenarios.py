"""What is measured, and what is to be reached."""

from collections.abc import Callable
from dataclasses import dataclass

from benchmarks.generator import Report

PAIRS = 200
FRIENDS = 20
PRESENCE_USERS = 200
Arguments = Callable[[float], list[str]]


@dataclass(frozen=True)
class Measure:
    """One figure of the generator's report.

    :ivar per_second: more is better; otherwise less is.
    """

    key: str
    unit: str
    per_second: bool = True

    def better(self, values: list[float]) -> float:
        """The best of several servers' figures."""
        return max(values) if self.per_second else min(values)

    def reached(self, ratio: float, target: float) -> bool:
        """Whether a ratio to the better peer is good enough."""
        return ratio >= target if self.per_second else ratio <= target


@dataclass(frozen=True)
class Scenario:
    """One test.

    :ivar group: ``core``, ``memory`` or ``archive``.
    :ivar users: accounts it needs.
    :ivar arguments: of the generator, for a measured window of so many seconds.
    :ivar target: wanted ratio to the better peer.
    :ivar limit: wanted figure, where no peer's can be compared.
    """

    name: str
    title: str
    group: str
    measure: Measure
    users: int
    arguments: Arguments
    target: float | None = None
    limit: float | None = None

    def figure(self, report: Report) -> float | None:
        """What is compared, out of one run's report; None where nothing happened in a run."""
        return float(report.get(self.measure.key, 0)) or None


LOGINS = Measure("logins_per_cpu_s", "logins per CPU-s")
DELIVERIES = Measure("deliveries_per_cpu_s", "deliveries per CPU-s")
PAGES = Measure("queries_per_cpu_s", "pages per CPU-s")
LATENCY = Measure("lat_p99_ms", "ms", per_second=False)
ACKS = Measure("ack_p99_ms", "ms", per_second=False)
MEMORY = Measure("bytes_per_conn_held", "bytes a session", per_second=False)


def _login(count: int, *more: str) -> Arguments:
    return lambda seconds: ["login", "-n", str(count), "-c", "32", *more]


def _chat(*more: str) -> Arguments:
    pairs = ["chat", "--pairs", str(PAIRS), "--warm", "3"]
    return lambda seconds: [*pairs, "-T", str(seconds), *more]


def _presence(seconds: float) -> list[str]:
    load = ["-n", str(PRESENCE_USERS), "--friends", str(FRIENDS), "--preloaded", "-W", "32"]
    return ["presence", *load, "-T", str(seconds)]


def _archive_pages(seconds: float) -> list[str]:
    return ["mam", "-n", "40", "--fill", "100", "-c", "8", "-T", str(seconds)]


def _idle(count: int, *more: str) -> Arguments:
    return lambda seconds: ["idle", "-n", str(count), "-T", str(2 * seconds), *more]


def rosters() -> list[str]:
    """The generator's arguments that make the friends for the scenario ``presence``."""
    friends = ["-n", str(PRESENCE_USERS), "--friends", str(FRIENDS)]
    return ["presence", *friends, "-W", "4", "-T", "1"]


def _poisson(rate: int) -> list[str]:
    return ["--rate", str(rate), "--poisson"]


SCENARIOS: dict[str, Scenario] = {
    scenario.name: scenario
    for scenario in (
        Scenario(
            "login-plain", "SCRAM-SHA-1 logins", "core", LOGINS, 1000, _login(1000), target=1.0
        ),
        Scenario(
            "login-tls", "the same with TLS", "core", LOGINS, 500, _login(500, "--tls"), target=1.0
        ),
        Scenario(
            "chat-sat", "chat, 200 pairs, 4 messages in flight each", "core", DELIVERIES,
            2 * PAIRS, _chat("-W", "4"), target=2.0,
        ),
        Scenario(
            "chat-sat-tls", "the same with TLS", "core", DELIVERIES,
            2 * PAIRS, _chat("-W", "4", "--tls"), target=2.0,
        ),
        Scenario(
            "chat-sm", "chat, stream management on", "core", DELIVERIES,
            2 * PAIRS, _chat("-W", "4", "--sm", "--sm-req", "5"),
        ),
        Scenario(
            "chat-1000", "p99 of the delivery at 1 000 messages/s", "core", LATENCY,
            2 * PAIRS, _chat(*_poisson(1000)),
        ),
        Scenario(
            "chat-3000", "p99 of the delivery at 3 000 messages/s", "core", LATENCY,
            2 * PAIRS, _chat(*_poisson(3000)), target=1.5,
        ),
        Scenario(
            "presence", "presence, 200 users with 20 friends each", "core", DELIVERIES,
            PRESENCE_USERS, _presence, target=1.0,
        ),
        Scenario(
            "idle-plain", "memory of 4 000 idle sessions", "memory", MEMORY,
            4000, _idle(4000), target=0.7,
        ),
        Scenario(
            "idle-tls", "memory of 3 000 idle sessions with TLS", "memory", MEMORY,
            3000, _idle(3000, "--tls"), target=0.9,
        ),
        Scenario(
            "archive-chat", "chat, archived", "archive", DELIVERIES,
            2 * PAIRS, _chat("-W", "4"), target=4.0,
        ),
        Scenario(
            "archive-sat", "chat, archived, stream management on", "archive", DELIVERIES,
            2 * PAIRS, _chat("-W", "4", "--sm", "--sm-req", "5"), target=4.0,
        ),
        Scenario(
            "archive-ack", "p99 of the ack at 1 000 messages/s, archived", "archive", ACKS,
            2 * PAIRS, _chat(*_poisson(1000), "--sm", "--sm-req", "1"), limit=15.0,
        ),
        Scenario(
            "archive-1000", "p99 of the delivery at 1 000 messages/s, archived", "archive", LATENCY,
            2 * PAIRS, _chat(*_poisson(1000), "--sm", "--sm-req", "5"),
        ),
        Scenario(
            "archive-pages", "archive, last page of 50", "archive", PAGES,
            40, _archive_pages, target=3.0,
        ),
    )
}  # fmt: skip
