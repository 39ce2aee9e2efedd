"""Machines with an address each: network namespaces, plugged into one switch.

Needs root and iproute2; the tests skip without.
"""

import ctypes
import os
import shutil
import subprocess

from twisted.trial.unittest import SkipTest

_CLONE_NEWNET = 0x40000000


class Switch:
    """A switch, which is a namespace with a bridge, and the namespaces that are plugged into it.

    :ivar name: the switch's own namespace, from which all others can be reached.
    """

    def __init__(self, ends: int) -> None:
        """
        :param ends: how many namespaces are plugged in.
        :raises SkipTest: that cannot be done here.
        """
        self.name = f"mts{os.getpid() % 100_000}"
        self._ends = [f"{self.name}n{end}" for end in range(ends)]
        if os.getuid() != 0 or shutil.which("ip") is None:
            raise SkipTest("network namespaces need root and the program ip (iproute2)")
        try:
            self._make()
        except subprocess.CalledProcessError as error:
            self.remove()
            raise SkipTest(f"no network namespaces here: {error.stderr!r}") from error

    def _make(self) -> None:
        _ip("netns", "add", self.name)
        self._set("lo", "up")
        _ip("-n", self.name, "link", "add", "bridge", "type", "bridge")
        _ip("-n", self.name, "addr", "add", "10.99.0.254/24", "dev", "bridge")
        self._set("bridge", "up")
        for end, name in enumerate(self._ends):
            _ip("netns", "add", name)
            cable = ("type", "veth", "peer", "name", "cable", "netns", name)
            _ip("-n", self.name, "link", "add", f"port{end}", *cable)
            _ip("-n", name, "addr", "add", f"{self.address(end)}/24", "dev", "cable")
            for device in ("lo", "cable"):
                _ip("-n", name, "link", "set", device, "up")
            self._set(f"port{end}", "master", "bridge", "up")

    def _set(self, device: str, *what: str) -> None:
        _ip("-n", self.name, "link", "set", device, *what)

    def address(self, end: int) -> str:
        """The address of a namespace."""
        return f"10.99.0.{end + 1}"

    def prefix(self, end: int) -> tuple[str, ...]:
        """What runs a command in a namespace."""
        return ("ip", "netns", "exec", self._ends[end])

    def part(self, *ends: int) -> None:
        """Lets nothing through among these any more; the others and the clients reach them."""
        for end in ends:
            self._set(f"port{end}", "type", "bridge_slave", "isolated", "on")

    def heal(self, *ends: int) -> None:
        """Lets everything through again."""
        for end in ends:
            self._set(f"port{end}", "type", "bridge_slave", "isolated", "off")

    def remove(self) -> None:
        """Removes all namespaces."""
        for name in (*self._ends, self.name):
            subprocess.run(["ip", "netns", "del", name], check=False, capture_output=True)


def _ip(*arguments: str) -> None:
    subprocess.run(["ip", *arguments], check=True, capture_output=True)


def enter(namespace: str) -> None:
    """Moves this thread, and no other, into a network namespace.

    :raises OSError: that is refused.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    with open(f"/run/netns/{namespace}") as file:
        if libc.setns(file.fileno(), _CLONE_NEWNET):
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number))
