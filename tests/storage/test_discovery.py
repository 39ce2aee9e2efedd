"""The table by which nodes find one another."""

import random
from typing import Any, cast

from sqlalchemy import Connection, update
from sqlalchemy.exc import IntegrityError
from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from mongoosetw.ids import NODES
from mongoosetw.storage.discovery import (
    SCHEMA,
    Allotted,
    DiscoveryTable,
    NumberLost,
    NumberRefused,
    discovery_nodes,
)
from mongoosetw.testing.storage_contract import OverPostgreSQL, OverSQLite, StorageContract


class DiscoveryTableTests(StorageContract[DiscoveryTable]):
    """Numbers and addresses of nodes."""

    schemas = (SCHEMA,)
    sql = staticmethod(lambda db: DiscoveryTable(db, "tests", 60.0))

    def join(self, name: str, incarnation: int = 1, address: str = "h:1") -> Allotted:
        """A node joins."""
        return self.result(self.store.join(name, incarnation, address))

    def age(self, name: str, seconds: int) -> None:
        """Makes a node's row older."""
        table = discovery_nodes
        older = (
            update(table)
            .where(table.c.node_name == name)
            .values(updated_timestamp=table.c.updated_timestamp - seconds)
        )

        def work(connection: Connection) -> None:
            connection.execute(older)

        self.successResultOf(self.store._db.run("age", work))

    def test_lowest_free_numbers(self) -> None:
        """Nodes get the lowest numbers that no other has."""
        self.assertEqual([self.join(name).number for name in "abc"], [0, 1, 2])

    def test_the_same_after_a_restart(self) -> None:
        """A name keeps its number, and its incarnation grows although the clock went back."""
        self.join("a")
        self.join("b", 500)
        self.assertEqual(self.join("b", 400), Allotted(1, 501))
        self.assertEqual(self.join("b", 600), Allotted(1, 600))

    def test_others(self) -> None:
        """Each refresh tells where the other nodes are."""
        self.join("a", address="h:1")
        self.join("b", address="h:2")
        self.assertEqual(self.result(self.store.refresh("a", 1, "h:1")), {"b": "h:2"})

    def test_who_has_left(self) -> None:
        """A node that has left is not looked for, but nobody gets its number so soon."""
        self.join("a")
        self.join("b")
        self.result(self.store.leave("b", 1))
        self.assertEqual(self.result(self.store.refresh("a", 1, "h:1")), {})
        self.assertEqual(self.join("c").number, 2)

    def test_expiry(self) -> None:
        """A node that shows up no longer is forgotten, and its number is given away."""
        for name in "abc":
            self.join(name)
        self.age("b", 59)
        self.assertEqual(self.join("d").number, 3)
        self.age("b", 3)
        self.assertEqual(set(self.result(self.store.refresh("a", 1, "h:1"))), {"c", "d"})
        self.assertEqual(self.join("e").number, 1)

    def test_own_row_expires_only_for_others(self) -> None:
        """A node that was away for long, while nobody else was there, has its number still."""
        self.join("a")
        self.age("a", 1000)
        self.assertEqual(self.result(self.store.refresh("a", 1, "h:1")), {})
        self.assertEqual(self.join("a", 2).number, 0)

    def test_lost_number(self) -> None:
        """A node whose row another process has, or that has expired, is told so."""
        self.join("a")
        self.join("b")
        self.join("b", 2)
        self.failure(self.store.refresh("b", 1, "h:1"), NumberLost)
        self.age("a", 1000)
        self.result(self.store.refresh("b", 2, "h:1"))
        self.failure(self.store.refresh("a", 1, "h:1"), NumberLost)

    def test_leave_of_an_older_process(self) -> None:
        """A process that ends does not hide the one that has replaced it."""
        self.join("a")
        self.join("b", 1)
        self.join("b", 2)
        self.result(self.store.leave("b", 1))
        self.assertEqual(set(self.result(self.store.refresh("a", 1, "h:1"))), {"b"})

    def test_clusters_apart(self) -> None:
        """Two clusters in one database have numbers of their own, and do not see each other."""
        other = DiscoveryTable(self.store._db, "staging", 60.0)
        self.join("a")
        self.assertEqual(self.result(other.join("x", 1, "h:9")).number, 0)
        self.assertEqual(self.result(self.store.refresh("a", 1, "h:1")), {})
        self.failure(other.join("a", 2, "h:1"), NumberRefused)

    def test_no_number_left(self) -> None:
        """When all numbers are taken a node is refused, in words."""
        for n in range(NODES):
            self.join(f"n{n}")
        self.failure(self.store.join("one more", 1, "h:1"), NumberRefused)

    def test_race(self) -> None:
        """Who finds its number taken at the last moment gets another one."""
        free = self.store._free
        self.join("a")

        def stale(connection: object) -> list[int]:
            self.store._free = free  # type: ignore[method-assign]
            return [0]

        self.store._free = stale  # type: ignore[method-assign]
        self.assertGreater(self.join("b").number, 0)


class SQLiteDiscoveryTableTests(OverSQLite, DiscoveryTableTests):
    """In an SQLite file."""


class PostgreSQLDiscoveryTableTests(OverPostgreSQL, DiscoveryTableTests):
    """In PostgreSQL."""


class CollisionTests(SynchronousTestCase):
    """Nodes whose attempts to get a number coincide."""

    def start_together(self, nodes: int) -> list[int]:
        """The numbers of nodes, each of whose attempts coincides with one of all the others."""
        free = [n for n in range(NODES) if n != 1]
        rounds: list[Deferred[None]] = []

        async def attempt(name: str, incarnation: int, address: str, spread: int) -> Allotted:
            number = random.choice(free[:spread])
            rounds.append(Deferred())
            await rounds[-1]
            if number not in free:
                raise IntegrityError("", None, Exception(number))
            free.remove(number)
            return Allotted(number, incarnation)

        table = DiscoveryTable(cast(Any, None), "tests", 60.0)
        table._join = attempt  # type: ignore[method-assign]
        joined = [Deferred.fromCoroutine(table.join(f"n{n}", 1, "h:1")) for n in range(nodes)]
        while rounds:
            coinciding, rounds[:] = rounds[:], []
            for node in coinciding:
                node.callback(None)
        return sorted(self.successResultOf(allotted).number for allotted in joined)

    def test_few_together(self) -> None:
        """A few nodes that start at the same instant get the lowest numbers."""
        self.assertEqual(self.start_together(3), [0, 2, 3])

    def test_many_together(self) -> None:
        """Many that start at the same instant all get one."""
        self.assertEqual(len(self.start_together(150)), 150)
