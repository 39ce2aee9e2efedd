"""Stanzas for the sessions of other nodes, and what comes from there for those of this one."""

import logging
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Final

from twisted.internet.defer import Deferred

from mongoosetw.cluster.mesh import Node
from mongoosetw.cluster.sessions.fences import MEMORY, Useless
from mongoosetw.cluster.sessions.found import takes_messages
from mongoosetw.cluster.sessions.moving import MovingSession
from mongoosetw.cluster.sessions.newcomers import Newcomers
from mongoosetw.cluster.sessions.outgoing import CHANNEL, Outgoing
from mongoosetw.cluster.sessions.recent import Recent
from mongoosetw.cluster.sessions.remote import RemoteSession
from mongoosetw.cluster.sessions.showing import MOST_HOPS, Showing
from mongoosetw.cluster.sessions.stayed import Stayed
from mongoosetw.cluster.sessions.wire import Envelope, Op, Words, pack_stanza, pack_words, unpack
from mongoosetw.delivery import is_anybody_able
from mongoosetw.hooks.bus import STOP, HookFailed
from mongoosetw.hooks.c2s import SessionLike
from mongoosetw.hooks.cluster import MessageLeaves, PresenceUncertain
from mongoosetw.xmpp.errors import StanzaError
from mongoosetw.xmpp.jid import JID
from mongoosetw.xmpp.stanza import Stanza

if TYPE_CHECKING:  # types only
    from mongoosetw.host import Host
    from mongoosetw.server import Server

logger = logging.getLogger(__name__)
_AVAILABILITY: Final = ("", "unavailable")
FENCE_HOPS: Final = 64
"""The same for a fence: one that turns back too soon is of no use."""


