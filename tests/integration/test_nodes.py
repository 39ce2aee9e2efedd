"""Clients of several nodes, real ones over real sockets, see one server.

Two workers on SQLite, and three machines with addresses of their own that share PostgreSQL.
Starting them takes seconds, so that each test goes through much.
"""

import os
import signal
from typing import Any

from tests.integration.machine import Machine, MachineTestCase
from tests.integration.network import Switch
from tests.integration.slix import Clients, Friend

MODULES = """
[modules.mod_disco]
[modules.mod_carboncopy]
[modules.mod_blocking]
[modules.mod_offline]
[modules.mod_stream_management]
[modules.mod_mam]
[modules.mod_mam.pm]
"""
USERS = ("alice", "bob", "carol")
ALICE, BOB, CAROL = (f"{user}@localhost" for user in USERS)


class NodesTestCase(MachineTestCase):
    """What users of different nodes notice of one another.

    :ivar places: where clients connect to, to come to a node.
    """

    clients: Clients
    places: dict[str, tuple[str, int]]

    def sessions(self) -> dict[str, str]:
        """The nodes of all sessions by full JID, as an operator is told."""
        raise NotImplementedError

    def friend(self, jid: str, node: str) -> Friend:
        """A client that is logged in on a node."""
        friend = Friend(self.clients, jid)
        self.move(friend, node)
        return friend

    def move(self, friend: Friend, node: str) -> list[str]:
        """Has a client come to a node, by as many connections as that takes; how each began."""
        began = [friend.connect(self.places[node])]
        while self.until(lambda: self.sessions().get(friend.jid), "the session") != node:
            self.assertLess(len(began), 60)
            friend.cut()
            began.append(friend.connect(self.places[node]))
        return began

    def gather(self, *nodes: str) -> tuple[Friend, Friend, Friend]:
        """Three clients on three places, each of which is to see the two others."""
        jids = (f"{ALICE}/a", f"{BOB}/b", f"{CAROL}/c")
        alice, bob, carol = friends = tuple(map(self.friend, jids, nodes))
        for one, other in ((alice, BOB), (alice, CAROL), (bob, CAROL)):
            one.subscribe(other)
        for friend in friends:
            for jid in jids:
                if jid != friend.jid:
                    friend.expect(f"available {jid}", f"roster {jid[:-2]} both")
            friend.settle()
        return alice, bob, carol

    def check_chat(self, one: Friend, other: Friend) -> None:
        """They reach one another, at once and once."""
        for sender, to in ((one, other), (other, one)):
            sender.say(to.jid, "to the full JID")
            sender.say(to.jid[:-2], "to the bare JID")
            sender.expect("acknowledged to the full JID", "acknowledged to the bare JID")
            for kind in ("full", "bare"):
                to.expect(f"message {sender.jid[:-2]} to the {kind} JID")
            self.assertEqual([line for line in to.rest() if "message" in line], [])

    def check_devices(self, alice: Friend, bob: Friend, node: str) -> None:
        """A second device elsewhere is seen, has copies, pushes, and the whole archive."""
        tablet = self.friend(f"{ALICE}/t", node)
        tablet.expect(f"available {bob.jid}", f"available {alice.jid}")
        for friend in (alice, bob):
            friend.expect(f"available {tablet.jid}")
        alice.say(bob.jid, "one")
        bob.say(alice.jid, "two")
        tablet.expect("copy out one", "copy in two")
        alice.expect("acknowledged one", f"message {BOB} two")
        bob.expect("acknowledged two", f"message {ALICE} one")
        self.assertEqual(tablet.archive()[-2:], ["one", "two"])
        alice.subscribe("stranger@localhost")
        tablet.expect("roster stranger@localhost none")
        self.check_blocking(alice, bob, tablet)
        tablet.leave()
        for friend in (alice, bob):
            friend.expect(f"unavailable {tablet.jid}")

    def check_blocking(self, alice: Friend, bob: Friend, tablet: Friend) -> None:
        """Who is blocked on one node is blocked on all."""
        tablet.block(BOB)
        alice.expect(f"blocked {BOB}")
        bob.expect(f"unavailable {alice.jid}", f"unavailable {tablet.jid}")
        bob.say(alice.jid, "are you there?")
        bob.expect("error service-unavailable", "acknowledged are you there?")
        alice.unblock(BOB)
        tablet.expect(f"unblocked {BOB}")
        bob.expect(f"available {alice.jid}", f"available {tablet.jid}")

    def check_conflict(self, bob: Friend, node: str) -> Friend:
        """A newer session with the same full JID ends the one on another node."""
        newer = Friend(self.clients, bob.jid, bob.known)
        self.move(newer, node)
        bob.expect("stream error conflict", "disconnected")
        self.assertEqual(self.sessions()[bob.jid], node)
        return newer

    def check_resumption(self, alice: Friend, bob: Friend, node: str) -> None:
        """A session goes on on another node; nobody sees it leave, and nothing is lost."""
        bob.settle()
        alice.cut()
        for number in range(5):
            bob.say(alice.jid, f"meanwhile {number}")
        self.assertEqual(set(self.move(alice, node)), {"resumed"})
        for number in range(5):
            alice.expect(f"message {BOB} meanwhile {number}")
        self.check_chat(alice, bob)
        self.assertEqual([line for line in bob.rest() if "available" in line], [])


