"""What the nodes of a cluster tell one another of the messages in the log.

A message for another node's session is held by the node that has logged it, until the session's
node says that it has arrived, or that it has not. So a message is on disk and accounted for on
one node, whichever of the two is lost.
"""

import struct
from collections.abc import Collection, Iterable
from typing import TYPE_CHECKING, Final, TypeAlias, cast

from twisted.internet.defer import Deferred, succeed

from mongoosetw.cluster.mesh import Node
from mongoosetw.cluster.sessions.recent import Recent
from mongoosetw.cluster.sessions.remote import RemoteSession
from mongoosetw.cluster.sessions.repeats import Repeats
from mongoosetw.hooks.c2s import SessionLike
from mongoosetw.hooks.routing import MessagesWait
from mongoosetw.messagelog.entry import Entry
from mongoosetw.messagelog.succession import Succession
from mongoosetw.messagelog.takeover import TakeOver
from mongoosetw.messagelog.unsure import Unsure, sids_of
from mongoosetw.messagelog.waiting import MayWait
from mongoosetw.messagelog.writing import BeingWritten, unless_gone
from mongoosetw.timers import Timers
from mongoosetw.xmpp.jid import JID

if TYPE_CHECKING:  # types only
    from mongoosetw.messagelog.log import MessageLog
    from mongoosetw.server import Server

CHANNEL: Final = "log"
Settled: TypeAlias = tuple[int, int, bool]
"""Owner, id, and whether an archive shows the message."""

_SETTLED: Final = 0
_KEPT: Final = 1
_LOOK: Final = 2
_RECOVERED: Final = 3
_WAITING: Final = 4
_MAY_WAIT: Final = 5
_HOLD: Final = 6
_LOST: Final = 7
_UNSURE: Final = 8
_ITEM: Final = struct.Struct("!QQB")
_STRANDED: Final = struct.Struct("!QQ")
_ID: Final = struct.Struct("!Q")
_PART: Final = "log-part"
_COMMITTED: Final = "log-committed"
_PATIENCE: Final = 10.0
"""Seconds that a node has to write what it holds."""
_STASH: Final = 20_000
_RECENT: Final = 3600.0
"""Seconds: messages that began to wait before that were found by whoever has come since."""
_UNDER_WAY: Final = 60.0
"""Seconds: what a node was told longer ago has arrived if its link is lost now."""
_LOOKS: Final = 3
"""Ticks after a loss: what has just been sent then has been on its way for long by the last."""