class Relay:
    """This node's end of it.

    :ivar stayed: the sessions that were put back.
    """

    def __init__(self, server: "Server") -> None:
        self._server = server
        self._mesh = server.mesh
        self._number = server.mesh.local.number
        self._out = Outgoing(server, self._handle, self._useless)
        self._showing = Showing(server, self, self._out)
        self._fences = self._out.fences
        self._moved: Recent[int, int] = Recent(server.clock, MEMORY)
        self.stayed = Stayed(server.clock)
        self._newcomers = Newcomers(
            server.mesh, server.clock, self._fences, self._out.send_behind
        )
        self._takes: dict[Op, Callable[[Words], None]] = {
            Op.BYTES: self._take_bytes,
            Op.CLOSE: self._take_close,
            Op.FLAG: self._take_flag,
            Op.SHOW: self._showing.take,
            Op.HIDE: self._showing.take,
            Op.FENCE: self._take_fence,
            Op.FENCED: self._take_fenced,
            Op.ROUND: self._take_round,
            Op.MISSED: self._take_missed,
        }

    def start(self) -> None:
        """Takes what other nodes send from now on."""
        self._mesh.receive(CHANNEL, self._received)
        self._mesh.watch(lambda node: None, self._down)

    # -- what goes out

    def deliver(self, session: RemoteSession, stanza: Stanza, *, shared: bool = False) -> None:
        """Hands over a stanza that was routed to the session."""
        if stanza.kind == "message":
            hooks = session.host.hooks
            if hooks.handled(MessageLeaves):
                event = MessageLeaves(stanza, session, shared)
                try:
                    if hooks.fire(event) is STOP:
                        return
                except (StanzaError, HookFailed) as error:
                    self._server.router.bounce(stanza, error)
                    return
                stanza = event.stanza
        self._hand_over(session, stanza, self._pack(Op.DELIVER, session, stanza, shared=shared))

    def _hand_over(self, session: RemoteSession, stanza: Stanza, payload: bytes) -> None:
        """Sends a stanza that was routed; what nobody would be told of waits for room."""
        if self._newcomers.senders and stanza.kind != "presence" and stanza.from_ is not None:
            self._newcomers.bar(session, stanza.from_)
        if stanza.kind == "presence":
            self._out.insist_on_presence(session, stanza, payload)
        elif stanza.type in ("result", "error"):
            self._out.insist(session, payload)
        elif not self._out.put(session, payload):
            self._bounce(stanza)

    def _useless(self, stanza: Stanza) -> Useless | None:
        """What tells of presence of this node's that waits whether its sender has gone since.

        Its goodbye was said to nobody there if the link was lost at that time. Who was not
        available when it began to wait has sent directed presence (RFC 6121 §4.6).
        """
        sender = stanza.from_
        session = None if sender is None or stanza.type else self._find(sender)
        if session is None or not session.local or not session.available:
            return None
        return partial(self._has_gone, session.sid, session.jid)

    def _has_gone(self, sid: int, jid: JID) -> bool:
        """Whether a session has gone; not if it has moved, be it to where it is not known."""
        session = self._find(jid)
        return self._moved.get(sid) is None if session is None else not session.available

    def send(self, session: RemoteSession, stanza: Stanza) -> None:
        """Has a stanza written to the client, unless a module of its node holds it back."""
        self._out.insist(session, self._pack(Op.SEND, session, stanza))

    def write(self, session: RemoteSession, stanza: Stanza) -> None:
        """Has a stanza written; nobody holds it back."""
        self._out.insist(session, self._pack(Op.WRITE, session, stanza))

    def send_bytes(self, session: RemoteSession, data: bytes) -> None:
        """Has serialised XML written that is no stanza."""
        jid = str(session.jid)
        self._out.insist(session, pack_words(Op.BYTES, session.sid, jid, data.decode()))

    def close(self, session: RemoteSession, condition: str | None, text: str | None) -> None:
        """Has the session ended."""
        self._out.order(session, Op.CLOSE, condition or "", text or "")

    def flag(self, session: RemoteSession, name: str, on: bool) -> None:
        """Has a flag set or cleared."""
        self._out.order(session, Op.FLAG, name, "on" if on else "")

    def show(self, session: RemoteSession, to: JID) -> None:
        """Has the session's last presence shown to somebody who may see it."""
        self._out.show(session, Op.SHOW, to)

    def hide(self, session: RemoteSession, to: JID) -> None:
        """Has somebody told that the session is not available to them any more."""
        self._out.show(session, Op.HIDE, to)

    def pass_answer(self, node: str, host: "Host", stanza: Stanza) -> bool:
        """Passes the answer to a request of another node's on to it.

        :returns: False if there is no such node.
        """
        packed = pack_stanza(Op.ANSWER, 0, 0, host.jid, stanza, self._number)
        return self._out.send_to(node, packed)

    def leaves(self, session: RemoteSession) -> None:
        """A session is no longer registered as one of its node."""
        if session.begun:
            self._fences.leaves(session)
            session.begun, session.gate = False, None

    def comes_home(self, jid: JID) -> Deferred[None] | None:
        """A session of this node is about to take an address.

        :returns: what to wait for with it, so that stanzas stay in order.
        """
        older = self._find(jid)
        if older is not None and older.local:
            return None
        assert older is None or isinstance(older, RemoteSession)
        coming = self._fences.comes_home(jid, older)
        if coming is not None:
            coming.addCallback(lambda _: self._comes_behind(jid, older))
        return coming

    def _comes_behind(self, jid: JID, older: SessionLike | None) -> Deferred[None] | None:
        """Another session may have had the address meanwhile, and have been written to."""
        return None if self._find(jid) is older else self.comes_home(jid)

    def arrives(self, session: SessionLike) -> None:
        """A session of this node is registered."""
        self._fences.arrives(session.jid)

    def follow(self, sid: int, place: RemoteSession) -> None:
        """A session of this node goes on at another one: what is for it alone is passed on."""
        self._moved.put(sid, place.sid)

    def moving(self, sid: int, jid: JID) -> SessionLike | None:
        """What has the address of a session that has come to this node or left it lately."""
        lately = sid in self._newcomers or self._moved.get(sid) is not None
        return self._find(jid) if lately else None

    def passing_on(self, act: Callable[[], object]) -> None:
        """What is sent meanwhile is said to be older: it has waited here, wherever it came from."""
        self._out.passing_on(max(1, self._out.hops), act)

    def came(self, session: SessionLike, node: str | None) -> None:
        """A session goes on here: the nodes that had it pass on what is for it.

        :param node: as :meth:`Newcomers.add`.
        """
        self._newcomers.add(session, node)

    def has_all(self, session: SessionLike) -> bool:
        """Whether nothing is under way to a session by nodes that have had it before."""
        return self._newcomers.has_all(session.sid)

    def missed(self, session: SessionLike, with_node: str = "") -> None:
        """A session has moved, and presence that was on its way to it may be lost.

        :param with_node: with the link to that one, by which it was passed on.
        """
        if isinstance(session, RemoteSession):
            self._out.order(session, Op.MISSED, with_node)
        elif session.local and not (with_node and self._newcomers.is_complete(session.sid)):
            session.host.hooks.fire(PresenceUncertain(session))

    def fence(self, jid: JID, node: str) -> Deferred[None] | None:
        """Asks when all has arrived that a session's old node had for it.

        :param jid: of a session that has just moved here, and of which that node was told.
        :returns: None if the node is gone.
        """
        return self._fences.behind(jid, node)

    def refuse(self, stanza: Stanza, target: JID) -> None:
        """A stanza could not be handed to a session: it waits, or its sender is told."""
        if not self._keep(stanza, target):
            self._bounce(stanza)

    def stop(self) -> None:
        """The server stops: nobody waits any more."""
        self._out.stop()

    def _pack(
        self, op: Op, session: RemoteSession, stanza: Stanza, *, shared: bool = False
    ) -> bytes:
        hops, number = self._out.hops, self._number
        return pack_stanza(op, hops, session.sid, session.jid, stanza, number, shared=shared)

    def _bounce(self, stanza: Stanza) -> None:
        self._server.router.bounce(stanza, StanzaError("internal-server-error", "wait"))

    # -- what comes in

    def _received(self, node: Node, payload: bytes) -> None:
        self._handle(payload, node.name)

    def _handle(self, payload: bytes, node: str = "") -> None:
        got = unpack(payload)
        if node:  # else it has only waited here
            got.hops += 1
        if isinstance(got, Words):
            self._showing.asker = node
            self._takes[got.op](got)
            return
        entry = got.stanza.log
        if entry is not None and entry.origin == self._number:
            entry.origin = None  # it has come back, or has only waited here
        if got.op is Op.ANSWER:
            self._take_answer(got)
        elif got.stanza.kind == "presence" and node and got.stanza.type in _AVAILABILITY:
            self._take_presence(got, node)
        else:
            self._take_stanza(got)

    def _take_presence(self, got: Envelope, node: str) -> None:
        """Presence may be older than what has arrived already: then it is asked for anew."""
        stale, passed_on = self._is_stale(got, node), self._is_passed_on(got)
        if not stale:
            self._take_stanza(got)
        sender, session = got.stanza.from_, self._find(got.target)
        if sender is None or session is None or not session.local:
            return
        if passed_on or (stale and not got.stanza.type):
            session.host.hooks.fire(PresenceUncertain(session, sender))

    def _is_passed_on(self, got: Envelope) -> bool:
        """Whether it has come by another node, for a session that was there a moment ago."""
        return got.hops > 1 and got.sid in self._newcomers

    def _is_stale(self, got: Envelope, node: str) -> bool:
        """Whether it is presence of a client that is at another node by now, or for one.

        The node that it has left speaks for it, until it hears that there is a newer session, and
        says goodbye then; what that has said may have been quicker, and the newer one have gone.
        Its goodbye counts until the newer one is available. And who is at another node now has
        looked around from there: what would be passed on may be older than what it has seen.
        Who has moved with its session has not: for that one it is passed on, in its order.
        Or it is for somebody who is not available any more, or was shown to an earlier client of
        the address: the newer one looks around, too, and what it is told by that comes behind.
        """
        sender = got.stanza.from_
        if sender is None or self._is_passed_on(got):
            return False
        session = self._find(got.target)
        if isinstance(session, RemoteSession) and self._moved.get(got.sid) is None:
            return True
        if session is not None and not session.available and got.stanza.to != got.target:
            return True  # RFC 6121 §8.5.2.1.2: what is for the account is for available resources
        meant = not got.sid or self._is_meant(session, got.sid)
        if session is not None and not got.stanza.type and not meant:
            return True
        newer, cluster = self._find(sender), self._server.cluster
        if newer is None and not got.stanza.type and got.hops <= 1 and cluster is not None:
            return sender in cluster.directory.lingering(sender.bare)
        if newer is None or (got.stanza.type and not newer.available):
            return False
        return not isinstance(newer, RemoteSession) or newer.node != node

    def _find(self, jid: JID) -> SessionLike | None:
        host = self._server.hosts.get(jid.domain)
        return None if host is None else host.sessions.get(jid)

    def _take_stanza(self, got: Envelope) -> None:
        host = self._server.hosts.get(got.target.domain)
        if host is None:
            return  # its sessions are closed, and say so themselves
        session = host.sessions.get(got.target)
        if got.op is not Op.DELIVER and not self._is_meant(session, got.sid):
            return  # it was for that session alone
        if isinstance(session, MovingSession):
            session = session.for_relay
        if session is None or _is_too_early(session, got):
            self._gone(host, got)
        elif isinstance(session, RemoteSession):
            self._pass_on(session, got)
        elif got.op is Op.DELIVER:
            session.deliver(got.stanza)
        elif got.op is Op.SEND:
            session.send(got.stanza)
        else:
            session.write(got.stanza, got.stanza.to_bytes())

    def _is_meant(self, session: SessionLike | None, sid: int) -> bool:
        """Whether a sid is a session's, or was before that went to another node."""
        if session is None or session.sid == sid:
            return session is not None
        return self._moved.get(sid) == session.sid

    def _pass_on(self, session: RemoteSession, got: Envelope) -> None:
        """The session is at another node, or has moved there."""
        hops, stanza, sid = got.hops, got.stanza, session.sid
        packed = pack_stanza(got.op, hops, sid, got.target, stanza, self._number, shared=got.shared)
        if hops > MOST_HOPS:
            if got.op is Op.DELIVER:
                self._bounce(stanza)
        elif got.op is Op.DELIVER:
            self._hand_over(session, stanza, packed)
        else:
            self._out.insist(session, packed)

    def _gone(self, host: "Host", got: Envelope) -> None:
        """The session is nowhere: the stanza is delivered as the rules say of such an address."""
        stanza = got.stanza
        assert stanza.to is not None
        if stanza.to != got.target:
            # It was for the account: of presence the others have their own, and of a message, too,
            # if it went to several.
            others = got.shared and is_anybody_able(host, got.target.bare)
            if stanza.kind != "message" or others:
                self._keep(stanza, got.target)
                return
        elif stanza.type != "chat" and self._keep(stanza, got.target):
            return  # it was accepted once: RFC 6121 §8.5.3.2.1 would refuse it now
        if got.hops > MOST_HOPS:
            self._bounce(stanza)
            return
        self._out.hops = got.hops
        try:
            host.deliver(stanza)
        finally:
            self._out.hops = 0

    def _keep(self, stanza: Stanza, target: JID) -> bool:
        """A message that another node holds waits there again; False if it is none."""
        log, entry = self._server.message_log, stanza.log
        if log is None or entry is None or not entry.foreign:
            return False
        log.keep(target.bare, entry, entry.holder)
        return True

    def _take_answer(self, got: Envelope) -> None:
        host = self._server.hosts.get(got.target.domain)
        if host is not None:
            host.answered(got.stanza)

    def _own(self, got: Words) -> SessionLike | None:
        """The session of this node that is meant, if it is still there, or where it has gone."""
        session = self._find(JID.parse(got.words[0]))
        return session if self._is_meant(session, got.number) else None

    def _take_bytes(self, got: Words) -> None:
        session = self._own(got)
        if session is not None:
            session.send_bytes(got.words[1].encode())

    def _take_close(self, got: Words) -> None:
        session = self._own(got)
        if session is not None:
            session.close(got.words[1] or None, got.words[2] or None)

    def _take_flag(self, got: Words) -> None:
        session = self._own(got)
        if session is not None:
            session.flag(got.words[1], bool(got.words[2]))

    def _take_fence(self, got: Words) -> None:
        address, origin, *passed = got.words
        jid, own = JID.parse(address), self._mesh.local.name
        session = self._find(jid)
        if isinstance(session, MovingSession) and session.for_relay is session:
            session.then(lambda _: self._take_fence(got))
            return
        if isinstance(session, RemoteSession) and got.hops <= FENCE_HOPS:
            fence = pack_words(Op.FENCE, got.number, *got.words, hops=got.hops)
            if self._out.put_fence(session, fence):
                return
        if session is None and own not in passed:
            words = *got.words, own
            if self._fences.follow(jid, pack_words(Op.FENCE, got.number, *words, hops=got.hops)):
                return
        if origin == own:
            self._take_fenced(got)
        else:
            self._out.send_behind(origin, pack_words(Op.FENCED, got.number, address))

    def _take_missed(self, got: Words) -> None:
        session = self._own(got)
        if session is not None and got.hops <= MOST_HOPS:
            self._out.hops = got.hops
            self.missed(session, *got.words[1:])
            self._out.hops = 0

    def _take_fenced(self, got: Words) -> None:
        self._fences.open(got.number)
        self._newcomers.back(got.number)

    def _take_round(self, got: Words) -> None:
        fence = self._newcomers.pass_on(got)
        if fence is not None:
            self._take_fence(fence)

    def _down(self, node: Node) -> None:
        moved = self._fences.under_way(node.name)
        if self._server.message_log is not None:  # what waits behind a fence is newer
            self._server.message_log.missed_with(node.number, filter(None, map(self._find, moved)))
        self._newcomers.lost(node.name)
        self._out.lost(node.name)
        for jid in dict.fromkeys((*moved, *self._newcomers.unsure())):
            session = self._find(jid)
            if session is not None:
                self.missed(session, node.name)


def _is_too_early(session: SessionLike, got: Envelope) -> bool:
    """Whether a message for the account has been sent to an older session of an address.

    RFC 6121 §8.5.2.1.1: the newer one has to be available before it gets such.
    """
    stanza = got.stanza
    account = got.op is Op.DELIVER and stanza.kind == "message" and stanza.to != got.target
    return account and session.local and not takes_messages(session)
