"""How the nodes of a cluster reach one another, without saying by what.

A mesh joins this node with every other one. What is sent to one node arrives there in
order, or the link goes down first: nothing is lost in silence while a link stays up. The
links of Twisted PB are one mesh; the simulation of the tests is another.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Node:
    """One process of the cluster.

    :ivar name: unique in the cluster, and the same after a restart.
    :ivar number: small and unique among the living nodes; ids of the message log carry it.
    :ivar incarnation: grows with each start of the process that has the name.
    """

    name: str
    number: int
    incarnation: int


Receiver = Callable[[Node, bytes], None]
"""Takes a payload that another node has sent."""


class Mesh(Protocol):
    """The links of this node."""

    @property
    def local(self) -> Node:
        """This node."""

    @property
    def peers(self) -> dict[str, Node]:
        """The nodes whose links are up, by name."""

    def send(self, peer: str, channel: str, payload: bytes, *, patient: bool = False) -> bool:
        """Queues a payload for a node; what one turn of the reactor sends leaves together.

        :param patient: it may wait some milliseconds for company, and leaves before whatever is
            sent behind it.
        :returns: False if there is no link to the node, or its queue is full: not sent.
        """

    def extend(self, peer: str, channel: str, more: bytes) -> bool:
        """Adds to the payload that was queued last for a node, if it is still here.

        :returns: False if it has left, was sent on another channel or is long enough.
        """

    def broadcast(self, channel: str, payload: bytes) -> None:
        """Queues a payload for every node whose link is up."""

    def queued(self, peer: str) -> int:
        """How many bytes wait for a node, or are on their way to it."""

    def receive(self, channel: str, receiver: Receiver) -> None:
        """Names who takes what arrives on a channel; one receiver a channel."""

    def left(self, peer: str) -> bool:
        """Whether a node, whose link is down, had said goodbye."""

    @property
    def awaited(self) -> bool:
        """Whether there may be nodes that nobody has tried to reach since the start."""

    def watch(self, up: Callable[[Node], None], down: Callable[[Node], None]) -> None:
        """Has changes told: a link is up, before anything arrives on it; a link is down."""


def is_first(mesh: Mesh) -> bool:
    """Whether this node is the first of the living: it does what one of them has to do for all."""
    return all(mesh.local.number < node.number for node in mesh.peers.values())
