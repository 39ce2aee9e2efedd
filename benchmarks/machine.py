"""The machine that is measured on: its packages, its noise, its description."""

import os
import platform
import resource
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

_POLICY = Path("/usr/sbin/policy-rc.d")
_QUIET_CORES = 0.25


class MissingPackages(Exception):
    """Debian packages are needed that this user may not install."""


def installed(package: str) -> bool:
    """Whether a Debian package is installed; on another system, never."""
    if shutil.which("dpkg-query") is None:
        return False
    query = ["dpkg-query", "-W", "-f=${db:Status-Status}", package]
    answer = subprocess.run(query, capture_output=True, text=True, check=False)
    return answer.stdout == "installed"


def version(package: str) -> str:
    """The version of an installed Debian package."""
    query = ["dpkg-query", "-W", "-f=${Version}", package]
    return subprocess.run(query, capture_output=True, text=True, check=False).stdout


def require(packages: Sequence[str]) -> None:
    """Installs the packages that are lacking.

    :raises MissingPackages: this user may not.
    """
    lacking = [package for package in packages if not installed(package)]
    if not lacking:
        return
    command = ["apt-get", "install", "-y", "--no-install-recommends", *lacking]
    if os.getuid() != 0 or shutil.which("apt-get") is None:
        raise MissingPackages(f"needed first, as root: {' '.join(command)}")
    print("installing", *lacking, file=sys.stderr)
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    with _services_stay_off():
        for step in (["apt-get", "update", "-qq"], [*command, "-qq"]):
            subprocess.run(
                step, env=environment, stdin=subprocess.DEVNULL, stdout=sys.stderr, check=True
            )


@contextmanager
def _services_stay_off() -> Iterator[None]:
    """Debian starts what it installs, on every address, unless this file forbids it."""
    if _POLICY.exists():
        yield
        return
    _POLICY.write_text("#!/bin/sh\nexit 101\n")
    _POLICY.chmod(0o755)
    try:
        yield
    finally:
        _POLICY.unlink()


def free_port() -> int:
    """A TCP port of the loopback address that nobody uses."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def raise_file_limit() -> None:
    """One connection is one descriptor; the children inherit the limit."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def _busy_ticks() -> int:
    fields = Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:]
    user, nice, system, _idle, _wait, irq, softirq, steal = (int(f) for f in fields[:8])
    return user + nice + system + irq + softirq + steal


def wait_until_quiet(seconds: float) -> None:
    """Waits until the machine is nearly idle, ``seconds`` at most."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        before = _busy_ticks()
        time.sleep(1)
        if _busy_ticks() - before < _QUIET_CORES * os.sysconf("SC_CLK_TCK"):
            return


def memory_of(pid: int) -> tuple[int, int]:
    """Resident and proportional set size of one process, in bytes."""
    sizes = dict.fromkeys(("Rss", "Pss"), 0)
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()[1:]:
        name, _, value = line.partition(":")
        if name in sizes:
            sizes[name] = int(value.split()[0]) * 1024
    return sizes["Rss"], sizes["Pss"]


def description() -> str:
    """Processor, cores, memory and system, in one line."""
    processor = _field(Path("/proc/cpuinfo"), "model name") or platform.machine()
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / (1 << 30)
    system = _field(Path("/etc/os-release"), "PRETTY_NAME", "=").strip('"')
    release = platform.release().split("-")[0]
    cores = os.cpu_count()
    return f"{processor}, {cores} cores, {memory:.0f} GiB, {system}, Linux {release}"


def _field(path: Path, name: str, separator: str = ":") -> str:
    if path.exists():
        for line in path.read_text().splitlines():
            key, _, value = line.partition(separator)
            if key.strip() == name:
                return value.strip()
    return ""
