"""A message's place in the log."""

from typing import TYPE_CHECKING, Any

from mongoosetw.storage.batch import Batch
from mongoosetw.storage.bulk import Row

if TYPE_CHECKING:  # types only
    from sqlalchemy import Table


class Entry:
    """A message's place in the log.

    :ivar id: unique, sorts by time.
    :ivar shown: an archive shows the message, so it stays when it has been delivered.
    :ivar marked: the recipient's copy carries the id (see :func:`marked`).
    :ivar row: the row of ``message_log`` while it can be changed: ``batch`` is gathering still.
    :ivar unit: all rows that are committed with it.
    :ivar origin: number of the node that has written it, None for this one.
    :ivar holder: sid of the other node's session for which it is held where it was written;
        0 if it is not.
    """

    __slots__ = ("batch", "holder", "id", "marked", "origin", "row", "shown", "unit")

    def __init__(self, id: int, *, shown: bool = False) -> None:
        self.id = id
        self.shown = shown
        self.marked = False
        self.row: list[Any] | None = None
        self.unit: list[tuple[Table, Row]] = []
        self.batch: Batch | None = None
        self.origin: int | None = None
        self.holder = 0

    @property
    def foreign(self) -> bool:
        """Whether another node holds the message, and has to be told what becomes of it."""
        return self.origin is not None and self.holder != 0
