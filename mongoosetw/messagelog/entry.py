"""A message's place in the log."""

from typing import Final

from mongoosetw.messagelog.tables import IN_OTHERS, IN_RECIPIENTS, IN_SENDERS
from mongoosetw.storage.batch import Batch
from mongoosetw.xmpp.jid import JID
from mongoosetw.xmpp.stanza import Name

WRITTEN: Final = Batch()
"""The batch of entries of which nothing was added to another one yet."""


class Entry:
    """A message's place in the log.

    :ivar id: unique, sorts by time.
    :ivar shown: an archive shows the message, so it stays when it has been delivered.
    :ivar sender, recipient: the bare JIDs whose numbers the row has.
    :ivar batch: with which what is known of it was written last; as long as that gathers it takes
        more.
    :ivar place: the message's place in that batch; negative if its row is in an earlier one.
    :ivar origin: number of the node that has written it, None for this one.
    :ivar holder: sid of the other node's session for which it is held where it was written;
        0 if it is not.
    :ivar fresh: it was logged here and has not been on its way to any session: nobody has it.
    :ivar marked: names of the children of the message with its id for the recipient
        (:func:`mongoosetw.messagelog.stamp.marked`): a stanza that has this very tuple has the id.
    """

    __slots__ = (
        "batch",
        "fresh",
        "holder",
        "id",
        "marked",
        "origin",
        "place",
        "recipient",
        "sender",
        "shown",
    )

    def __init__(
        self,
        id: int,
        sender: JID | None = None,
        recipient: JID | None = None,
        batch: Batch = WRITTEN,
        place: int = -1,
        shown: bool = False,
    ) -> None:
        """
        :param batch: of a message that is logged now, and here.
        """
        self.id = id
        self.shown = shown
        self.sender = sender
        self.recipient = recipient
        self.batch = batch
        self.place = place
        self.fresh = place >= 0
        self.origin: int | None = None
        self.holder = 0
        self.marked: tuple[Name, ...] | None = None

    def is_for(self, user: JID) -> bool:
        """Whether a bare JID is the recipient's; most often it is the same object."""
        return user is self.recipient or user == self.recipient

    def flag_of(self, user: JID) -> int:
        """The flag of a user's archive (bare JID)."""
        if user is self.sender or user == self.sender:
            return IN_SENDERS
        return IN_RECIPIENTS if self.is_for(user) else IN_OTHERS

    @property
    def foreign(self) -> bool:
        """Whether another node holds the message, and has to be told what becomes of it."""
        return self.origin is not None and self.holder != 0
