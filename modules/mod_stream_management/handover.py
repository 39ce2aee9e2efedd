"""Sessions that are resumed on another node than theirs, or have to leave with their node.

A node that is asked for a session it does not know asks the node that has it. That one parts the
session from its old connection, as if it were resumed there, has all that the client has not
acknowledged noted in the message log, and sends it: from then on until the other node tells of it,
what comes for the session waits (:mod:`mongoosetw.cluster.sessions.moving`).
"""

from collections.abc import Iterator
from contextlib import suppress
from functools import partial
from itertools import chain, count
from typing import TYPE_CHECKING, Any, Final

from twisted.internet.defer import CancelledError, Deferred, FirstError, gatherResults

from modules.mod_stream_management import package
from modules.mod_stream_management.arrivals import Arrivals
from modules.mod_stream_management.ledger import SessionLedger
from modules.mod_stream_management.package import BadPackage, Item, Package, Refused
from modules.mod_stream_management.rerouting import reroute
from mongoosetw.c2s.session import Session
from mongoosetw.cluster.mesh import Node
from mongoosetw.cluster.sessions.calls import CallFailed
from mongoosetw.cluster.sessions.cluster import Cluster
from mongoosetw.cluster.sessions.moving import PATIENCE, MovingSession
from mongoosetw.cluster.sessions.remote import RemoteSession
from mongoosetw.hooks.cluster import SessionMoved, SessionPacks, SessionUnpacks
from mongoosetw.hooks.routing import MessagesWait
from mongoosetw.ids import node_of
from mongoosetw.xmpp.errors import BackendUnavailable, StanzaError, StreamError
from mongoosetw.xmpp.jid import JID
from mongoosetw.xmpp.sm import Counts, Unacknowledged
from mongoosetw.xmpp.stanza import Stanza

if TYPE_CHECKING:  # types only
    from modules.mod_stream_management.module import StreamManagement

_PATIENCE: Final = 15.0
"""Seconds in which a node has to answer."""
_ATTEMPTS: Final = 2
_LANES: Final = 20
"""Sessions that are sent to other nodes at the same time."""
_REMEMBERED: Final = 10_000
_GONE: Final = "gone"
_UNCERTAIN: Final = ("link-lost", "timeout")
"""Why there may be no answer of a node that has taken a session nevertheless."""


