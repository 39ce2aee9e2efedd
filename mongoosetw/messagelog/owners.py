"""Numbers that stand for accounts in the message log."""

import hashlib
from typing import TYPE_CHECKING, Final

from twisted.internet.defer import Deferred

from mongoosetw.messagelog.tables import owners
from mongoosetw.storage.batch import LogWriter
from mongoosetw.storage.work import DatabaseUnavailable
from mongoosetw.xmpp.jid import JID

if TYPE_CHECKING:  # types only
    from mongoosetw.server import Server

_KNOWN: Final = 100_000


class Owners:
    """The numbers of bare JIDs: 63 bits of a keyed hash.

    Nobody can choose a JID that shares another's number, and no look-up is needed. Which JID a
    number stands for is written down for the operator's sake: by itself, for that an owner is known
    already must not disturb the messages' commits.

    :ivar key: of the hash; the database's.
    :ivar known: those that were written down, by the text of the JID.
    """

    def __init__(self, server: "Server", interval: float) -> None:
        """
        :param interval: seconds between commits.
        """
        self.key = b""
        self.known: dict[str, int] = {}
        self._writer = LogWriter(
            server.db, server.clock, "message_owner", (owners,), interval=interval
        )

    def owner(self, user: JID) -> int:
        """The number of a bare JID for which something is written."""
        number = self.known.get(user.text)
        if number is None:
            number = self.number(user)
            if len(self.known) >= _KNOWN:
                self.known.clear()
            self.known[user.text] = number
            try:
                self._writer.add([(owners, (number, user.text))])
            except DatabaseUnavailable:
                del self.known[user.text]  # it is written with a later message
        return number

    def number(self, user: JID) -> int:
        """As :meth:`owner`, for reading: nothing is written."""
        digest = hashlib.blake2b(user.text.encode(), digest_size=8, key=self.key).digest()
        return int.from_bytes(digest, "big") >> 1

    def close(self) -> Deferred[None]:
        """Fires when all is written."""
        return self._writer.close()
