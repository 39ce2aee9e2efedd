"""A client's stream: drives parser, negotiation, login and session over a transport.

It needs of the transport only ``write_now``, ``start_tls``, ``loseConnection``,
``pauseProducing``/``resumeProducing`` and, while much waits for the client, ``queued`` and
``moved``, so it runs over memory transports as well.
"""

import logging
from collections import deque
from typing import TYPE_CHECKING, Any, Final

from OpenSSL import SSL
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall

from mongoosetw.c2s.backlog import Backlog
from mongoosetw.c2s.binding import bind, is_bind, is_session
from mongoosetw.c2s.early import early_nonza, require_tls, unauthenticated_iq
from mongoosetw.c2s.features import offer
from mongoosetw.c2s.login import Login
from mongoosetw.c2s.opening import answer_header, write_header
from mongoosetw.config.shaper import Shaper
from mongoosetw.hooks.bus import STOP, started
from mongoosetw.hooks.c2s import (
    SessionDisconnected,
    UserSendNonza,
)
from mongoosetw.xmpp import negotiation
from mongoosetw.xmpp.errors import StreamError
from mongoosetw.xmpp.jid import JID
from mongoosetw.xmpp.negotiation import Input, State
from mongoosetw.xmpp.parser import (
    BadAddress,
    Event,
    Nonza,
    Rest,
    StreamClosed,
    StreamOpened,
    StreamParser,
)
from mongoosetw.xmpp.stanza import Stanza

if TYPE_CHECKING:  # types only
    from mongoosetw.c2s.listener import ClientListener
    from mongoosetw.c2s.session import Session
    from mongoosetw.host import Host

logger = logging.getLogger(__name__)
_FAREWELLS: Final = ("system-shutdown", "see-other-host")
"""Errors that say that the server goes, and not the client."""


