"""The message log as the rest of the server sees it."""

import hashlib
import logging
from collections.abc import Iterable
from functools import partial
from typing import TYPE_CHECKING, Any

from mongoosetw.messagelog import reading
from mongoosetw.messagelog.reading import Pending
from mongoosetw.messagelog.tables import archive, messages, owners, pending
from mongoosetw.storage.batch import Batch, LogWriter
from mongoosetw.storage.bulk import Row
from mongoosetw.storage.work import DatabaseUnavailable
from mongoosetw.xmpp import ns
from mongoosetw.xmpp.errors import StanzaError
from mongoosetw.xmpp.jid import JID
from mongoosetw.xmpp.stanza import Stanza, escape, serialise

if TYPE_CHECKING:  # types only
    from sqlalchemy import Table

    from mongoosetw.server import Server

logger = logging.getLogger(__name__)
STANZA_ID = (ns.STANZA_ID, "stanza-id")
_OWNERS_KNOWN = 100_000
_LIMIT = 20_000


class Entry:
    """A message's place in the log.

    :ivar id: unique, sorts by time.
    :ivar archived: an archive shows the message: it stays when it has been delivered.
    :ivar marked: the recipient's copy carries the id (see :func:`marked`).
    :ivar unit: rows that go with ``batch``, as long as that is gathering.
    """

    __slots__ = ("archived", "batch", "id", "marked", "unit")

    def __init__(self, id: int, *, archived: bool) -> None:
        self.id = id
        self.archived = archived
        self.marked = False
        self.unit: list[tuple[Table, Row]] = []
        self.batch: Batch | None = None


