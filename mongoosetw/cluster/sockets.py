"""Listening sockets that the workers of a machine share.

For each port the supervisor opens one socket per worker, with SO_REUSEPORT: the kernel spreads
connections evenly over them. One socket for all would go to whoever is quickest, and with few new
connections a second one of four workers took three quarters (docs/design/cluster.md). Clients are
let in when the workers serve. From then on the supervisor keeps the sockets open, so that nobody is
turned away while a worker starts again.
"""

import socket
from dataclasses import dataclass, field
from typing import TypeAlias

from mongoosetw.config.load import Config
from mongoosetw.config.schema import ListenC2S, ListenHTTP

Place: TypeAlias = tuple[str, int]
"""IP address and port."""


class PortTaken(Exception):
    """A port cannot be opened; the text says why."""


@dataclass
class Sockets:
    """The sockets of all ports.

    :ivar opened: for each port its sockets, one for each worker in their order.
    :ivar refusing: clients are turned away at the moment, as they are at first.
    """

    opened: dict[Place, list[socket.socket]] = field(default_factory=dict)
    backlogs: dict[Place, int] = field(default_factory=dict)
    refusing: bool = True

    def descriptors(self) -> dict[Place, list[int]]:
        """Their file descriptors."""
        return {place: [s.fileno() for s in found] for place, found in self.opened.items()}

    def refuse(self) -> None:
        """Turns clients away: there is nobody who would take them."""
        self.refusing = True
        for found in self.opened.values():
            for one in found:
                one.shutdown(socket.SHUT_RDWR)

    def check(self) -> None:
        """Looks whether anybody else listens; for sockets that nobody has listened on yet.

        Two servers that start at once both get sockets.

        :raises PortTaken: a port is.
        """
        for address, port in self.opened:
            try:
                _refuse_taken(address, port)
            except OSError as error:
                raise _taken(address, port, error) from error

    def accept(self) -> None:
        """Has clients wait until they are taken."""
        self.refusing = False
        for place, found in self.opened.items():
            for one in found:
                one.listen(self.backlogs[place])

    def close(self) -> None:
        """Closes all."""
        for found in self.opened.values():
            for one in found:
                one.close()
        self.opened.clear()


def places_of(config: Config) -> dict[Place, int]:
    """The ports of a configuration, and how many connections may wait at each."""
    listeners: list[ListenC2S | ListenHTTP] = [*config.listen.c2s, *config.listen.http]
    return {(options.ip_address, options.port): options.backlog for options in listeners}


def open_sockets(config: Config, workers: int) -> Sockets:
    """Takes every port once for each worker; see :meth:`Sockets.accept`.

    :raises PortTaken: somebody has it.
    """
    sockets = Sockets()
    for (address, port), backlog in places_of(config).items():
        try:
            _refuse_taken(address, port)
            found = [_open(address, port) for _ in range(workers)]
        except OSError as error:
            sockets.close()
            raise _taken(address, port, error) from error
        sockets.opened[address, port] = found
        sockets.backlogs[address, port] = backlog
    return sockets


def _taken(address: str, port: int, error: OSError) -> PortTaken:
    return PortTaken(f"Couldn't listen on {address}:{port}: {error}.")


def _new(address: str) -> socket.socket:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    made = socket.socket(family, socket.SOCK_STREAM)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    return made


def _refuse_taken(address: str, port: int) -> None:
    """Without SO_REUSEPORT: another server of this user would share its port in silence."""
    with _new(address) as probe:
        probe.bind((address, port))


def _open(address: str, port: int) -> socket.socket:
    made = _new(address)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    made.bind((address, port))
    made.setblocking(False)
    return made


def to_text(descriptors: dict[Place, list[int]]) -> dict[str, list[int]]:
    """As JSON has it: ``address port`` for keys."""
    return {f"{address} {port}": found for (address, port), found in descriptors.items()}


def from_text(said: dict[str, list[int]]) -> dict[Place, list[int]]:
    """The reverse of :func:`to_text`."""
    pairs = ((key.rsplit(" ", 1), found) for key, found in said.items())
    return {(address, int(port)): found for (address, port), found in pairs}
