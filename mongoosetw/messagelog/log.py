"""The message log as the rest of the server sees it."""

import logging
from collections.abc import Callable, Collection, Iterable
from functools import partial
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar

from twisted.internet.defer import Deferred
from twisted.internet.task import LoopingCall
from twisted.python.failure import Failure

from mongoosetw.cluster.alone import Alone
from mongoosetw.cluster.sessions.remote import RemoteSession
from mongoosetw.hooks.c2s import SessionLike, UserSendMessage
from mongoosetw.ids import node_of
from mongoosetw.messagelog import indexing, reading
from mongoosetw.messagelog.entry import WRITTEN, Entry
from mongoosetw.messagelog.held import Held
from mongoosetw.messagelog.nodes import LogNodes, Settled
from mongoosetw.messagelog.owners import Owners
from mongoosetw.messagelog.reach import Reach
from mongoosetw.messagelog.reading import Pending
from mongoosetw.messagelog.tables import (
    IN_OTHERS,
    IN_RECIPIENTS,
    IN_SENDERS,
    archive,
    messages,
    pending,
    positions,
)
from mongoosetw.storage.batch import Batch, LogWriter
from mongoosetw.storage.lookup import Lookup
from mongoosetw.storage.work import DatabaseUnavailable
from mongoosetw.xmpp.errors import StanzaError
from mongoosetw.xmpp.jid import JID
from mongoosetw.xmpp.stanza import Stanza

if TYPE_CHECKING:  # types only
    from mongoosetw.server import Server

logger = logging.getLogger(__name__)
T = TypeVar("T")
_Entered: TypeAlias = list[Any]  # each behind its place; tuples would be more for the collector
_LIMIT = 20_000
_INTERVAL = 0.002  # seconds between commits
_LONGEST = 0.035  # seconds, under load
_TOO_MANY = 8_000  # so many that wait for the disk slow their senders down
_MANY = 64  # so many that wait for it are much: then what each costs counts
_RECIPIENT, _FLAGS, _HOLDER = 2, 3, 4  # columns of message_log
_TICK = 1.0  # seconds
_HELD_TICKS = 4
_INDEX_MOST = 16_000  # messages: by so many at once each costs two thirds of what it does by 4 000
_INDEX_SOME = 1_000  # the same where the wait of those that come meanwhile counts more
_INDEX_TICKS = 30
_SWEEP_TICKS = 10


