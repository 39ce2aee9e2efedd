"""Machines with an address of their own each: network namespaces, TLS between them, one database.

Needs root and iproute2; skipped without.
"""

import os
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Any

from twisted.trial.unittest import SkipTest

from tests.integration.certificates import Authority
from tests.integration.machine import Machine, MachineTestCase

SECRET = "a secret of the tests"


class Wire:
    """Two network namespaces that are joined by a cable."""

    def __init__(self) -> None:
        """
        :raises SkipTest: it cannot be made here.
        """
        self.names = [f"mtw{os.getpid() % 100_000}{end}" for end in "ab"]
        if os.getuid() != 0 or shutil.which("ip") is None:
            raise SkipTest("network namespaces need root and the program ip (iproute2)")
        try:
            for name in self.names:
                self._ip("netns", "add", name)
                self._ip("-n", name, "link", "set", "lo", "up")
            first, second = self.names
            ends = ("type", "veth", "peer", "name", "cable", "netns", second)
            self._ip("-n", first, "link", "add", "cable", *ends)
            for n, name in enumerate(self.names, 1):
                self._ip("-n", name, "addr", "add", f"10.99.0.{n}/24", "dev", "cable")
                self._ip("-n", name, "link", "set", "cable", "up")
        except subprocess.CalledProcessError as error:
            self.remove()
            raise SkipTest(f"no network namespaces here: {error.stderr!r}") from error

    def _ip(self, *arguments: str) -> None:
        subprocess.run(["ip", *arguments], check=True, capture_output=True)

    def prefix(self, end: int) -> tuple[str, ...]:
        """What runs a command at one end."""
        return ("ip", "netns", "exec", self.names[end])

    def cut(self) -> None:
        """Pulls the cable; nobody is told."""
        self._ip("-n", self.names[0], "link", "set", "cable", "down")

    def mend(self) -> None:
        """Puts it back."""
        self._ip("-n", self.names[0], "link", "set", "cable", "up")

    def remove(self) -> None:
        """Removes the namespaces."""
        for name in self.names:
            subprocess.run(["ip", "netns", "del", name], check=False, capture_output=True)


