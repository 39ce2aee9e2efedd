"""Presence of this node's sessions that other nodes want to be shown to somebody, or hidden."""

from collections.abc import Iterable
from functools import partial
from typing import TYPE_CHECKING, Final

from mongoosetw.cluster.sessions.outgoing import Outgoing
from mongoosetw.cluster.sessions.remote import RemoteSession
from mongoosetw.cluster.sessions.wire import Op, Words, pack_stanza
from mongoosetw.delivery import gone, hide_presence, may_see, show_presence
from mongoosetw.hooks.c2s import SessionLike
from mongoosetw.xmpp.fanout import Fanout
from mongoosetw.xmpp.jid import JID

if TYPE_CHECKING:  # types only
    from mongoosetw.cluster.sessions.relay import Relay
    from mongoosetw.server import Server

MOST_HOPS: Final = 4
"""Nodes that pass something on, each believing that the next one has the session."""


class Showing:
    """Does what they ask for.

    :param out: the way there.
    :ivar asker: the node that has sent the order.
    """

    def __init__(self, server: "Server", relay: "Relay", out: Outgoing) -> None:
        self._server = server
        self._relay = relay
        self._out = out
        self.asker = ""

    def take(self, got: Words) -> None:
        """Takes an order for one recipient."""
        to, *jids = map(JID.parse, got.words)
        self._out.passing_on(got.hops, partial(self._obey, got.op, jids, to))

    def _obey(self, op: Op, jids: Iterable[JID], to: JID) -> None:
        for jid in jids:
            self._show_or_hide(op, jid, to)

    def _show_or_hide(self, op: Op, jid: JID, to: JID) -> None:
        session = self._find(jid)
        if session is None or (not session.local and self._out.hops > MOST_HOPS):
            if op is Op.HIDE and (host := self._server.hosts.get(jid.domain)) is not None:
                host.route(gone(jid, to))  # whether it has said so itself is not known
            return
        hops = self._out.hops
        if session.local:
            self._out.hops = 0  # it speaks for itself: nobody has passed this on
        if op is Op.HIDE:
            hide_presence(session, to)
        elif session.local and not to.is_bare:
            self._show(session, to, hops)
        else:
            show_presence(session, to)
        self._out.hops = hops

    def _show(self, session: SessionLike, to: JID, hops: int) -> None:
        """Shows a session of this node to a client.

        The node that asks knows that one; if others have passed the order on, it has to be found.
        """
        host = self._server.hosts.get(to.domain)
        located = None if hops <= 1 or host is None else host.prepare((to.bare,))
        if located is not None:
            located.addCallback(lambda _: self._show_later(session.jid, to))
            return
        if hops <= 1:
            self._show_to_asker(session, to)
        show_presence(session, to)

    def _show_later(self, jid: JID, to: JID) -> None:
        session = self._find(jid)
        if session is not None:
            show_presence(session, to)

    def _show_to_asker(self, session: SessionLike, to: JID) -> None:
        """Who is to be shown something may be known by the node that asks alone.

        What is known here at that address may be an older session of the same client.
        """
        known = self._find(to)
        there = isinstance(known, RemoteSession) and known.node == self.asker
        if self.asker and not there:
            self._show_to_stranger(session, to, self.asker)

    def _show_to_stranger(self, session: SessionLike, to: JID, node: str) -> None:
        """Who is to be shown something is not known here yet; the node that asks knows it."""
        host = self._server.hosts.get(to.domain)
        if host is not None and session.presence is not None and may_see(session, (to,)):
            there = RemoteSession(host, self._relay, node, 0, to, None, frozenset(), secure=False)
            there.begun = True  # it is not the one that stanzas for the address have to follow
            addressed = Fanout(session.presence).to(to)
            number = self._server.mesh.local.number
            packed = pack_stanza(Op.DELIVER, self._out.hops, 0, to, addressed, number)
            self._out.insist_on_presence(there, addressed, packed)

    def _find(self, jid: JID) -> SessionLike | None:
        host = self._server.hosts.get(jid.domain)
        return None if host is None else host.sessions.get(jid)
