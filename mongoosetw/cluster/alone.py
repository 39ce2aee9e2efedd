"""The mesh of a server that is one process: there is nobody else."""

from collections.abc import Callable

from mongoosetw.cluster.mesh import Node, Receiver


class Alone:
    """A mesh without other nodes."""

    def __init__(self, local: Node) -> None:
        self._local = local

    @property
    def local(self) -> Node:
        """This node."""
        return self._local

    @property
    def peers(self) -> dict[str, Node]:
        """Nobody."""
        return {}

    def send(self, peer: str, channel: str, payload: bytes, *, patient: bool = False) -> bool:
        """There is no link to anybody."""
        return False

    def extend(self, peer: str, channel: str, more: bytes) -> bool:
        """Nothing was queued."""
        return False

    def broadcast(self, channel: str, payload: bytes) -> None:
        """Nobody is there to receive it."""

    def queued(self, peer: str) -> int:
        """Nothing waits."""
        return 0

    def receive(self, channel: str, receiver: Receiver) -> None:
        """Nothing will arrive."""

    def left(self, peer: str) -> bool:
        """There was nobody."""
        return False

    @property
    def awaited(self) -> bool:
        """There is nobody."""
        return False

    def watch(self, up: Callable[[Node], None], down: Callable[[Node], None]) -> None:
        """Nothing will change."""