class MachinesTests(MachineTestCase):
    """Two machines that share PostgreSQL, one of them with two workers."""

    postgresql = True

    def setUp(self) -> None:
        """Makes the network and an authority."""
        self.wire = Wire()
        self.addCleanup(self.wire.remove)
        self.folder = Path(tempfile.mkdtemp(prefix="mongoosetw-"))
        self.addCleanup(shutil.rmtree, self.folder, ignore_errors=True)
        self.authority = Authority(self.folder, "cluster")

    def database(self) -> str:
        """PostgreSQL by its Unix socket: its TCP port is in no namespace but its own."""
        return self.by_socket(super().database())

    def node(self, name: str, end: int, workers: int = 1, **other: Any) -> Machine:
        """A machine at one end of the wire."""
        authority = other.get("authority", self.authority)
        certificate = authority.issue(common_name=name)
        options = (
            f'discovery = "rdbms"\nip_address = "10.99.0.{end + 1}"\npoll_interval = 1\n'
            f'peer_timeout = 4\nreconnect_delay_max = 2\nsecret = "{other.get("secret", SECRET)}"\n'
            f'tls.cacertfile = "{self.authority.file}"\ntls.certfile = "{certificate}"\n'
        )
        prefix = self.wire.prefix(end)
        return self.machine(name, workers=workers, cluster=options, prefix=prefix)

    def links(self, machine: Machine) -> dict[tuple[str, str], str]:
        """The links that are up, from node to node, and by what."""
        found = machine.ctl("cluster status").get("links", [])
        return {(o["node"], o["peer"]): o["address"] for o in found if o["linked"]}

    def test_cluster(self) -> None:
        """Machines find one another, part when the cable is cut, and refuse strangers."""
        alpha, beta = self.node("alpha", 0, workers=2), self.node("beta", 1)
        alpha.start()
        beta.start()
        self.until(lambda: len(self.links(alpha)) == 4, "the links of alpha")
        self.until(lambda: len(self.links(beta)) == 2, "the links of beta")
        self.check_names(alpha, beta)
        self.check_cut(alpha, beta)
        self.check_loss(alpha, beta)
        self.check_strangers(alpha)

    def test_static_list(self) -> None:
        """Machines of a list find one another by the secret alone, numbered as they stand there."""
        listed = 'nodes = ["alpha@10.99.0.1:7000-7001", "beta@10.99.0.2:7000"]'
        options = f'discovery = "static"\n{listed}\nsecret = "{SECRET}"\n'
        alpha = self.machine(
            "alpha", workers=2, cluster=options, prefix=self.wire.prefix(0)
        )
        beta = self.machine("beta", workers=1, cluster=options, prefix=self.wire.prefix(1))
        alpha.start()
        beta.start()
        self.until(lambda: len(self.links(alpha)) == 4, "the links of alpha")
        self.check_names(alpha, beta)
        numbers = {node["node"]: node["number"] for node in beta.ctl("cluster nodes")}
        self.assertEqual(numbers, {"alpha.1": 0, "alpha.2": 1, "beta": 2})

    def check_names(self, alpha: Machine, beta: Machine) -> None:
        """Each node has a number of its own; siblings have Unix sockets, others TLS."""
        nodes = beta.ctl("cluster nodes")
        self.assertEqual([node["node"] for node in nodes], ["alpha.1", "alpha.2", "beta"])
        self.assertEqual({node["number"] for node in nodes}, {0, 1, 2})
        for (node, peer), address in self.links(alpha).items():
            near = peer.startswith("alpha")
            self.assertEqual(address.startswith("unix"), near, (node, peer, address))

    def check_cut(self, alpha: Machine, beta: Machine) -> None:
        """Both sides notice, go on by themselves, and find together again."""
        self.wire.cut()
        self.until(lambda: len(self.links(alpha)) == 2, "alpha's loss")
        self.until(lambda: not self.links(beta), "beta's loss")
        self.wire.mend()
        self.until(lambda: len(self.links(alpha)) == 4, "the links, again")

    def check_loss(self, alpha: Machine, beta: Machine) -> None:
        """A machine that was killed comes back with its number, and a newer process."""
        before = {node["node"]: node["number"] for node in alpha.ctl("cluster nodes")}
        assert beta.process is not None
        beta.process.kill()
        beta.process.wait()
        self.until(lambda: len(self.links(alpha)) == 2, "the loss")
        beta.start()
        self.until(lambda: len(self.links(alpha)) == 4, "the return")
        after = {node["node"]: node["number"] for node in alpha.ctl("cluster nodes")}
        self.assertEqual(before, after)
        beta.process.terminate()
        beta.process.wait(60)
        self.until(lambda: alpha.events("alpha.1", "left"), "the goodbye")

    def check_strangers(self, alpha: Machine) -> None:
        """Who has another secret, or a certificate of somebody else, is refused and logged."""
        thief = self.node("thief", 1, secret="another secret of tests")
        forger = self.node("forger", 1, authority=Authority(self.folder, "stranger"))
        for machine in (thief, forger):
            machine.start()
        for reason in ("wrong secret", "certificate verify failed"):
            self.until(lambda reason=reason: self.refused(alpha, reason), reason)
        for machine in (thief, forger):
            self.until(lambda machine=machine: machine.ctl("cluster status"), "the start")
            self.assertEqual(self.links(machine), {})
        self.assertEqual(len(self.links(alpha)), 2)

    def refused(self, machine: Machine, reason: str) -> bool:
        """Whether the log says why somebody was refused."""
        return any(reason in entry["reason"] for entry in machine.logged("link_refused"))
