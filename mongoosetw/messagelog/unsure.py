"""Sessions of other nodes that may have missed messages for their own addresses."""

import struct
from collections.abc import Collection
from typing import Final

from mongoosetw.cluster.mesh import Mesh, Node

_SID: Final = struct.Struct("!Q")


class Unsure:
    """Tells nodes which of their sessions have to look for such messages.

    :param channel: by which they are told.
    :param kind: the first byte of what they are told.
    """

    def __init__(self, mesh: Mesh, channel: str, kind: int) -> None:
        self._mesh = mesh
        self._channel = channel
        self._kind = kind
        self._lost: dict[int, set[int]] = {}  # sids, by the numbers of nodes that are not linked

    def tell(self, node: str, sids: Collection[int]) -> None:
        """Tells a node."""
        payload = struct.pack(f"!B{len(sids)}Q", self._kind, *sids)
        self._mesh.send(node, self._channel, payload)

    def lost(self, node: Node, sids: Collection[int]) -> None:
        """A link is lost by which messages were on their way to sessions."""
        if sids:
            self._lost.setdefault(node.number, set()).update(sids)

    def linked(self, node: Node) -> None:
        """There is a new one: before anything else is sent to them, these sessions look."""
        if sids := self._lost.pop(node.number, None):
            self.tell(node.name, sids)


def sids_of(payload: bytes) -> set[int]:
    """What a node is told, without the first byte."""
    return {sid for (sid,) in _SID.iter_unpack(payload)}
