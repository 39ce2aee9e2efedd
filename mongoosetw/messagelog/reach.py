"""How far this node's part of the log reaches, noted before it does."""

from mongoosetw.ids import node_of
from mongoosetw.messagelog.tables import REACH, STRIDE, positions
from mongoosetw.storage.batch import LogWriter
from mongoosetw.storage.work import DatabaseUnavailable


class Reach:
    """Tells those who take over from this node whether it has gone on since.

    They may have lost it without its being dead, and it may die before they see it again. To look
    for its messages among all others would take long; a row for each few seconds does not.

    :ivar end: no id above it was logged.
    """

    def __init__(self, writer: LogWriter) -> None:
        self._writer = writer
        self.end = 0

    def extend(self, identifier: int) -> None:
        """A message above the end is about to be logged; what is noted is committed first."""
        node, before, end = node_of(identifier), self.end, identifier + STRIDE
        try:
            self._writer.add([(positions, (node, REACH, end))])
        except DatabaseUnavailable:
            return  # nor will the message be
        self.end = end
        if before:
            self._writer.remove(positions, [(node, REACH, before)])