class ClientStream:
    """One connection of a client, from its first byte to its last."""

    __slots__ = (
        "__weakref__",
        "_backlog",
        "_error",
        "_input_held",
        "_login",
        "_offered",
        "_out",
        "_paused_by",
        "_queue",
        "_shaping",
        "_state_data",
        "_waiting",
        "address",
        "failures",
        "guest",
        "host",
        "listener",
        "opened",
        "parser",
        "received",
        "secure",
        "session",
        "shaper",
        "state_",
        "transport",
        "user",
    )

    def __init__(self, listener: "ClientListener", transport: Any, address: str) -> None:
        self.listener = listener
        self.transport = transport
        self.address = address
        self.secure = False
        self.host: Host | None = None
        self.user: JID | None = None
        self.session: Session | None = None
        self.shaper: Shaper | None = None
        self.state_ = State.CONNECTED
        self.parser = StreamParser(listener.limits)
        self.received = 0
        self.failures = 0
        self.guest = False
        self._offered: tuple[str, ...] = ()
        self.opened = False
        self._login: Login | None = None
        self._out: list[bytes] | None = None
        self._queue: deque[Event] | None = None
        self._waiting = False
        self._input_held = False
        self._backlog: Backlog | None = None
        self._shaping: IDelayedCall | None = None
        self._paused_by = 0
        self._state_data: dict[str, Any] | None = None
        self._error = ""
        listener.deadlines.add(self)

    # -- what modules may use

    @property
    def state(self) -> dict[str, Any]:
        """What modules keep for the stream, by module name."""
        if self._state_data is None:
            self._state_data = {}
        return self._state_data

    @property
    def closed(self) -> bool:
        """Whether the stream has ended."""
        return self.state_ is State.CLOSED

    def send_bytes(self, data: bytes) -> None:
        """Writes serialised XML."""
        self.write(data)

    @property
    def tls_connection(self) -> SSL.Connection | None:
        """The TLS connection under the stream, if there is one."""
        connection: SSL.Connection | None = getattr(self.transport, "tls", None)
        return connection

    # -- input

    def data_received(self, data: bytes) -> None:
        """Takes what arrived on the connection."""
        if self.state_ is State.CLOSED:
            return
        if self.user is None:
            self.received += len(data)
            if self.received > self.listener.options.max_unauthenticated_bytes:
                self.close(StreamError("policy-violation", "too much before authentication"))
                return
        delay = self.listener.shape(self, len(data))
        if delay and self._shaping is None:
            self._pause()
            self._shaping = self.listener.server.clock.callLater(delay, self._shaped)
        if not self.secure and getattr(self.transport, "tls", None) is not None:
            self.secure = True
        if self._waiting:
            self._enqueue(data)
        else:
            self._process(self.parser.feed(data))

    def _shaped(self) -> None:
        """The pause of a client that sends too fast is over."""
        self._shaping = None
        self._resume()

    def _enqueue(self, data: bytes) -> None:
        """Keeps what arrives until its turn; before there is a session unparsed.

        Only now does reading stop: most clients wait, too.
        """
        if self._queue is None:
            self._queue = deque()
        if self.session is not None:
            self._queue.extend(self.parser.feed(data))
        elif self._queue and isinstance(self._queue[-1], Rest):
            self._queue[-1] = Rest(self._queue[-1].data + data)
        else:
            self._queue.append(Rest(data))
        if not self._input_held:
            self._input_held = True
            self._pause()

    def _process(self, events: "list[Event] | deque[Event]") -> None:
        """Handles events in order; stops at one that has to wait (RFC 6120 §10.1)."""
        server = self.listener.server
        previous, server.active = server.active, self
        try:
            for index, event in enumerate(events):
                pending = self._handle(event)
                if pending is not None and not pending.called:
                    self._wait(pending, list(events)[index + 1 :])
                    return
                if self.state_ is State.CLOSED:
                    return
        finally:
            server.active = previous

    def _wait(self, pending: Deferred[Any], rest: list[Event]) -> None:
        self._waiting = True
        earlier = self._queue
        self._queue = deque(rest)
        if earlier:
            self._queue.extend(earlier)
        pending.addBoth(self._go_on)

    def _go_on(self, result: Any) -> None:
        self._waiting = False
        self._report(result)
        queue, self._queue = self._queue, None
        if queue and self.state_ is not State.CLOSED:
            self._process(queue)
        if self._input_held and not self._waiting:
            self._input_held = False
            self._resume()

    def _report(self, result: Any) -> None:
        error = getattr(result, "value", None)
        if isinstance(error, StreamError):
            self.close(error)
        elif error is not None:
            logger.error("stream_failed address=%s", self.address, exc_info=error)
            self.close(StreamError("internal-server-error"))

    def _handle(self, event: Event) -> Deferred[Any] | None:
        try:
            if type(event) is Stanza:
                if self.state_ is State.BOUND and self.session is not None:
                    return self._handle_stanza(event)
                return self._handle_early(event)
            if isinstance(event, Nonza):
                return self._handle_nonza(event)
            if isinstance(event, StreamOpened):
                self._opened(event.attributes)
            elif isinstance(event, StreamError):
                self.close(event)
            elif isinstance(event, BadAddress):
                self._bad_address(event)
            elif isinstance(event, StreamClosed):
                self.close()
            elif isinstance(event, Rest) and self.state_ is not State.CONNECTED:
                # What a client says before TLS is worth nothing within TLS (RFC 6120 §5.4.3.3)
                self._process(self.parser.feed(event.data))
        except StreamError as error:
            self.close(error)
        return None

    def _handle_stanza(self, stanza: Stanza) -> Deferred[None] | None:
        assert self.session is not None
        if stanza.kind == "iq" and (is_bind(stanza) or is_session(stanza)):
            self._answer_setup(stanza)
            return None
        return self.session.receive(stanza)

    def _answer_setup(self, stanza: Stanza) -> None:
        """A second bind is refused (RFC 6120 §7.6.2.1 allows that); a session is a no-op."""
        self._answer(stanza.result() if is_session(stanza) else stanza.error("not-allowed"))

    def _answer(self, answer: Stanza | None) -> None:
        """Answers a stanza that the session does not see; both of them count (XEP-0198 §4)."""
        assert self.session is not None
        if self.session.ledger is not None:
            self.session.ledger.receive()
        if answer is not None:
            self.session.send(answer.copy(to=self.session.jid))

    def _handle_early(self, stanza: Stanza) -> Deferred[Any] | None:
        negotiation.check(self.state_, Input.IQ if stanza.kind == "iq" else Input.STANZA)
        if self.state_ is State.BINDING:
            if not is_bind(stanza):
                raise StreamError("not-authorized")  # RFC 6120 §7.1
            return bind(self, stanza)
        assert self.host is not None
        return started(unauthenticated_iq(self, self.host, stanza))

    def _bad_address(self, event: BadAddress) -> None:
        if event.attribute == "from":
            raise StreamError("invalid-from")
        negotiation.check(self.state_, Input.STANZA)
        refused = event.stanza.type not in ("error", "result")
        self._answer(event.stanza.error("jid-malformed") if refused else None)

    def _handle_nonza(self, event: Nonza) -> Deferred[Any] | None:
        asked = negotiation.classify(event.name)
        if asked is Input.NONZA and self.session is not None:
            return self._extension(event)  # acknowledgements (XEP-0198) are frequent
        negotiation.check(self.state_, asked)
        if asked is Input.CLOSE:
            self.close()
        elif asked is Input.STARTTLS:
            self._start_tls()
        elif asked is Input.NONZA:
            return self._extension(event)
        elif asked is Input.ABORT:
            self._abort()
        else:
            return self._sasl(asked, event)
        return None

    def _extension(self, event: Nonza) -> Deferred[Any] | None:
        assert self.host is not None
        if self.session is None:
            return started(early_nonza(self, self.host, event))
        if self.host.hooks.fire(UserSendNonza(self.session, event)) is STOP:
            return None
        raise StreamError("unsupported-stanza-type")

    def _sasl(self, asked: Input, event: Nonza) -> Deferred[Any] | None:
        require_tls(self)
        assert self.host is not None
        if asked is Input.AUTH:
            self._login = Login(self, self.host, self._offered)
            self.state_ = State.SASL
            return self._login.begin(event)
        assert self._login is not None
        return self._login.respond(event)

    def _abort(self) -> None:
        """RFC 6120 §6.4.4; some clients abort even an exchange that has failed."""
        failure = negotiation.sasl_failure("aborted")
        if self._login is None:
            self.write(failure)
        else:
            self.login_failed(failure, "")

    # -- negotiation

    def _opened(self, attributes: dict[str, str]) -> None:
        negotiation.check(self.state_, Input.HEADER)
        self.host = answer_header(self, attributes)
        self.state_ = State.OPEN if self.user is None else State.BINDING
        offered = offer(self, self.host)
        self._offered = offered.mechanisms
        self.write(offered.xml)

    def _start_tls(self) -> None:
        if self.secure or not self.listener.offers_starttls:
            raise StreamError("unsupported-stanza-type")
        self.write(negotiation.PROCEED)
        self.flush()
        self.listener.start_tls(self.transport)
        self.secure = True
        self._restart(State.CONNECTED)

    def _restart(self, state: State) -> None:
        """RFC 6120 §4.3.3: a new stream over the same connection."""
        self.parser.close()
        self.parser = StreamParser(self.listener.limits)
        self.opened = False
        self.state_ = state

    def authenticated(self, user: JID, *, guest: bool = False) -> None:
        """The login succeeded; the client opens its stream anew."""
        if self.state_ is State.CLOSED:
            return
        self.user = user
        self.guest = guest
        self._login = None
        self._restart(State.PROVEN)

    def login_failed(self, failure: bytes, username: str) -> None:
        """The login failed; the client may try again a few times (RFC 6120 §6.4.5)."""
        if self.state_ is State.CLOSED:
            return
        self._login = None
        self.state_ = State.OPEN
        self.failures += 1
        self.write(failure)
        logger.info("login_failed address=%s user=%s", self.address, username)
        if self.failures >= self.listener.options.login_attempts.max_per_stream:
            self.close(StreamError("policy-violation", "too many failed logins"))

    def answer(self, data: bytes) -> None:
        """Writes the SASL layer's answer."""
        self.write(data)

    def bound(self, session: "Session") -> None:
        """A resource was bound, or a session is resumed; the negotiation is over."""
        session.stream = self
        if session.secure != self.secure:
            session.secure = self.secure
            session.host.sessions.changed(session)
        session.address = self.address
        self.session = session
        self.state_ = State.BOUND
        self.parser.limits = self.listener.limits
        self.listener.deadlines.discard(self)

    def too_slow(self) -> None:
        """The client has not bound a resource in time."""
        self.close(StreamError("connection-timeout"))

    # -- output

    def write(self, data: bytes) -> None:
        """Queues bytes; they leave at the end of the turn, joined with others."""
        if self.state_ is State.CLOSED:
            return
        if self._out is None:
            self._out = [data]
            self.listener.server.flusher.add(self)
        else:
            self._out.append(data)
        if self._backlog is not None:
            self._backlog.grow(len(data))

    def flush(self) -> None:
        """Writes what is queued."""
        out = self._out
        if out is not None:
            self._out = None
            self.transport.write_now(out[0] if len(out) == 1 else b"".join(out))

    def congested(self) -> None:
        """The transport's queue is long."""
        if self._backlog is None and self.state_ is not State.CLOSED:
            self._backlog = Backlog(self)

    def drained(self) -> None:
        """The transport's queue is empty again."""
        backlog, self._backlog = self._backlog, None
        if backlog is not None:
            backlog.end()

    def hold(self) -> None:
        """Reads no more until :meth:`let_go`."""
        self._pause()

    def let_go(self) -> None:
        """Reads on."""
        self._resume()

    def _pause(self) -> None:
        self._paused_by += 1
        if self._paused_by == 1:
            self.transport.pauseProducing()

    def _resume(self) -> None:
        self._paused_by -= 1
        if self._paused_by == 0 and self.state_ is not State.CLOSED:
            self.transport.resumeProducing()

    # -- the end

    def close(self, error: StreamError | None = None, *, may_return: bool = False) -> None:
        """Closes the stream (RFC 6120 §4.4), with an error if there is one (§4.9).

        :param may_return: the session may wait for the client, as if the connection were lost.
        """
        if self.state_ is State.CLOSED:
            return
        self.drained()  # last words are not held up by what waits before them
        if error is not None and not self.opened:
            write_header(self)  # RFC 6120 §4.9.1.1: an error comes within a stream
        ledger = self.session.ledger if self.session is not None else None
        if ledger is not None and (error is None or error.condition in _FAREWELLS):
            self.write(ledger.farewell())
        if error is not None:
            self.write(negotiation.stream_error(error))
            self._error = error.condition
        self.write(negotiation.CLOSING)
        # A client that does not answer is one whose connection is lost, known or not
        lost = may_return or self._error == "connection-timeout"
        self._finish(self._error or "normal", clean=not lost)
        self.flush()
        self.transport.loseConnection()

    def connection_lost(self, reason: str) -> None:
        """The connection is gone."""
        if self.state_ is not State.CLOSED:
            self._finish(reason, clean=False)

    def _finish(self, reason: str, *, clean: bool) -> None:
        self.state_ = State.CLOSED
        self.parser.close()
        self.listener.deadlines.discard(self)
        if self._shaping is not None:
            self._shaping.cancel()
            self._shaping = None
        if self._login is not None:
            self._login.abandon()
            self._login = None
        self.drained()
        session, self.session = self.session, None
        if session is not None and session.stream is self:
            session.stream = None
            if clean or session.host.hooks.fire(SessionDisconnected(session, reason)) is not STOP:
                session.end(reason)
