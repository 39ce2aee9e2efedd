"""Hands a session what waits for its user, oldest first, before anything newer."""

from collections import deque
from collections.abc import Callable
from contextlib import suppress
from typing import Final

from twisted.internet import task
from twisted.internet.defer import CancelledError, Deferred

from modules.mod_offline.rules import delay
from mongoosetw.hooks.c2s import SessionLike
from mongoosetw.hooks.privacy import PrivacyCheck
from mongoosetw.ids import node_of
from mongoosetw.messagelog import Entry, MessageLog, Pending, marked
from mongoosetw.xmpp import ns
from mongoosetw.xmpp.errors import BackendUnavailable
from mongoosetw.xmpp.stanza import Stanza

PAGE: Final = 50
"""Messages that are read, and that may wait for the client's acknowledgement, at a time."""
_HELD: Final = 500
"""Newer messages that are kept in memory meanwhile; further ones only in the log."""
_TRY_AGAIN: Final = 1.0
"""Seconds."""


class CatchUp:
    """One session that catches up.

    :param now: microseconds since 1970.
    :ivar sending: something is being written to the session right now.
    :ivar skipped: some that waits is for another session, since this one takes no messages now.
    """

    def __init__(self, log: MessageLog, session: SessionLike, now: Callable[[], int]) -> None:
        self._log = log
        self._session = session
        self._now = now
        self._held: deque[Stanza] = deque()
        self._sure: set[int] = set()
        self.sending = False
        self.skipped = False
        self._over = False
        self._rest: int | None = None  # the first that is in the log only
        self._again = False
        self._unacknowledged = 0
        self._room: Deferred[None] | None = None

    @property
    def full(self) -> bool:
        """Whether newer messages are found in the log only, from now on."""
        return len(self._held) >= _HELD

    def hold(self, stanza: Stanza, *, sure: bool = False) -> None:
        """Keeps a newer message, which is in the log, back until its turn.

        :param sure: another session of the user gets it, whatever becomes of this one.
        """
        if self.full:
            self._rest = min(self._rest or stanza.log.id, stanza.log.id)
            return
        self._held.insert(self._place(stanza.log.id), stanza)
        if sure:
            self._sure.add(stanza.log.id)

    def _place(self, identifier: int) -> int:
        """Where a message belongs among those held back: it may have been on a longer way.

        Ids are an order among those of one node.
        """
        place = len(self._held)
        for index in range(place - 1, -1, -1):
            other = self._held[index].log.id
            if node_of(other) == node_of(identifier):
                if other <= identifier:
                    break
                place = index
        return place

    def give_up(self, *, goes_on: bool = False) -> None:
        """The session has gone: what was held back for it waits in the log.

        :param goes_on: on another node, where it is given that. Else what another session has got
            does not wait.
        """
        self._over = True
        user, sure = self._session.bare, set() if goes_on else self._sure
        for stanza in self._held:
            if stanza.log.id in sure:
                self._log.settle(user, [stanza.log])
            else:
                self._log.keep(user, stanza.log, self._session.sid)
        self._held.clear()

    def look_again(self) -> None:
        """There may be more in the log than there was."""
        self._again = True

    def acknowledged(self, count: int) -> None:
        """The client has acknowledged messages (XEP-0198): there may be room for more."""
        self._unacknowledged = max(0, self._unacknowledged - count)
        if self._room is not None and self._unacknowledged <= PAGE // 2:
            room, self._room = self._room, None
            room.callback(None)

    async def run(self) -> None:
        """Delivers all that waits. What arrives after it has returned is not held back."""
        after = 0
        while True:
            after, more = await self._next_page(after)
            if more:
                pass
            elif self._again:  # what was found out to wait is older than what is held back
                after, self._again = 0, False
            else:
                while self._held:
                    self._send(self._held[0])
                    self._held.popleft()
                if self._rest is None and not self._again:
                    return
                after, self._rest = 0, None
            await self._wait_for_room()

    async def _next_page(self, after: int) -> tuple[int, bool]:
        """Delivers messages behind an id, up to those that did not find room in memory.

        Ids are no order among messages of several nodes: one that waits may be greater than one
        that has come since.

        :returns: the last id that was looked at, and whether there may be more.
        """
        session, user = self._session, self._session.bare
        page = await self._read(after)
        alive = {other.sid for other in session.host.sessions.of(user)}
        sent = []
        for message in page:
            if self._rest is not None and message.id >= self._rest:
                page = []
                break
            after = message.id
            if message.holder in alive or self._log.on_its_way(message.id):
                continue  # on its way to a session that may still acknowledge it
            stanza = self._stanza(message)
            if not self._is_due(stanza):
                self.skipped = True
                continue
            sent.append(message.id)
            self._send_older(message.id)
            expired = message.expire is not None and message.expire <= self._now()
            if expired or not await self._let_in(stanza):
                self._log.settle(user, [stanza.log])
            else:
                self._send(stanza)
        if sent and "sm" in session.flags:
            with suppress(BackendUnavailable):  # a restart would have them sent again
                await self._log.take(user, sent, session.sid)
        return after, len(page) == PAGE

    def _is_due(self, stanza: Stanza) -> bool:
        """Whether the session is to be given a message.

        RFC 6121 §8.5.3.1: what is for its own address does not depend on its priority. Newer
        messages for that are delivered to it, so it catches up with older ones where a link lost
        them.
        """
        session = self._session
        takes_all = session.priority is not None and session.priority >= 0
        return takes_all or stanza.to == session.jid

    def _send_older(self, identifier: int) -> None:
        """What is held back may have been on a longer way than a message that waits in the log.

        Ids are an order among those of one node.
        """
        for stanza in [s for s in self._held if s.log.id < identifier]:
            if node_of(stanza.log.id) == node_of(identifier):
                self._send(stanza)
                self._held.remove(stanza)

    async def _read(self, after: int) -> list[Pending]:
        """What waits behind an id; as long as the database is away, the client waits for it."""
        for number in await self._log.all_written(self._session.bare):
            self._drop(number)
        while True:
            try:
                return await self._log.pending(self._session.bare, after, PAGE)
            except BackendUnavailable:
                await task.deferLater(self._session.host.server.clock, _TRY_AGAIN)

    def _drop(self, number: int) -> None:
        """What a node had for the session when it was lost comes by the log, or is sent again."""
        for stanza in [s for s in self._held if s.log.foreign and s.log.origin == number]:
            self._held.remove(stanza)
            self._log.keep(self._session.bare, stanza.log, self._session.sid)

    async def _let_in(self, stanza: Stanza) -> bool:
        """Whether the user still wants to hear of the sender (XEP-0016 §2.2, XEP-0191 §3.3)."""
        check = PrivacyCheck(self._session.jid, stanza, "in")
        await self._session.host.hooks.run(check)
        return check.allowed

    def _stanza(self, message: Pending) -> Stanza:
        stanza = Stanza.parse(message.stanza)
        stanza.log = Entry(message.id, shown=message.shown)
        stanza = marked(stanza, self._session.bare)
        return stanza.with_child((ns.DELAY, "delay"), delay(message.id, self._session.host.domain))

    def _send(self, stanza: Stanza) -> None:
        session = self._session
        self._sure.discard(stanza.log.id)
        self.sending = True
        session.send(stanza)
        self.sending = False
        if self._over:  # that was too much for a client that does not read: it has gone
            raise CancelledError
        if "sm" in session.flags:
            self._unacknowledged += 1
        else:
            self._log.settle(session.bare, [stanza.log])

    async def _wait_for_room(self) -> None:
        if self._unacknowledged > PAGE // 2:
            self._room = Deferred()
            await self._room
