"""What waits for a node and how it is packed: all payloads of a turn in one batch.

A batch is a row of runs, a run is what goes to one channel without another in between::

    kind (1 byte)  length of the channel's name (1)  number of payloads (4)
    the name  the payloads' lengths (4 each)  the payloads

A payload longer than a batch travels as pieces; PB takes no more than 640 KiB at a time.
"""

import struct
from collections import deque
from collections.abc import Iterator
from enum import IntEnum
from typing import Final

BATCH: Final = 256 * 1024
"""Bytes that a batch holds, headers aside."""
OVERHEAD: Final = 48
"""Counted for each payload on top of its length: what it costs in memory, and more than its header
in a batch."""
JOINED: Final = 4096
"""Bytes of a payload to which no more are added."""
LONGEST_CHANNEL: Final = 32
"""Bytes of the longest name of a channel."""
_HEAD: Final = struct.Struct("!BBI")


class BadBatch(ValueError):
    """A batch that no node of ours has packed."""


class _Kind(IntEnum):
    WHOLE = 0
    PIECE = 1
    LAST_PIECE = 2


class Outbox:
    """Payloads that wait to be sent to one node, in order, up to a limit.

    :param limit: bytes; what was taken and is not :meth:`settle`\\ d yet counts, too.
    :ivar held: bytes that wait or are on their way.
    :ivar on_its_way: bytes that were taken and are not settled.
    """

    __slots__ = ("_batches", "_limit", "_runs", "_waiting", "held", "on_its_way")

    def __init__(self, limit: int) -> None:
        self.held = 0
        self.on_its_way = 0
        self._limit = limit
        self._waiting = 0
        self._batches: deque[int] = deque()
        self._runs: deque[tuple[_Kind, str, list[bytes]]] = deque()

    def put(self, channel: str, payload: bytes) -> bool:
        """Queues a payload; False if there is no room for it."""
        size = len(payload) + OVERHEAD * max(1, -(-len(payload) // BATCH))
        if self.held + size > self._limit:
            return False
        self.held += size
        self._waiting += size
        if len(payload) > BATCH:
            self._put_pieces(channel, payload)
            return True
        runs = self._runs
        if not runs or runs[-1][1] != channel or runs[-1][0] is not _Kind.WHOLE:
            runs.append((_Kind.WHOLE, channel, []))
        runs[-1][2].append(payload)
        return True

    def extend(self, channel: str, more: bytes) -> bool:
        """Adds to the payload that was put last; False if it was taken, or there is no room.

        :param channel: that it has to be for.
        """
        if not self._runs or self.held + len(more) > self._limit:
            return False
        kind, last, payloads = self._runs[-1]
        if last != channel or kind is not _Kind.WHOLE or len(payloads[-1]) >= JOINED:
            return False
        payloads[-1] += more
        self.held += len(more)
        self._waiting += len(more)
        return True

    def _put_pieces(self, channel: str, payload: bytes) -> None:
        for start in range(0, len(payload), BATCH):
            last = start + BATCH >= len(payload)
            kind = _Kind.LAST_PIECE if last else _Kind.PIECE
            self._runs.append((kind, channel, [payload[start : start + BATCH]]))

    @property
    def waiting(self) -> int:
        """Bytes not taken yet."""
        return self._waiting

    def take(self) -> bytes:
        """The next batch; call :meth:`settle` when the node has it."""
        if self._waiting <= BATCH:
            taken, self._runs = list(self._runs), deque()
            size, self._waiting = self._waiting, 0
        else:
            taken, size = self._take_some()
            self._waiting -= size
        self._batches.append(size)
        self.on_its_way += size
        return b"".join(_packed(run) for run in taken)

    def _take_some(self) -> tuple[list[tuple[_Kind, str, list[bytes]]], int]:
        taken: list[tuple[_Kind, str, list[bytes]]] = []
        size = 0
        while self._runs:
            kind, channel, payloads = self._runs.popleft()
            number = 0
            for payload in payloads:
                cost = len(payload) + OVERHEAD
                if size and size + cost > BATCH:
                    break
                size += cost
                number += 1
            if number:
                taken.append((kind, channel, payloads[:number]))
            if number < len(payloads):
                self._runs.appendleft((kind, channel, payloads[number:]))
                break
        return taken, size

    def settle(self, batches: int) -> None:
        """The node has the oldest batches that were on their way.

        :raises IndexError: there were not so many.
        """
        for _ in range(batches):
            size = self._batches.popleft()
            self.held -= size
            self.on_its_way -= size


def _packed(run: tuple[_Kind, str, list[bytes]]) -> bytes:
    kind, channel, payloads = run
    name, number = channel.encode(), len(payloads)
    lengths = struct.pack(f"!{number}I", *map(len, payloads))
    return b"".join((_HEAD.pack(kind, len(name), number), name, lengths, *payloads))


class Inbox:
    """Unpacks the batches of one node.

    :param limit: bytes of the longest payload that arrives in pieces.
    """

    __slots__ = ("_limit", "_pieces", "_size")

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._pieces: list[bytes] = []
        self._size = 0

    def unpack(self, batch: bytes) -> Iterator[tuple[str, bytes]]:
        """Yields channels and payloads, in order.

        :raises BadBatch: it is none.
        """
        position, end = 0, len(batch)
        while position < end:
            try:
                kind, length, number = _HEAD.unpack_from(batch, position)
                position += _HEAD.size
                channel = batch[position : position + length].decode()
                position += length
                lengths = struct.unpack_from(f"!{number}I", batch, position)
            except (struct.error, UnicodeDecodeError, MemoryError) as error:
                raise BadBatch(str(error)) from error
            position += 4 * number
            if position + sum(lengths) > end:
                raise BadBatch("a payload is longer than the batch")
            for size in lengths:
                payload = batch[position : position + size]
                position += size
                if kind == _Kind.WHOLE:
                    yield channel, payload
                elif (whole := self._assemble(kind, payload)) is not None:
                    yield channel, whole

    def _assemble(self, kind: int, piece: bytes) -> bytes | None:
        self._pieces.append(piece)
        self._size += len(piece)
        if self._size > self._limit:
            raise BadBatch("a payload is longer than a queue")
        if kind != _Kind.LAST_PIECE:
            return None
        whole = b"".join(self._pieces)
        self._pieces, self._size = [], 0
        return whole