class LogNodes:
    """This node's log as one of several.

    :ivar may_wait: for whom something may wait, on whatever node it was logged.
    :ivar written: for whom other nodes are writing something.
    :ivar succession: what comes before what a session is given.
    """

    def __init__(self, log: "MessageLog", server: "Server") -> None:
        self._log = log
        self._server = server
        self._mesh = server.mesh
        self._settled: dict[int, list[Settled]] = {}
        self._kept: dict[int, set[int]] = {}  # owners, by who holds their messages
        self._flushing = False
        self._recent: dict[int, float] = {}
        self.unsure = Unsure(server.mesh, CHANNEL, _UNSURE)
        self._looks = 0
        self._told: Recent[tuple[str, int], tuple[str, int]] = Recent(server.clock, _UNDER_WAY)
        self._parted: Recent[tuple[str, int], tuple[str, int]] = Recent(server.clock, _UNDER_WAY)
        self._timers = Timers(server.clock)
        self._repeats = Repeats(server.mesh, server.clock, self._send_now)
        self.written = BeingWritten(self._timers)
        self._takeover = TakeOver(
            log,
            server,
            self._timers,
            self._look_after_all,
            self._tell_lost,
            self._tell_of_left,
            self._taken_over,
        )
        server.mesh.watch(self._up, self._down)
        self.may_wait = MayWait(
            server.mesh,
            server.flusher,
            self._tell_of,
            lambda node: Deferred.fromCoroutine(self._owners_of_all(node)),
            self._timers,
        )
        self.succession = Succession(log, server, self.may_wait, self.written, self._ask_for_kept)

    def start(self, owners: Iterable[int]) -> None:
        """The log is open.

        :param owners: for whom an earlier process of this node has left something: they may be
            on other nodes.
        """
        self._note(owners)
        self._mesh.receive(CHANNEL, self._received)
        self._takeover.start()
        self.succession.start()
        if self._server.cluster is not None:
            self._server.cluster.calls.serve(_PART, self._asked_to_part)
            self._server.cluster.calls.serve(_COMMITTED, self._asked_to_commit)
        self.may_wait.start()

    def stop(self) -> None:
        """The log is about to close."""
        self._timers.stop()
        self._kept.clear()  # nobody waits for that any more
        self.flush()
        self._repeats.stop()

    # -- messages that another node holds

    def settle(self, entry: Entry, owner: int) -> None:
        """A message has arrived."""
        assert entry.origin is not None
        self._settled.setdefault(entry.origin, []).append((owner, entry.id, entry.shown))
        self._flush_soon()

    def _flush_soon(self) -> None:
        if not self._flushing:
            self._flushing = True
            self._server.flusher.add(self)

    def flush(self) -> None:
        """The turn ends: tells those who hold what has arrived; or keeps that for later."""
        self._flushing = False
        for number, items in list(self._settled.items()):
            payload = bytes((_SETTLED,)) + b"".join(_ITEM.pack(*item) for item in items)
            if self._send(number, payload):
                del self._settled[number]
            else:
                del items[:-_STASH]  # what is forgotten is delivered again
        self._ask_for_kept()

    def _ask_for_kept(self) -> None:
        kept, self._kept = self._kept, {}
        for number, owners in kept.items():
            self.written.expect(owners, self._ask_to_commit(self._peer(number)))

    def keep(self, user: JID, entry: Entry) -> None:
        """A message has not arrived: it waits again, unless it is on its way elsewhere, too.

        Whoever of this node catches up waits until that is so.
        """
        assert entry.origin is not None
        owner, head = self._log.number(user), _STRANDED.pack(entry.id, entry.holder)
        node = self._peer(entry.origin)
        if node is None:
            return
        self._repeats.send(node.name, bytes((_KEPT,)) + head + str(user).encode())
        self.may_wait.learn((owner,))
        self._kept.setdefault(entry.origin, set()).add(owner)
        self._flush_soon()

    async def part_with(self, owner: int, entries: Iterable[Entry]) -> None:
        """Those who hold messages give them rows, and leave them to whoever takes these.

        If that is a newer session after all, it waits for them.

        :raises CallFailed: another node did not.
        :raises DatabaseUnavailable: this one could not.
        """
        done: Deferred[bytes] = Deferred()
        self.written.expect((owner,), done)
        try:
            await self._part_with(entries)
        finally:
            done.callback(b"")

    async def _part_with(self, entries: Iterable[Entry]) -> None:
        by_origin: dict[int | None, list[int]] = {}
        for entry in entries:
            by_origin.setdefault(entry.origin if entry.foreign else None, []).append(entry.id)
        own = by_origin.pop(None, [])
        asked = [self._ask_to_part(number, ids) for number, ids in by_origin.items()]
        self._log.held.part_with(own)
        await self._log.barrier()
        for answer in asked:
            await answer

    def _ask_to_part(self, number: int | None, ids: list[int]) -> Deferred[bytes]:
        """Asks a node; who is gone is asked nothing, for its messages are taken over."""
        node = self._peer(number)
        if node is None or self._server.cluster is None:
            return succeed(b"")
        payload = struct.pack(f"!{len(ids)}Q", *ids)
        asked = self._server.cluster.calls.call(node.name, _PART, payload, _PATIENCE)
        return asked.addErrback(unless_gone)

    async def _asked_to_part(self, node: Node, payload: bytes) -> bytes:
        ids = [identifier for (identifier,) in _ID.iter_unpack(payload)]
        for owner in self._log.held.part_with(ids):
            self._parted.put((node.name, owner), (node.name, owner))
        await self._log.barrier()
        return b""

    # -- messages that wait, and sessions that take them

    def waits(self, user: JID, owner: int) -> None:
        """A message that is being written waits for a user, who may just be coming elsewhere."""
        if self._log.alone:
            return
        now = self._server.clock.seconds()
        if self._recent and next(iter(self._recent.values())) < now - _RECENT:
            self._recent = {o: at for o, at in self._recent.items() if at >= now - _RECENT}
        self._recent.pop(owner, None)
        self._recent[owner] = now
        self._log.after_commit(lambda: self._tell(user))

    def _note(self, owners: Iterable[int]) -> None:
        """Something waits for owners whose sessions may become known any time."""
        self._recent |= dict.fromkeys(owners, self._server.clock.seconds())

    def found(self, session: SessionLike) -> None:
        """A session of another node takes messages from now on; it may have missed some.

        It has to know that before it gets newer ones from here, so it is told at once, and asks
        itself when those are on disk.
        """
        if not self._recent:
            return
        if self._recent.pop(self._log.number(session.bare), None) is not None:
            self._send_user(session, _HOLD)

    def look(self, session: SessionLike) -> None:
        """Has the node of a session look for what waits for its user."""
        self._send_user(session, _LOOK)

    def _send_user(self, session: SessionLike, kind: int) -> None:
        payload = bytes((kind,)) + str(session.bare).encode()
        node, owner = cast(RemoteSession, session).node, self._log.number(session.bare)
        self._told.put((node, owner), (node, owner))
        self._repeats.send(node, payload)

    def _tell_of(self, owners: list[int]) -> None:
        """Rows are being written for owners for whom there were none."""
        payload = struct.pack(f"!B{len(owners)}Q", _MAY_WAIT, *owners)
        self._mesh.broadcast(CHANNEL, payload)

    async def _owners_of_all(self, node: Node | None) -> set[int]:
        """For whom anything waits, including what another node may be writing right now.

        :raises CallFailed: the node does not answer.
        :raises DatabaseUnavailable: the table cannot be read.
        """
        await self._ask_to_commit(node)
        return await self._log.owners_waiting()

    def _ask_to_commit(self, node: Node | None) -> Deferred[bytes]:
        """Fires when all that a node has written is on disk; fails with CallFailed."""
        if self._server.cluster is None or node is None:
            return succeed(b"")
        return self._server.cluster.calls.call(node.name, _COMMITTED, b"", _PATIENCE)

    async def _asked_to_commit(self, node: Node, payload: bytes) -> bytes:
        self.may_wait.answers(node)
        await self._log.barrier()
        return b""

    def _tell(self, user: JID, *, here: bool = False) -> None:
        host = self._server.host_for(user.domain)
        if host is not None and host.sessions.of(user):
            host.hooks.fire(MessagesWait(user, here))

    def _tell_all(self, owners: Iterable[int]) -> None:
        """What waits for some owners is for whoever of them is there."""
        wanted = set(owners)
        if wanted and self._locates:
            self._tell_others(wanted)
        self._tell_present(wanted)

    def _tell_others(self, owners: Collection[int]) -> None:
        """What waits for some owners is for those of them whom other nodes know."""
        for node in self._mesh.peers.values():
            self._send_waiting(node, owners)

    @property
    def _locates(self) -> bool:
        """Whether nobody knows all sessions: then whoever has one of a user knows them all."""
        return any(host.locate for host in self._server.hosts.values())

    def _send_waiting(self, node: Node, owners: Collection[int]) -> None:
        self._mesh.send(node.name, CHANNEL, struct.pack(f"!B{len(owners)}Q", _WAITING, *owners))

    def _tell_present(self, owners: set[int]) -> None:
        for host in self._server.hosts.values():
            users = {session.bare for session in host.sessions} if owners else ()
            for user in users:
                if self._log.number(user) in owners:
                    host.hooks.fire(MessagesWait(user, False))

    async def all_written(self, user: JID) -> set[int]:
        """Waits until all that other nodes had on their way to a user has its rows.

        A session that comes from a lost node would get what is newer before it. If the node lives,
        and only the link is lost, that may take for ever: then there is an end to it.

        :returns: as :meth:`BeingWritten.broken`.
        """
        self._ask_for_kept()
        owner = self._log.number(user)
        await self.written.wait(owner)
        return self.written.broken(owner)

    def _hold(self, node: Node, user: JID) -> None:
        """A node writes something for a user right now: their session waits for that."""
        owner = self._log.number(user)
        self.may_wait.learn((owner,))
        self.written.expect_from(node.number, owner, self._ask_to_commit(node))
        self._tell(user, here=True)

    def _have_look(self, user: JID) -> None:
        """Something waits for a user of this node: that was told at once, the rest may follow."""
        self.may_wait.learn((self._log.number(user),))
        self._tell(user, here=True)

    def _missed(self, node: Node, sids: set[int]) -> None:
        """Messages for sessions of this node were on their way by a link that was lost.

        Those that take none for the account get what is for their own addresses all the same.
        """
        for host in self._server.hosts.values():
            for session in [s for s in host.sessions.local() if s.sid in sids]:
                owner = self._log.number(session.bare)
                self.may_wait.learn((owner,))
                self.written.expect_from(node.number, owner, self._ask_to_commit(node))
                host.hooks.fire(MessagesWait(session.bare, True, session))

    # -- nodes that come and go

    def _peer(self, number: int | None) -> Node | None:
        return next((n for n in self._mesh.peers.values() if n.number == number), None)

    def _send(self, number: int, payload: bytes) -> bool:
        node = self._peer(number)
        return node is not None and self._send_now(node.name, payload)

    def _send_now(self, node: str, payload: bytes) -> bool:
        return self._mesh.send(node, CHANNEL, payload)

    def _up(self, node: Node) -> None:
        self._takeover.is_back(node.number)
        self.written.believe(node.number)
        if node.number in self._settled:
            self.flush()
        self.unsure.linked(node)
        if self._recent and self._locates:
            self._log.after_commit(lambda: self._send_waiting(node, self._recent))

    def _down(self, node: Node) -> None:
        """What was on its way there waits; what it had on its way is taken over if it is lost."""
        self._repeats.lost(node.name)
        self.unsure.lost(node, self._log.held.holders(node.number))
        lost = self._log.held.lost(node.number)
        self._wait_again(lost)
        if lost and not self._locates:  # a session may be there still, and be known to others
            self._log.after_commit(lambda: self._tell_others(lost))
        self._note(owner for name, owner in self._told.values() if name == node.name)
        # Those whose sessions were to go on elsewhere, and may be lost with it
        self._wait_again({owner for name, owner in self._parted.values() if name == node.name})
        self._looks = _LOOKS
        self._takeover.lost(node.number)
        if not self._mesh.left(node.name):  # who leaves has nothing on its way
            self.written.doubt(node.number)

    def look_after_held(self) -> None:
        """After a loss, what is on its way to sessions that nobody knows any more waits."""
        if not self._looks:
            return
        self._looks -= 1
        self._wait_again(self._log.held.outlived(self._alive()))

    def _look_after_all(self) -> None:
        """A node is lost: what may have followed a session there waits, however young it is.

        If the session lives on a node that nobody has lost, what is on its way there may come
        twice.
        """
        self._wait_again(self._log.held.outlived(self._alive(), young=True))

    def _alive(self) -> set[int]:
        hosts = self._server.hosts.values()
        return {session.sid for host in hosts for session in host.sessions}

    def _wait_again(self, owners: set[int]) -> None:
        self._note(owners)
        if owners:
            self._log.after_commit(lambda: self._tell_all(owners))

    def _tell_lost(self, numbers: Iterable[int]) -> None:
        self._mesh.broadcast(CHANNEL, bytes((_LOST, *numbers)))

    def _tell_of_left(self, owners: Collection[int]) -> None:
        """A lost node has left something for owners."""
        self._note(owners)
        for owner in owners:
            self.may_wait.add(owner)
        self._tell_all(owners)

    def _taken_over(self, number: int) -> None:
        self._mesh.broadcast(CHANNEL, bytes((_RECOVERED, number)))
        self._recovered(number)

    def _recovered(self, number: int) -> None:
        """A lost node's messages have their rows: what has arrived is removed from them."""
        self._looks = _LOOKS  # this node may not have been linked to the lost one
        self._takeover.is_back(number)
        self.written.believe(number)
        self._log.remove(self._settled.pop(number, []))

    def _received(self, node: Node, payload: bytes) -> None:
        kind, rest = payload[0], payload[1:]
        if kind == _SETTLED:
            self._log.settled([(o, i, bool(shown)) for o, i, shown in _ITEM.iter_unpack(rest)])
        elif kind == _KEPT:
            identifier, holder = _STRANDED.unpack_from(rest)
            self._stranded(identifier, holder, JID.parse(rest[_STRANDED.size :].decode()))
        elif kind == _LOOK:
            self._have_look(JID.parse(rest.decode()))
        elif kind == _HOLD:
            self._hold(node, JID.parse(rest.decode()))
        elif kind == _UNSURE:
            self._missed(node, sids_of(rest))
        elif kind == _LOST:
            self._takeover.lost_by_others(rest)
        elif kind == _WAITING:
            owners = {number for (number,) in _ID.iter_unpack(rest)}
            self.may_wait.learn(owners)
            self._tell_present(owners)
        elif kind == _RECOVERED:
            self._recovered(rest[0])
        elif kind == _MAY_WAIT:
            self.may_wait.learn(owner for (owner,) in _ID.iter_unpack(rest))

    def _stranded(self, identifier: int, holder: int, user: JID) -> None:
        self._log.held.comes_back(identifier, holder)
        self.waits(user, self._log.number(user))
