"""A session: an authenticated client with a bound resource."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from twisted.internet.defer import Deferred

from mongoosetw.hooks.bus import STOP, HookFailed
from mongoosetw.hooks.c2s import (
    PresendStanza,
    SessionClosed,
    SessionLike,
    UserReceiveIQ,
    UserReceiveMessage,
    UserReceivePresence,
    UserSendIQ,
    UserSendMessage,
    UserSendPacket,
    UserSendPresence,
)
from mongoosetw.xmpp.errors import StanzaError, StreamError
from mongoosetw.xmpp.jid import JID
from mongoosetw.xmpp.sm import Ledger
from mongoosetw.xmpp.stanza import Receipt, Stanza, escape

if TYPE_CHECKING:  # types only
    from mongoosetw.c2s.stream import ClientStream
    from mongoosetw.host import Host

_FLAGS: dict[frozenset[str], frozenset[str]] = {}
"""Equal sets of flags are one: modules set few different ones, and there are many sessions."""
_RECEIVE: dict[str, Any] = {
    "message": UserReceiveMessage,
    "presence": UserReceivePresence,
    "iq": UserReceiveIQ,
}
_SEND: dict[str, Any] = {
    "message": UserSendMessage,
    "presence": UserSendPresence,
    "iq": UserSendIQ,
}
_NO_FLAGS: frozenset[str] = frozenset()  # shared: each call makes another one


class Session:
    """What the server knows of one connected resource.

    :ivar sid: unique in the cluster; of two sessions the newer has the greater one.
    :ivar continues: the sid that it had on another node; 0 if it has always been here.
    :ivar presence: the last available presence, None while there is none.
    :ivar priority: of that presence (RFC 6121 §4.7.2.3).
    :ivar flags: what other nodes have to know of the session, such as ``carbons``.
    :ivar state: what modules keep for the session, by module name.
    :ivar opened_at: seconds of the server's clock.
    :ivar ledger: counts the stanzas in both directions (XEP-0198), None where nobody does.
    :ivar inactive: nobody looks at the client (XEP-0352).
    :ivar stream: None while a session waits for its client to come back.
    """

    __slots__ = (
        "_message_head",
        "_state",
        "address",
        "bare",
        "continues",
        "flags",
        "host",
        "inactive",
        "jid",
        "last_activity",
        "ledger",
        "opened_at",
        "presence",
        "priority",
        "secure",
        "sid",
        "stream",
    )
    local = True
    passes_on = False

    def __init__(self, stream: "ClientStream | None", host: "Host", jid: JID) -> None:
        """
        :param stream: None for a session that comes from another node, without its client.
        """
        self.stream = stream
        self.host = host
        self.sid = host.server.session_ids.next()
        self.continues = 0
        self.flags = _NO_FLAGS
        self.jid = jid
        self.bare = jid.bare
        self.presence: Stanza | None = None
        self.priority: int | None = None
        self._state: dict[str, Any] | None = None
        self.secure = stream is not None and stream.secure
        self.address = "" if stream is None else stream.address
        self.opened_at = self.last_activity = host.server.clock.seconds()
        self._message_head: bytes | None = None
        self.ledger: Ledger | None = None
        self.inactive = False

    @property
    def state(self) -> dict[str, Any]:
        """What modules keep for the session, by module name."""
        if self._state is None:
            self._state = {}
        return self._state

    def flag(self, name: str, on: bool = True) -> None:
        """Sets or clears a flag, for all nodes to see."""
        flags = self.flags | {name} if on else self.flags - {name}
        flags = _FLAGS.setdefault(flags, flags)
        if flags != self.flags:
            self.flags = flags
            self.host.sessions.changed(self)

    @property
    def available(self) -> bool:
        """Whether the client has sent initial presence (RFC 6121 §4.2)."""
        return self.presence is not None

    @property
    def connected(self) -> bool:
        """Whether the client has a connection; a session may outlive it (XEP-0198 §5)."""
        return self.stream is not None

    def receive(self, stanza: Stanza) -> Deferred[None] | None:
        """Takes a stanza that the client sent: hooks, then routing.

        :returns: a Deferred while something has to wait; the stream waits with it.
        :raises StreamError: the client claims another sender (RFC 6120 §8.1.2.1).
        """
        if self.ledger is not None:
            stanza.receipt = self.ledger.receive()
        self.last_activity = self.host.server.clock.seconds()
        claimed = stanza.from_
        if claimed is not None and claimed != self.jid and claimed != self.bare:
            raise StreamError("invalid-from")
        stanza.stamp(self._head(stanza.kind), self.jid)
        metrics = self.host.metrics
        metrics.received[stanza.kind].value += 1
        if stanza.type == "error":
            metrics.received_errors[stanza.kind].value += 1
        hooks = self.host.hooks
        try:
            if hooks.handled(UserSendPacket):
                packet = UserSendPacket(stanza, self)
                outcome = hooks.fire(packet)
                if outcome is STOP:
                    return None
                if outcome is not None:
                    later = Deferred.fromCoroutine(self._receive_later(packet, outcome))
                    return _holding(stanza, later)
                stanza = packet.stanza
            pending = self._send_on(stanza)
            return pending if pending is None else _holding(stanza, pending)
        except (StanzaError, HookFailed) as error:
            self.bounce(stanza, error)
            return None

    def _send_on(self, stanza: Stanza) -> Deferred[None] | None:
        kind = stanza.kind
        if kind == "iq":
            _check_iq(stanza)
        hook = _SEND[kind]
        if self.host.hooks.handled(hook):
            event = hook(stanza, self)
            outcome = self.host.hooks.fire(event)
            if outcome is STOP:
                return None
            if outcome is not None:  # isinstance(outcome, Deferred) is a call of Python
                return Deferred.fromCoroutine(self._receive_later(event, outcome))
            stanza = event.stanza
        return self._route(stanza)

    async def _receive_later(self, event: Any, pending: Deferred[Any]) -> None:
        try:
            if await pending is STOP:
                return
            if isinstance(event, UserSendPacket):
                further = self._send_on(event.stanza)
            else:
                further = self._route(event.stanza)
            if further is not None:
                await further
        except (StanzaError, HookFailed) as error:
            self.bounce(event.stanza, error)

    def _route(self, stanza: Stanza) -> Deferred[None] | None:
        to = stanza.to
        if to is not None:
            if stanza.kind == "iq" and stanza.type in ("get", "set"):
                # what is for others' accounts goes the way of all stanzas for them
                if to == self.bare or to == self.host.jid:
                    return self.host.handle_iq(stanza, self)
            return self.host.router.route(stanza)
        if stanza.kind == "iq":
            # RFC 6120 §10.3.3: without an address, handled on the account's behalf
            if stanza.type in ("get", "set"):
                return self.host.handle_iq(stanza, self)
            self.host.answered(stanza)
            return None
        if stanza.kind == "message":
            # RFC 6120 §10.3.1: as if addressed to the sender's own account
            return self.host.router.route(stanza.copy(to=self.bare))
        return None

    def bounce(self, stanza: Stanza, error: Exception) -> None:
        """Answers the client with an error stanza, unless it sent one itself."""
        if stanza.type in ("error", "result"):
            return
        if not isinstance(error, StanzaError):
            error = StanzaError("internal-server-error", "wait")
        if stanza.kind == "message":
            self.host.metrics.bounced.inc()
        self.send(stanza.copy(from_=self.jid, to=stanza.to).error(error))

    def deliver(self, stanza: Stanza, *, shared: bool = False) -> None:
        """Hands over a stanza that was routed to this session."""
        hook = _RECEIVE[stanza.kind]
        hooks = self.host.hooks
        if hooks.handled(hook):
            event = hook(stanza, self)
            try:
                if hooks.fire(event) is STOP:
                    return
            except (StanzaError, HookFailed) as error:
                self.host.router.bounce(stanza, error)
                return
            stanza = event.stanza
        self.send(stanza)

    def send(self, stanza: Stanza) -> None:
        """Writes a stanza to the client, unless a module holds it back."""
        metrics = self.host.metrics
        metrics.sent[stanza.kind].value += 1
        if stanza.type == "error":
            metrics.sent_errors[stanza.kind].value += 1
        data = stanza.to_bytes()
        hooks = self.host.hooks
        if hooks.handled(PresendStanza) and hooks.fire(PresendStanza(self, data, stanza)) is STOP:
            return
        self.write(stanza, data)

    def write(self, stanza: Stanza, data: bytes) -> None:
        """Writes a stanza's bytes; it leaves at the end of the turn, and is counted."""
        if self.ledger is not None:
            self.ledger.append(stanza, data)
        if self.stream is not None:
            self.stream.write(data)  # which may end the session of a client that does not read

    def send_bytes(self, data: bytes) -> None:
        """Writes serialised XML that is no stanza; it leaves at the end of the turn."""
        if self.stream is not None:
            self.stream.write(data)

    def detach(self, condition: str, text: str | None = None) -> None:
        """Closes the stream with a stream error; the session goes on without one."""
        stream, self.stream = self.stream, None
        if stream is not None:
            stream.close(StreamError(condition, text))

    def close(self, condition: str | None = None, text: str | None = None) -> None:
        """Ends the session and its stream, with a stream error if one is named."""
        if self.stream is not None:
            self.stream.close(StreamError(condition, text) if condition else None)
        else:
            self.end(condition or "normal")

    def in_place(self, use: Callable[[SessionLike | None], object]) -> None:
        """Calls a function with the session, which is here."""
        use(self)

    def end(self, reason: str) -> None:
        """The session is over: it goes out of the registry, and the modules are told."""
        if self.host.sessions.remove(self):
            self.host.hooks.fire(SessionClosed(self, reason))

    def _head(self, kind: str) -> bytes:
        """The beginning of a start tag; kept for messages, of which a client sends many."""
        if kind != "message":
            return _head_of(kind, self.jid)
        if self._message_head is None:
            self._message_head = _head_of(kind, self.jid)
        return self._message_head

    def hibernate(self) -> None:
        """Drops what can be made again; for sessions that have been silent for long."""
        self._message_head = None
        if self.presence is not None:
            self.presence.shrink()


def _holding(stanza: Stanza, pending: Deferred[None]) -> Deferred[None]:
    """A stanza that has to wait is not handled before it is through (XEP-0198 §4)."""
    receipt = stanza.receipt
    if receipt is not None:
        receipt.hold()
        pending.addBoth(_released, receipt)
    return pending


def _released(result: Any, receipt: Receipt) -> Any:
    receipt.release()
    return result


def _head_of(kind: str, jid: JID) -> bytes:
    return f"<{kind} from='{escape(str(jid))}'".encode()


def _check_iq(stanza: Stanza) -> None:
    """RFC 6120 §8.2.3: an id, a type, and in a request exactly one child.

    :raises StanzaError: the iq breaks one of these.
    """
    if not stanza.id or stanza.type not in ("get", "set", "result", "error"):
        raise StanzaError("bad-request")
    if stanza.type in ("get", "set") and len(stanza.children) != 1:
        raise StanzaError("bad-request")

