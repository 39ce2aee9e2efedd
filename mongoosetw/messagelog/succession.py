"""What comes before what a session is given: the rest of an older one, and what is under way."""

import struct
from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final

from twisted.internet.defer import Deferred
from twisted.internet.task import deferLater

from mongoosetw.cluster.mesh import Node
from mongoosetw.cluster.sessions.moving import MovingSession
from mongoosetw.cluster.sessions.remote import RemoteSession
from mongoosetw.hooks.c2s import SessionLike
from mongoosetw.messagelog.waiting import MayWait
from mongoosetw.messagelog.writing import BeingWritten, no_answer
from mongoosetw.storage.work import DatabaseUnavailable
from mongoosetw.xmpp.jid import JID

if TYPE_CHECKING:  # types only
    from mongoosetw.messagelog.log import MessageLog
    from mongoosetw.server import Server

_SUCCEEDED: Final = "log-succeeded"
_ARRIVED: Final = "log-arrived"
_SID: Final = struct.Struct("!Q")
_PATIENCE: Final = 10.0
"""Seconds that an older session has to end."""
_ARRIVES: Final = 5.0
"""Seconds after which nobody waits for what is under way."""
_GLANCE: Final = 0.02


class Succession:
    """Has sessions of this node wait for that, and answers other nodes that ask for it.

    :param settle: asks those who hold messages of this node's to write them.
    """

    def __init__(
        self,
        log: "MessageLog",
        server: "Server",
        may_wait: MayWait,
        written: BeingWritten,
        settle: Callable[[], None],
    ) -> None:
        self._log = log
        self._server = server
        self._may_wait = may_wait
        self._written = written
        self._settle = settle

    def start(self) -> None:
        """The log is open."""
        if self._server.cluster is not None:
            self._server.cluster.calls.serve(_SUCCEEDED, self._asked_for_the_rest)
            self._server.cluster.calls.serve(_ARRIVED, lambda node, payload: b"")

    def succeeds(self, older: SessionLike) -> None:
        """A session of this node has the address of one that leaves messages.

        That is another node's, or was about to go there.
        """
        if self._server.cluster is None:
            return
        owner = self._log.number(older.bare)
        if isinstance(older, MovingSession):
            moved: Deferred[Any] = older.when_ended()
            left = moved.addCallback(lambda _: Deferred.fromCoroutine(self._all_on_disk()))
        elif isinstance(older, RemoteSession):
            question = _SID.pack(older.sid) + str(older.jid).encode()
            call = self._server.cluster.calls.call
            left = call(older.node, _SUCCEEDED, question, _PATIENCE)
        else:
            return
        self._may_wait.learn((owner,))
        self._written.expect((owner,), left)

    async def _all_on_disk(self) -> bytes:
        with suppress(DatabaseUnavailable):  # it is being closed
            await self._log.barrier()
        return b""

    async def _asked_for_the_rest(self, node: Node, payload: bytes) -> bytes:
        """Answers when a session has ended, and what its client has not acknowledged waits.

        Whoever asks waits no longer if it does not end: the link may be lost that tells why.
        """
        (sid,), jid = _SID.unpack_from(payload), JID.parse(payload[_SID.size :].decode())
        clock = self._server.clock
        until = clock.seconds() + _PATIENCE
        while self._has(sid, jid) and clock.seconds() < until:
            await deferLater(clock, _GLANCE)
        self._settle()
        await self._written.wait(self._log.number(jid.bare))
        await self._log.barrier()
        return b""

    def _has(self, sid: int, jid: JID) -> bool:
        host = self._server.host_for(jid.domain)
        session = None if host is None else host.sessions.get(jid)
        return session is not None and session.local and session.sid == sid

    def left_by_lost(self) -> Deferred[None] | None:
        """Fires when what lost nodes had on their way is found by reading; None if it is.

        At the latest after some seconds: it is not known whether they are dead, or cut off.
        """
        return self._written.wait_for_lost()

    async def all_arrived(self, numbers: Iterable[int]) -> None:
        """Waits until what some nodes have sent before they wrote something has arrived here.

        What is read in the database may be newer than that.

        :param numbers: the nodes'; who is not linked has nothing under way.
        """
        if self._server.cluster is None:
            return
        call, peers = self._server.cluster.calls.call, self._server.mesh.peers
        wanted = set(numbers)
        names = [name for name, node in peers.items() if node.number in wanted]
        for asked in [call(n, _ARRIVED, b"", _ARRIVES).addErrback(no_answer) for n in names]:
            await asked