class WorkersTests(NodesTestCase):
    """Two workers that share an SQLite file."""

    def setUp(self) -> None:
        """Starts them."""
        self.clients = Clients()
        self.addCleanup(self.clients.close)
        self.alpha = self.machine(extra=MODULES, cluster="peer_timeout = 4")
        self.start(self.alpha)
        for user in USERS:
            self.alpha.ctl("account register", jid=f"{user}@localhost", password="secret")
        self.places = dict.fromkeys(("alpha.1", "alpha.2"), ("127.0.0.1", self.alpha.port))

    def sessions(self) -> dict[str, str]:
        """What the supervisor says."""
        return {row["jid"]: row["node"] for row in self.alpha.ctl("session list")}

    def test_one_server(self) -> None:
        """Presence, rosters, chat, archives, blocking, conflicts, resumption, and a death."""
        alice, bob, carol = self.gather("alpha.1", "alpha.2", "alpha.2")
        self.check_chat(alice, bob)
        self.check_devices(alice, bob, "alpha.2")
        self.check_resumption(alice, bob, "alpha.2")
        bob = self.check_conflict(bob, "alpha.1")
        self.check_death(alice, bob, carol)

    def check_death(self, alice: Friend, bob: Friend, carol: Friend) -> None:
        """Who was on a worker that died is gone, once, and has what was sent meanwhile later."""
        for friend in (alice, bob, carol):
            friend.settle()
        os.kill(self.alpha.workers()["alpha.1"]["pid"], signal.SIGKILL)
        bob.expect("disconnected")
        for friend in (alice, carol):
            friend.expect(f"unavailable {bob.jid}")
            self.assertEqual(friend.rest(), [])
        alice.say(BOB, "while you were away")
        alice.expect("acknowledged while you were away")
        self.until(lambda: len(self.alpha.running()) == 2, "the restart")
        self.move(bob, "alpha.1")
        bob.expect(f"available {alice.jid}", f"message {ALICE} while you were away")
        self.check_chat(alice, bob)