class HandOver:
    """What a node of several does with the sessions of one host.

    :ivar moving: those that have just begun to move, or have just come, by resumption id.
    """

    def __init__(self, module: "StreamManagement", cluster: Cluster) -> None:
        self._module = module
        self._host = module.host
        self._cluster = cluster
        self._arrivals = Arrivals(module, self)
        self._went: dict[str, str] = {}  # oldest first
        self.moving: dict[str, MovingSession] = {}
        domain = module.host.domain
        self._calls = {f"sm-claim {domain}": self._claimed, f"sm-adopt {domain}": self._adopted}

    def start(self) -> None:
        """Answers other nodes from now on."""
        for name, handler in self._calls.items():
            self._cluster.calls.serve(name, handler)

    def stop(self) -> None:
        """Answers them no longer; what has just begun to move stays."""
        for moving in list(self.moving.values()):
            self._cluster.moves.stay(moving)
        for name in self._calls:
            self._cluster.calls.withdraw(name)

    # -- sessions that come

    async def claim(self, user: JID, attributes: dict[str, str]) -> tuple[SessionLedger, int]:
        """As :meth:`StreamManagement.claim`, of a session that any node may have.

        :raises Refused: it cannot be resumed.
        :raises StreamError: the client claims to have handled more than it was sent.
        """
        asked: set[str] = set()
        hint, h = "", None
        await self.locate(user)
        while True:
            try:
                return await self._module.claim(user, attributes)
            except Refused as refusal:
                if refusal.condition != "item-not-found":
                    raise
                h = refusal.h if h is None else h
                hint = refusal.node or hint
            node = next(self._candidates(user, attributes["previd"], hint, asked), None)
            if node is None:
                raise Refused("item-not-found", h)
            asked.add(node)
            try:
                await self._fetch(node, user, attributes)
            except Refused as refusal:
                h = refusal.h if refusal.h is not None else h
                hint = refusal.node or hint

    async def locate(self, user: JID) -> None:
        """Makes sure that it is known which nodes have sessions of a user."""
        located = self._cluster.directory.prepare((user,))
        if located is not None:
            await located

    def _candidates(self, user: JID, previous: str, hint: str, asked: set[str]) -> Iterator[str]:
        """Nodes that may have a session, the likeliest first."""
        peers = self._host.server.mesh.peers
        number = _number(previous)
        first = (name for name, node in peers.items() if node.number == number)
        sessions = self._host.sessions.of(user)
        others = (s.node for s in sessions if isinstance(s, RemoteSession))
        for name in chain((hint,), first, others):
            if name in peers and name not in asked:
                yield name

    async def _fetch(self, node: str, user: JID, attributes: dict[str, str]) -> None:
        question = package.pack_question(user, attributes["previd"], attributes["h"])
        try:
            got = await self._ask(node, question)
            await self._arrivals.install(got, node)
        except (CallFailed, BadPackage) as error:
            self._module.log.info("session_not_fetched node=%s reason=%s", node, error)
            raise Refused("item-not-found") from error

    async def _ask(self, node: str, question: bytes) -> Package:
        """Asks a node, once more if the answer is so old that the node believes it was not taken.

        That may be if this node was frozen meanwhile.
        """
        clock, name = self._module.clock, f"sm-claim {self._host.domain}"
        for _ in range(_ATTEMPTS):
            began = clock.seconds()
            answer = await self._cluster.calls.call(node, name, question, _PATIENCE)
            got = package.answer(answer)
            if clock.seconds() - began < PATIENCE:
                return got
        raise Refused("item-not-found")

    async def _adopted(self, node: Node, payload: bytes) -> bytes:
        """A node that is about to go sends a session whose client is not connected."""
        if self._host.server.draining:
            raise StanzaError(_GONE)
        try:
            await self._arrivals.install(package.unpack(payload), node.name)
        except (Refused, BadPackage) as error:
            raise StanzaError("not-acceptable") from error
        return b""

    # -- sessions that go

    async def _claimed(self, node: Node, payload: bytes) -> bytes:
        """The client of a session that may be here has come to another node."""
        user, attributes = package.unpack_question(payload)
        try:
            ledger, _ = await self._module.claim(user, attributes)
        except Refused as error:
            error.node = self._went.get(attributes["previd"], "")
            return package.refusal(error)
        except StreamError as error:
            return package.refusal(error)
        h = ledger.tell()
        moving, packed = await self._part(ledger, node.name)
        if packed is None:
            return package.refusal(Refused("item-not-found", h))
        self._cluster.moves.sent(moving)
        return package.given(packed)

    async def _part(self, ledger: SessionLedger, node: str) -> tuple[MovingSession, bytes | None]:
        """Makes a session ready to go, whose client is not connected.

        :returns: what stands in for it, and the session as bytes; None if it has to stay.
        """
        left = self._module.wait_no_longer(ledger)
        state: dict[str, Any] = {}
        def ended(moved: bool) -> None:
            self._ended(ledger, state, moving, moved)

        moving = self._cluster.moves.begin(ledger.session, node, ended)
        self.moving[ledger.resume_id] = moving
        self._host.hooks.fire(SessionPacks(ledger.session, state))
        log = self._host.server.message_log
        entries = [entry for _, entry, _ in ledger if entry is not None]
        try:
            if log is not None and entries:
                await log.part_with(ledger.session.bare, entries)
        except CancelledError:  # there is no more time
            self._cluster.moves.stay(moving)
            raise
        except (CallFailed, BackendUnavailable) as error:
            self._module.log.warning("session_not_given jid=%s reason=%s", moving.jid, error)
            self._cluster.moves.stay(moving)
            return moving, None
        state[self._module.name] = {"had_all": self._cluster.relay.has_all(ledger.session)}
        if moving.over:  # a newer session has its address: what had to be written is found now
            self._host.hooks.fire(MessagesWait(moving.bare, False))
            return moving, None
        return moving, self._packed(ledger, state, left).pack()

    def _packed(self, ledger: SessionLedger, state: dict[str, Any], left: float) -> Package:
        session, now = ledger.session, self._module.clock.seconds()
        return Package(
            jid=session.jid,
            sid=session.sid,
            resume_id=ledger.resume_id,
            counts=ledger.counts,
            timeout=ledger.timeout,
            left=left,
            age=now - session.opened_at,
            silent=now - session.last_activity,
            presence=b"" if session.presence is None else session.presence.to_bytes(),
            priority=session.priority,
            flags=session.flags,
            secure=session.secure,
            inactive=session.inactive,
            address=session.address,
            queue=tuple(_items(ledger)),
            state=state,
        )

    def _ended(
        self, ledger: SessionLedger, state: dict[str, Any], moving: MovingSession, moved: bool
    ) -> None:
        self._over(ledger.resume_id, moving)
        if moved:
            self._has_gone(ledger, moving)
        else:
            go_on = partial(self._goes_on, ledger, ledger.counts, moving)
            self._cluster.relay.stayed.note(moving.sid, go_on)
            self._stays(ledger, state)

    def _has_gone(self, ledger: SessionLedger, moving: MovingSession) -> None:
        session = ledger.session
        self._module.let_go(ledger)
        self._host.hooks.fire(SessionMoved(session))
        session.presence = session.priority = None
        place = self._host.sessions.get(session.jid)
        if moving.taken and isinstance(place, RemoteSession) and place.node == moving.target:
            self._remember(ledger.resume_id, moving.target)
            self._module.log.info("session_moved jid=%s node=%s", session.jid, moving.target)
        else:  # a newer session has its address: that gets what the client has not acknowledged
            self._module.later(0, self._host.hooks.fire, MessagesWait(session.bare, False))

    def _stays(self, ledger: SessionLedger, state: dict[str, Any]) -> None:
        self._module.keep(ledger, ledger.timeout)
        self._host.in_background(self.take(ledger))
        self._host.hooks.fire(SessionUnpacks(ledger.session, state))

    def _goes_on(
        self, ledger: SessionLedger, packed: Counts, moving: MovingSession, place: RemoteSession
    ) -> bool:
        """A session that was put back had been taken by the other node, as turns out now.

        :param packed: its counts when it was.
        :returns: False if its client was here meanwhile: it has to begin anew.
        """
        session, counts = ledger.session, ledger.counts
        settled = packed.received, packed.acknowledged
        if session.connected or (counts.received, counts.acknowledged) != settled:
            return False
        self._module.wait_no_longer(ledger)
        left = ledger.take()
        moving.taken = True
        self._cluster.relay.follow(session.sid, place)
        self._has_gone(ledger, moving)
        self._host.sessions.remove(session)
        known = len(left) - (counts.sent - packed.sent)
        self._cluster.relay.passing_on(lambda: _pass_on(session, place, left, known))
        return True

    def hold(self, session: Session, resume_id: str, arrived: "Deferred[None]") -> None:
        """Has what this node has for a session that has come wait for what its old one had."""
        holding = self.moving[resume_id] = self._cluster.moves.hold(session, arrived)
        holding.when_ended().addCallback(lambda _: self._over(resume_id, holding))

    def _over(self, resume_id: str, moving: MovingSession) -> None:
        """A move is over; the session may have come back before its node has heard of that."""
        if self.moving.get(resume_id) is moving:
            del self.moving[resume_id]

    async def take(self, ledger: SessionLedger) -> None:
        """Has the messages that a client has not acknowledged on their way to its session here."""
        log, session = self._host.server.message_log, ledger.session
        entries = [entry for _, entry, _ in ledger if entry is not None]
        for entry in entries:
            entry.holder = 0  # nobody else holds it any more
        if log is not None and entries:
            with suppress(BackendUnavailable):  # after a crash they would be sent again
                await log.take(session.bare, [entry.id for entry in entries], session.sid)

    def _remember(self, resume_id: str, node: str) -> None:
        if len(self._went) >= _REMEMBERED:
            del self._went[next(iter(self._went))]
        self._went[resume_id] = node

    # -- the end of the node

    async def leave(self) -> None:
        """Sends the sessions that wait for their clients to other nodes, evenly."""
        waiting = iter(self._module.waiting())
        nodes = sorted(self._host.server.mesh.peers)
        turns = count()
        lanes = [self._lane(waiting, nodes, turns) for _ in range(_LANES)]
        running = [Deferred.fromCoroutine(lane) for lane in lanes]
        try:
            await gatherResults(running, consumeErrors=True)
        except FirstError as error:
            error.subFailure.raiseException()

    async def _lane(
        self, waiting: Iterator[SessionLedger], nodes: list[str], turns: Iterator[int]
    ) -> None:
        for ledger in waiting:
            if nodes and self._may_go(ledger):
                await self._push(ledger, nodes, next(turns))

    def _may_go(self, ledger: SessionLedger) -> bool:
        session = ledger.session
        return not session.connected and self._host.sessions.get(session.jid) is session

    async def _push(self, ledger: SessionLedger, nodes: list[str], turn: int) -> None:
        """Sends a session to a node, in turn; one that takes none is not among them any more."""
        start = turn % len(nodes)
        for node in nodes[start:] + nodes[:start]:
            if not ledger.settled:
                await ledger.when_settled()
            if not self._may_go(ledger):
                return
            moving, packed = await self._part(ledger, node)
            if packed is not None and not await self._send(moving, packed) and node in nodes:
                nodes.remove(node)

    async def _send(self, moving: MovingSession, packed: bytes) -> bool:
        self._cluster.moves.sent(moving)
        name = f"sm-adopt {self._host.domain}"
        try:
            await self._cluster.calls.call(moving.target, name, packed, _PATIENCE)
        except CallFailed as error:
            self._module.log.info("session_not_taken node=%s reason=%s", error.node, error.reason)
            if error.reason not in _UNCERTAIN:
                self._cluster.moves.stay(moving)
            return False
        finally:
            await moving.when_ended()
        return True


def _number(resume_id: str) -> int | None:
    """The number of the node that has made a resumption id."""
    try:
        return node_of(int(resume_id.partition("-")[0], 16))
    except ValueError:
        return None


def _pass_on(
    session: Session, place: RemoteSession, items: list[Unacknowledged], known: int
) -> None:
    """Hands over what was sent to a session after it was packed; messages that are logged anew.

    :param known: so many of the items were packed.
    """
    for number, item in enumerate(items):
        data, entry, _ = item
        if entry is not None or (number >= known and data.startswith(b"<message")):
            reroute(session, [item])
        elif number >= known and data.startswith(b"<presence"):
            place.deliver(Stanza.parse(data))  # which is corrected there if it is too old
        elif number >= known:
            place.write(Stanza.parse(data), data)


def _items(ledger: SessionLedger) -> Iterator[Item]:
    for data, entry, at in ledger:
        if entry is None:
            yield Item(data, at)
        else:
            yield Item(data, at, entry.id, entry.shown)