class MessageLog:
    """Writes messages, each once, and what is to be known of them. Open it with :meth:`open`.

    What is written in one turn is committed together. A stanza's receipt is held until what
    was written of it is on disk. While the database is away, writes wait, up to a bound;
    beyond it stanzas are refused.

    A message on its way to a session that acknowledges what it gets is *held*: that costs no
    row of its own. Held messages that are not settled soon become *pending*, with a row for
    each; after a crash those that may have been held are made pending (:meth:`recover`).

    :ivar owner: the number that stands for a bare JID, which is written down; ``number`` is for
        reading (:class:`mongoosetw.messagelog.owners.Owners`).
    :ivar alone: there are no other nodes.
    :ivar succession: what comes before what a session is given.
    :ivar held: what is on its way to sessions.
    :ivar reader: who is working off what was logged, little by little; None: nobody.
    """

    def __init__(self, server: "Server") -> None:
        self._db = server.db
        self._ids = server.ids
        self._router = server.router
        self._clock = server.clock
        self._owners = Owners(server, _INTERVAL)
        self.owner, self.number = self._owners.owner, self._owners.number
        tables = (messages, archive, pending, positions)
        self._writer = LogWriter(
            server.db,
            server.clock,
            "message_log",
            tables,
            limit=_LIMIT,
            interval=_INTERVAL,
            longest=_LONGEST,
        )
        self._waiting = Lookup(server.db, "message_log_waiting", reading.waiting)
        self._mesh = server.mesh
        self.alone = isinstance(server.mesh, Alone)
        self._nodes = LogNodes(self, server)
        self.succession = self._nodes.succession
        self._may_wait = self._nodes.may_wait
        self.reader: object | None = None
        self.held = Held(self._writer, self._ids, self._may_wait)
        self._reach = Reach(self._writer)
        self._batch = WRITTEN
        self._entered: _Entered = []  # of that batch, those with a receipt
        self._foreign: set[int] = set()  # on their way to sessions here, and held elsewhere
        self._unindexed = 0
        self._indexing = 0
        self._ticks = 0
        self._unshown = False
        self._swept = 0
        self._job = LoopingCall(self._tick)
        self._job.clock = server.clock

    async def open(self) -> None:
        """Reads what an earlier process has left, and makes pending what it had on its way."""
        self._owners.key, last = await self._db.run("message_log_open", reading.secret_and_last)
        node = self._ids.node
        own = await self._db.run("message_log_own", lambda c: indexing.last_of_earlier(c, node))
        last = max(last, own)
        self._ids.stay_above(last)
        await self.recover(node, last)
        self._may_wait.learn(await self.owners_waiting())
        self.held.settled = self._swept = last
        self._job.start(_TICK, now=False).addErrback(_log_failure)
        self._nodes.start(await self.owners_waiting(node))

    async def recover(self, node: int, through: int = 0) -> None:
        """What a node that has ended had on its way to sessions waits for the recipients again.

        :param node: the number of a node that does not run any more, or not yet again.
        :param through: up to here all that it will ever have logged is accounted for then; 0: all
            that it has logged by now.
        """
        await self._db.run("message_log_recover", lambda c: indexing.recover(c, node, through))

    async def left_behind(self, linked: Collection[int]) -> dict[int, int]:
        """Nodes that have logged more than was taken over from them, and how far they may be."""
        return await self._db.read(
            "message_log_left_behind", lambda c: indexing.left_behind(c, linked)
        )

    async def owners_waiting(self, node: int | None = None) -> set[int]:
        """For whom something waits; only what a node has logged, if its number is given."""
        return await self._db.read("message_log_owners", lambda c: reading.owners_waiting(c, node))

    async def close(self) -> None:
        """Waits until all is written."""
        if self._job.running:
            self._job.stop()
        self._nodes.stop()
        self.held.keep_all()
        await self._writer.close()
        await self._owners.close()

    def _tick(self) -> None:
        self._ticks += 1
        settled = self.held.settled
        if self._ticks % _HELD_TICKS == 0:
            if not self.alone:
                self._nodes.look_after_held()
            settled = self.held.tick()
        if settled > self._swept and self._unshown and self._ticks % _SWEEP_TICKS == 0:
            self._unshown = False
            after, self._swept = self._swept, settled
            Deferred.fromCoroutine(self._sweep(after, settled)).addErrback(_log_failure)
        many = _INDEX_MOST if self.busy else _INDEX_SOME
        if self._unindexed >= many or (self._unindexed and self._ticks % _INDEX_TICKS == 0):
            self._index().addErrback(_log_failure)

    async def _sweep(self, after: int, through: int) -> None:
        """Removes what is delivered and shown by no archive."""
        await self._writer.barrier()  # first the rows that say which messages still wait
        node = self._ids.node
        await self._db.run("message_log_sweep", lambda c: indexing.sweep(c, node, after, through))

    def _index(self) -> Deferred[None]:
        nodes = [self._ids.node, *(peer.number for peer in self._mesh.peers.values())]
        self._unindexed = min(self._unindexed, self._writer.waiting)  # what is on its way to disk
        self._indexing += 1
        return self._db.run("message_log_index", lambda c: indexing.index(c, nodes)).addBoth(
            self._was_indexed
        )

    def _was_indexed(self, result: T) -> T:
        self._indexing -= 1
        return result

    # -- writing

    def enter(self, stanza: Stanza) -> Entry:
        """Writes a message, unless it is in the log; what follows is committed with it.

        :raises StanzaError: ``internal-server-error``: too much waits for the database.
        """
        entry: Entry | None = stanza.log
        if entry is None:
            return self._log(stanza)
        if entry.batch is not self._writer.gathering:
            try:
                batch = entry.batch = self._writer.apart()
            except DatabaseUnavailable as error:
                raise StanzaError("internal-server-error", "wait") from error
            entry.place = batch.last
            if stanza.receipt is not None:
                self._await(stanza, entry)
        return entry

    def _log(self, stanza: Stanza, shown_to: JID | None = None) -> Entry:
        """Writes a message that is not in the log.

        :param shown_to: the sender, if the archive is to show it (bare JID).
        """
        sender, known = stanza.from_, self._owners.known
        assert sender is not None
        here = sender.bare
        there = here if stanza.to is None else stanza.to.bare
        first = known.get(here.text) or self.owner(here)
        second = known.get(there.text) or self.owner(there)
        identifier = self._ids.next()
        if identifier > self._reach.end:
            self._reach.extend(identifier)
        xml = stanza.to_bytes()
        shown = shown_to is here
        flags = IN_SENDERS if shown else 0
        row = (identifier, first, second, flags, 0, xml.decode())
        try:
            batch = self._writer.put(row, len(xml))
        except DatabaseUnavailable as error:
            raise StanzaError("internal-server-error", "wait") from error
        if shown:
            self._unindexed += 1
        entry = stanza.log = Entry(identifier, here, there, batch, batch.last, shown)
        if stanza.receipt is not None:
            self._await(stanza, entry)
        return entry

    def _await(self, stanza: Stanza, entry: Entry) -> None:
        """Has a stanza count as handled when what was written of it is committed."""
        assert stanza.receipt is not None
        stanza.receipt.hold()
        if entry.batch is not self._batch:
            self._begin(entry.batch)
        self._entered += (entry.place, stanza)

    def _begin(self, batch: Batch) -> None:
        """Notes from now on which stanzas count as handled when a batch is committed."""
        self._batch, self._entered = batch, []
        batch.when_committed(partial(self._committed, batch, self._entered))

    def _committed(self, batch: Batch, entered: _Entered, error: Exception | None) -> None:
        """The rows of stanzas are on disk, or the database has refused them."""
        if isinstance(error, DatabaseUnavailable):
            return  # the server stops: the senders get no acknowledgement, and send them again
        refused = batch.refused
        for place, stanza in zip(entered[::2], entered[1::2], strict=True):
            if refused and place in refused:
                logger.error("message_not_logged id=%d", stanza.log.id, exc_info=refused[place])
                self._router.bounce(stanza, StanzaError("internal-server-error", "wait"))
            assert stanza.receipt is not None
            stanza.receipt.release()

    def show(self, stanza: Stanza, user: JID, remote: JID) -> Entry:
        """Shows a message in a user's archive; both are bare JIDs.

        :raises StanzaError: as :meth:`enter`.
        """
        entry: Entry | None = stanza.log
        if entry is None:
            entry = self._log(stanza, user)
            if entry.shown:
                return entry
        elif entry.batch is not self._writer.gathering:
            entry = self.enter(stanza)
        if not entry.shown:
            entry.shown = True
            self._unindexed += 1
        batch, place = entry.batch, entry.place
        if place >= 0:
            flag = IN_RECIPIENTS if user is entry.recipient else entry.flag_of(user)
            batch.values[place + _FLAGS] |= flag
            if flag != IN_OTHERS:
                return entry
        batch.more(place, archive, (self.owner(user), entry.id, self.owner(remote)))
        return entry

    def hold(self, stanza: Stanza, user: JID, holder: int) -> Entry:
        """Notes that a message is on its way to a session that will acknowledge it.

        :param user: the session's bare JID.
        :param holder: the session's sid.
        :raises StanzaError: as :meth:`enter`.
        """
        entry: Entry = stanza.log
        if entry is not None and entry.origin is not None and entry.foreign:
            self._foreign.add(entry.id)
            return entry
        if entry is not None and entry.holder:  # it has come back, or has only waited here
            before, entry.holder = entry.holder, 0
            if self.held.pass_on(entry.id, before, holder):
                return entry
        if entry is None or entry.batch is not self._writer.gathering:
            entry = self.enter(stanza)
        entry.fresh = False
        self._unshown = self._unshown or not entry.shown
        batch, place, held = entry.batch, entry.place, self.held
        mine = user is entry.recipient or entry.is_for(user)
        if place >= 0 and mine and entry.id > held.settled:
            batch.values[place + _HOLDER] = holder
            held.add(entry.id, batch.values[place + _RECIPIENT], holder)
        else:
            owner = self.owner(user)
            self._may_wait.add(owner)
            batch.more(place, pending, (owner, entry.id, holder, None))
        return entry

    def pend(self, stanza: Stanza, user: JID, expire: int | None = None) -> Entry:
        """Notes that a message waits for a user (bare JID).

        :param expire: when it is no longer wanted, in microseconds since 1970.
        :raises StanzaError: as :meth:`enter`.
        """
        known: Entry | None = stanza.log
        if known is not None and known.holder:  # it was for a session of another node
            self.keep(user, known, known.holder)
            return known
        entry = self.enter(stanza)
        owner = self.owner(user)
        self._may_wait.add(owner)
        entry.batch.more(entry.place, pending, (owner, entry.id, None, expire))
        self._nodes.waits(user, owner)
        return entry

    def keep(self, user: JID, entry: Entry, holder: int) -> None:
        """A message did not reach a session that it was on its way to: it waits again.

        Not if it is still on its way to another one.

        :param user: whose session it was.
        """
        if entry.foreign:
            self._foreign.discard(entry.id)
            self._nodes.keep(user, entry)
        else:
            self.held.keep(entry.id, holder)
            self._nodes.waits(user, self.number(user))

    def on_its_way(self, identifier: int) -> bool:
        """Whether a session of this node may still acknowledge a message."""
        return self.held.has(identifier) or identifier in self._foreign

    def settle(self, user: JID, entries: Iterable[Entry]) -> None:
        """Notes that a user has got messages."""
        owner = self.owner(user)
        rest = []
        for entry in entries:
            if entry.origin is not None and entry.foreign:
                self._foreign.discard(entry.id)
                self._nodes.settle(entry, owner)
            elif not self.held.settle(entry.id, owner):
                rest.append((owner, entry.id, entry.shown))
        self.remove(rest)

    def settled(self, items: list[Settled]) -> None:
        """Other nodes say that messages have arrived that this one holds."""
        self.remove([item for item in items if not self.held.settle(item[1], item[0])])

    def remove(self, settled: list[Settled]) -> None:
        """Removes the rows of messages that have arrived."""
        if not settled:
            return
        self._writer.remove(pending, [(owner, identifier) for owner, identifier, _ in settled])
        alone = [identifier for _, identifier, shown in settled if not shown]
        if alone:
            self._writer.remove(messages, alone)

    def pace(self, event: UserSendMessage) -> Deferred[None] | None:
        """Has a sender wait while the disk is slower than the senders.

        Without a database nobody waits: messages are taken up to the bound, then refused.
        """
        if self._writer.waiting < _TOO_MANY or self._writer.away:
            return None
        return self._writer.barrier()

    @property
    def busy(self) -> bool:
        """Whether there is much to be written: what can be put off had better be."""
        return self._writer.waiting >= _MANY

    # -- reading

    async def barrier(self) -> None:
        """Waits until all that was written so far is on disk."""
        await self._writer.barrier()

    def found(self, session: SessionLike) -> None:
        """A session of another node takes messages from now on."""
        self._nodes.found(session)

    def look(self, session: SessionLike) -> None:
        """Has the node of a session look for what waits for its user."""
        self._nodes.look(session)

    def missed(self, session: RemoteSession) -> None:
        """Has a session of another node look for what waits for its own address alone."""
        self._nodes.unsure.tell(session.node, (session.sid,))

    def missed_with(self, node: int, sessions: Iterable[SessionLike]) -> None:
        """Has those of some sessions look that were at a node, and are at a third one now.

        :param node: its number; it is just lost, and maybe what was on its way there.
        """
        owners = self.held.owners(node)
        for session in sessions:
            if isinstance(session, RemoteSession) and self.number(session.bare) in owners:
                self.missed(session)

    def after_commit(self, function: Callable[[], object]) -> None:
        """Calls a function when all that was written so far is on disk; never, if that fails."""
        committed = self._writer.barrier().addCallback(lambda _: function())
        committed.addErrback(lambda failure: failure.trap(DatabaseUnavailable) and None)

    async def indexed(self) -> None:
        """Waits until the archives' index has all that was written so far."""
        await self._writer.barrier()
        if self._unindexed or self._indexing or self._mesh.peers:
            await self._index()

    def nothing_waits(self, user: JID) -> bool:
        """Whether it is certain, without a look at the database, that nothing waits for a user."""
        return self.number(user) not in self._may_wait

    async def all_written(self, user: JID) -> set[int]:
        """Waits until what any node had on its way to a user is found by reading.

        :returns: numbers of nodes that may have lost something older than what has come from them.
        """
        broken = await self._nodes.all_written(user)
        await self._writer.barrier()
        return broken

    async def pending(self, user: JID, after: int, most: int) -> list[Pending]:
        """What waits for a user behind an id, oldest first."""
        owner = self.number(user)
        # For most users who come online nothing waits: that is found out for many at a time
        if after == 0 and not await self._waiting.get(owner):
            return []
        found = await self._db.read(
            "message_log_pending", lambda c: reading.pending_of(c, owner, after, most)
        )
        if not self.alone:
            await self.succession.all_arrived({node_of(message.id) for message in found})
        return found

    async def take(self, user: JID, ids: list[int], holder: int) -> None:
        """Notes that what waits for a user is on its way to a session."""
        owner = self.number(user)
        for identifier in ids:
            self.held.take(identifier, owner, holder)
        await self._db.run("message_log_take", lambda c: reading.hold(c, owner, ids, holder))

    async def part_with(self, user: JID, entries: Iterable[Entry]) -> None:
        """Gives messages that are on their way to a session to the node that takes it over.

        When this returns, each has its row; :meth:`take` there makes them that node's.

        :param user: whose session it is (bare JID).
        :raises mongoosetw.cluster.sessions.calls.CallFailed: who holds some does not answer.
        :raises DatabaseUnavailable: they cannot be written now.
        """
        entries = list(entries)
        self._foreign.difference_update(entry.id for entry in entries)
        await self._nodes.part_with(self.number(user), entries)

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
        self.remove([(owner, identifier, shown) for identifier, shown in keys])
        await self.barrier()

    async def drop_expired(self, now: int) -> int:
        """Drops some of what has expired; how many messages those were."""
        found = await self._db.read("message_log_expired", lambda c: reading.expired(c, now))
        self.remove(found)
        return len(found)


def _log_failure(failure: Failure) -> None:
    logger.error("message_log_job_failed", exc_info=failure.value)