class MessageLog:
    """Writes messages, each once, and what is to be known of them. Open it with :meth:`open`.

    What is written in one turn is committed together. A stanza's receipt is held until what
    was written of it is on disk. While the database is away, writes wait, up to a bound;
    beyond it stanzas are refused.
    """

    def __init__(self, server: "Server") -> None:
        self._db = server.db
        self._ids = server.ids
        self._router = server.router
        self._key = b""
        self._owners: dict[JID, int] = {}
        self._writer = LogWriter(
            server.db, server.clock, "message_log", (messages, archive, pending), limit=_LIMIT
        )
        # By itself: that an owner is known already must not disturb the messages' commits
        self._owner_writer = LogWriter(server.db, server.clock, "message_owner", (owners,))

    async def open(self) -> None:
        """Reads what an earlier process has left: the key, and which ids were given away."""
        self._key, last = await self._db.run("message_log_open", reading.secret_and_last)
        self._ids.stay_above(last)

    async def close(self) -> None:
        """Waits until all is written."""
        await self._writer.close()
        await self._owner_writer.close()

    # -- who owns what

    def owner(self, user: JID) -> int:
        """The number that stands for a bare JID in the log: 63 bits of a keyed hash.

        Nobody can choose a JID that shares another's number, and no look-up is needed.
        """
        number = self._owners.get(user)
        if number is None:
            number = self.number(user)
            if len(self._owners) >= _OWNERS_KNOWN:
                self._owners.clear()
            self._owners[user] = number
            try:
                self._owner_writer.add([(owners, (number, str(user)))])
            except DatabaseUnavailable:
                del self._owners[user]  # it is written with a later message
        return number

    def number(self, user: JID) -> int:
        """As :meth:`owner`, for reading: nothing is written."""
        digest = hashlib.blake2b(str(user).encode(), digest_size=8, key=self._key).digest()
        return int.from_bytes(digest, "big") >> 1

    # -- writing

    def enter(self, stanza: Stanza, *, archived: bool) -> Entry:
        """Writes a message, unless it is in the log; what follows is committed with it.

        :raises StanzaError: ``internal-server-error``: too much waits for the database.
        """
        entry: Entry | None = stanza.log
        if entry is not None and entry.batch is self._writer.gathering:
            return entry
        unit: list[tuple[Table, Row]] = []
        size = 0
        if entry is None:
            entry = Entry(self._ids.next(), archived=archived)
            xml = stanza.to_bytes().decode()
            size = len(xml)
            sender = stanza.from_
            recipient = stanza.to or sender
            unit.append((messages, (entry.id, str(sender), str(recipient), archived, xml)))
        receipt = stanza.receipt
        done = None if receipt is None else partial(self._committed, stanza)
        try:
            entry.batch = self._writer.add(unit, done, size)
        except DatabaseUnavailable as error:
            raise StanzaError("internal-server-error", "wait") from error
        if receipt is not None:
            receipt.hold()
        entry.unit = unit
        stanza.log = entry
        return entry

    def _committed(self, stanza: Stanza, error: Exception | None) -> None:
        """The rows of a stanza are on disk, or the database has refused them."""
        if isinstance(error, DatabaseUnavailable):
            return  # the server stops: the sender gets no acknowledgement, and sends it again
        if error is not None:
            logger.error("message_not_logged id=%d", stanza.log.id, exc_info=error)
            self._router.bounce(stanza, StanzaError("internal-server-error", "wait"))
        assert stanza.receipt is not None
        stanza.receipt.release()

    def archive(self, stanza: Stanza, user: JID, remote: JID) -> Entry:
        """Shows a message in a user's archive; both are bare JIDs.

        :raises StanzaError: as :meth:`enter`.
        """
        entry = self.enter(stanza, archived=True)
        entry.unit.append((archive, (self.owner(user), entry.id, self.owner(remote))))
        return entry

    def pend(
        self, stanza: Stanza, user: JID, holder: int | None, expire: int | None = None
    ) -> Entry:
        """Notes that a user (bare JID) has not got a message yet.

        :param holder: sid of the session that it is being sent to.
        :param expire: when it is no longer wanted, in microseconds since 1970.
        :raises StanzaError: as :meth:`enter`.
        """
        entry = self.enter(stanza, archived=False)
        entry.unit.append((pending, (self.owner(user), entry.id, holder, expire)))
        return entry

    def settle(self, user: JID, settled: Iterable[tuple[int, bool]]) -> None:
        """Notes that a user has got messages.

        :param settled: the ids, and whether an archive shows the message.
        """
        owner = self.owner(user)
        settled = list(settled)
        self._writer.remove(pending, [(owner, identifier) for identifier, _ in settled])
        alone = [identifier for identifier, archived in settled if not archived]
        if alone:
            self._writer.remove(messages, alone)

    # -- reading

    async def barrier(self) -> None:
        """Waits until all that was written so far is on disk."""
        await self._writer.barrier()

    async def pending(self, user: JID, after: int, most: int) -> list[Pending]:
        """What waits for a user behind an id, oldest first."""
        owner = self.number(user)
        return await self._db.read(
            "message_log_pending", lambda c: reading.pending_of(c, owner, after, most)
        )

    async def hold(self, user: JID, ids: list[int], holder: int) -> None:
        """Notes that what waits for a user is on its way to a session."""
        owner = self.number(user)
        await self._db.run("message_log_hold", lambda c: reading.hold(c, owner, ids, holder))

    async def pending_count(self, user: JID, most: int) -> int:
        """How many messages wait for a user; ``most`` if there are more."""
        owner = self.number(user)
        return await self._db.read(
            "message_log_count", lambda c: reading.pending_count(c, owner, most)
        )

    async def forget_pending(self, user: JID) -> None:
        """Drops all that waits for a user."""
        await self.barrier()
        owner = self.number(user)
        keys = await self._db.read("message_log_keys", lambda c: reading.pending_keys(c, owner))
        self.settle(user, keys)
        await self.barrier()

    async def drop_expired(self, now: int) -> int:
        """Drops some of what has expired; how many messages those were."""
        found = await self._db.read("message_log_expired", lambda c: reading.expired(c, now))
        self._writer.remove(pending, [(owner, identifier) for owner, identifier, _ in found])
        alone = [identifier for _, identifier, archived in found if not archived]
        if alone:
            self._writer.remove(messages, alone)
        return len(found)


def marked(stanza: Stanza, user: JID) -> Stanza:
    """A logged message for a user, with the id that it has in the user's log (XEP-0359).

    Ids that claim to be the user's and were made by somebody else are removed (§5).
    """
    by = str(user)
    if STANZA_ID in stanza.children:
        stanza = without_ids(stanza, by)
    stanza.log.marked = True
    xml = f"<stanza-id xmlns='{ns.STANZA_ID}' by='{escape(by)}' id='{stanza.log.id}'/>"
    return stanza.with_child(STANZA_ID, xml.encode())


def without_ids(stanza: Stanza, by: str) -> Stanza:
    """The stanza without ``<stanza-id/>`` elements that claim to be from ``by``."""
    kept = [
        child
        for child in stanza.element.children
        if isinstance(child, str)
        or (child.uri, child.name) != STANZA_ID
        or child.getAttribute("by") != by
    ]
    return stanza.copy(inner=b"".join(serialise(_text(child)) for child in kept))


def _text(child: Any) -> Any:
    return escape(child) if isinstance(child, str) else child