class MachinesTests(NodesTestCase):
    """Three machines that share PostgreSQL."""

    postgresql = True

    def setUp(self) -> None:
        """Makes the network, and starts the machines."""
        self.switch = Switch(3)
        self.addCleanup(self.switch.remove)
        self.clients = Clients(self.switch.name)
        self.addCleanup(self.clients.close)
        names = ("alpha", "beta", "gamma")
        self.machines = {name: self.node(name, end) for end, name in enumerate(names)}
        for machine in self.machines.values():
            machine.start()
        self.until(lambda: all(m.linked() == 2 for m in self.machines.values()), "the links")
        for user in USERS:
            self.ctl("alpha", "account register", jid=f"{user}@localhost", password="secret")
        self.places = {
            name: (self.switch.address(end), self.machines[name].port)
            for end, name in enumerate(names)
        }

    def node(self, name: str, end: int) -> Machine:
        """A machine that is plugged in."""
        address = self.switch.address(end)
        cluster = (
            f'discovery = "rdbms"\nip_address = "{address}"\npoll_interval = 1\n'
            'peer_timeout = 4\nreconnect_delay_max = 1\nsecret = "a secret of the tests"\n'
        )
        return self.machine(
            name,
            workers=1,
            cluster=cluster,
            extra=MODULES,
            prefix=self.switch.prefix(end),
            address=address,
        )

    def database(self) -> str:
        """By its Unix socket: PostgreSQL is plugged in nowhere."""
        return self.by_socket(super().database())

    def ctl(self, name: str, command: str, **args: str) -> Any:
        """A machine's answer to a command."""
        return self.machines[name].ctl(command, **args)

    def sessions(self, name: str = "alpha") -> dict[str, str]:
        """What a machine says of all of them."""
        return {row["jid"]: row["node"] for row in self.ctl(name, "session list")}

    def test_one_server(self) -> None:
        """All that two workers can; and operators hear the same on every machine."""
        alice, bob, carol = self.gather("alpha", "beta", "gamma")
        self.check_chat(alice, bob)
        self.check_chat(bob, carol)
        self.check_devices(alice, bob, "gamma")
        self.check_resumption(alice, bob, "gamma")
        self.check_operators()
        self.check_conflict(bob, "alpha")

    def check_operators(self) -> None:
        """``session list`` and ``cluster status`` speak of the whole cluster, in words."""
        for name in self.machines:
            expected = {f"{ALICE}/a": "gamma", f"{BOB}/b": "beta", f"{CAROL}/c": "gamma"}
            self.assertEqual(self.sessions(name), expected)
            words = self.machines[name].words("cluster", "status")
            for other in self.machines.keys() - {name}:
                self.assertRegex(words, rf"(?m)^ *{name} +{other} +yes ")

    def test_trouble(self) -> None:
        """A link that is cut, a machine that freezes, and one that dies."""
        alice, bob, carol = self.gather("alpha", "beta", "gamma")
        self.check_cut(alice, bob, carol)
        self.check_freeze(carol, (alice, bob))
        self.check_death(alice, bob, carol)

    def check_cut(self, alice: Friend, bob: Friend, carol: Friend) -> None:
        """Two that are cut off from one another are gone to each other, and come back."""
        self.switch.part(0, 1)
        alice.expect(f"unavailable {bob.jid}")
        bob.expect(f"unavailable {alice.jid}")
        alice.say(bob.jid, "through the cut")
        alice.expect("acknowledged through the cut")
        self.check_chat(alice, carol)
        self.switch.heal(0, 1)
        alice.expect(f"available {bob.jid}")
        bob.expect(f"available {alice.jid}", f"message {ALICE} through the cut")
        self.check_chat(alice, bob)
        for friend in (alice, bob, carol):
            self.assertEqual(friend.rest(), [])

    def check_freeze(self, frozen: Friend, others: tuple[Friend, Friend]) -> None:
        """Who is on a machine that stands still is gone, and there again when it goes on."""
        one, other = others
        self.kill("gamma", signal.SIGSTOP)
        for friend in others:
            friend.expect(f"unavailable {frozen.jid}")
        one.say(frozen.jid, "to the frozen one")
        one.expect("acknowledged to the frozen one")
        self.check_chat(one, other)
        self.kill("gamma", signal.SIGCONT)
        for friend in others:
            friend.expect(f"available {frozen.jid}")
            frozen.expect(f"available {friend.jid}")
        frozen.expect(f"message {one.jid[:-2]} to the frozen one")
        self.check_chat(one, frozen)
        for friend in others:
            self.assertEqual(friend.rest(), [])

    def kill(self, name: str, number: signal.Signals) -> None:
        """Sends a signal to a machine's process."""
        process = self.machines[name].process
        assert process is not None
        process.send_signal(number)

    def check_death(self, alice: Friend, bob: Friend, carol: Friend) -> None:
        """Who was on a machine that died is gone, once, and finds all on another one."""
        alice.say(bob.jid, "before")
        alice.expect("acknowledged before")
        bob.expect(f"message {ALICE} before")
        for friend in (alice, carol):
            friend.settle()
        self.kill("beta", signal.SIGKILL)
        bob.expect("disconnected")
        for friend in (alice, carol):
            friend.expect(f"unavailable {bob.jid}")
            self.assertEqual(friend.rest(), [])
        alice.say(BOB, "while you were away")
        alice.expect("acknowledged while you were away")
        self.move(bob, "gamma")
        bob.expect(f"available {alice.jid}", f"message {ALICE} while you were away")
        self.check_chat(alice, bob)
        self.assertEqual(bob.archive()[-6:-4], ["before", "while you were away"])
