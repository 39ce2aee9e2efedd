"""Pings: answered, and sent to clients that are silent (XEP-0199)."""

from dataclasses import dataclass

from mongoosetw.config.options import option
from mongoosetw.hooks.c2s import SessionClosed, SessionLike, SessionOpened
from mongoosetw.hooks.cluster import SessionMoved, SessionUnpacks
from mongoosetw.metrics import Counter, Histogram
from mongoosetw.module import IQ, XEP, Module, Timer, on, on_iq
from mongoosetw.xmpp import ns
from mongoosetw.xmpp.stanza import Stanza


@dataclass(frozen=True)
class PingOptions:
    """Options of mod_ping."""

    send_pings: bool = option(False, doc="Ping clients that have been silent.")
    ping_interval: float = option(
        60.0, minimum=1, unit="seconds", doc="How long a client may be silent."
    )
    timeout_action: str = option(
        "none", choices=("none", "kill"), doc="What happens to a client that does not answer."
    )
    ping_req_timeout: float = option(
        32.0, minimum=1, unit="seconds", doc="How long to wait for the answer."
    )


class Ping(Module[PingOptions]):
    """XEP-0199: XMPP Ping.

    Pings from clients are answered. With ``send_pings``, clients that have been silent are pinged,
    and those that do not answer can be disconnected: then a lost phone does not stay online.

    One timer for each session, never touched by its stanzas: when it fires, it looks at the
    session's last activity and, if that was recent, waits for the rest.
    """

    name = "mod_ping"
    options_class = PingOptions
    xeps = (XEP(199, "2.0.1"),)
    features = (ns.PING,)
    user_features = (ns.PING,)
    responses = Counter("mod_ping_response_count", "Pings that a client answered")
    response_time = Histogram("mod_ping_response_time", "Time until a client answered a ping")
    timeouts = Counter("mod_ping_response_timeout_count", "Pings that a client did not answer")

    def start(self) -> None:
        """Watches the sessions that are there already, after a reload."""
        self._watched: dict[SessionLike, Timer | None] = {}
        for session in self.host.sessions.local():
            self._watch(session)

    def stop(self) -> None:
        """Forgets the sessions: answers that are still to come start no timer."""
        self._watched.clear()

    @on_iq("get", ns.PING, "ping")
    def pong(self, iq: IQ) -> None:
        """Answers with an empty result (XEP-0199 §4.1, §4.2)."""

    @on(SessionOpened)
    def opened(self, event: SessionOpened) -> None:
        """Begins to watch a session."""
        self._watch(event.session)

    @on(SessionUnpacks)
    def arrived(self, event: SessionUnpacks) -> None:
        """Does so with a session of another node."""
        if event.session not in self._watched:
            self._watch(event.session)

    @on(SessionMoved)
    @on(SessionClosed)
    def closed(self, event: SessionClosed | SessionMoved) -> None:
        """Ends the watch."""
        timer = self._watched.pop(event.session, None)
        if timer is not None:
            timer.cancel()

    def _watch(self, session: SessionLike) -> None:
        if self.options.send_pings:
            self._wait(session, self.options.ping_interval)

    def _wait(self, session: SessionLike, seconds: float) -> None:
        self._watched[session] = self.later(seconds, self._look, session)

    def _look(self, session: SessionLike) -> None:
        silent = self.clock.seconds() - session.last_activity
        if silent < self.options.ping_interval:
            self._wait(session, self.options.ping_interval - silent)
            return
        if not session.connected:  # it waits for its client (XEP-0198 §5): nobody would answer
            self._wait(session, self.options.ping_interval)
            return
        self._watched[session] = None
        asked = self.clock.seconds()

        def answered(answer: Stanza | None) -> None:
            self._answered(session, answer, asked)

        # XEP-0199 §4.2: server-to-client ping
        request = Stanza.make("iq", to=session.jid, type="get", inner=f"<ping xmlns='{ns.PING}'/>")
        self.host.send_iq(request, self.options.ping_req_timeout, answered)

    def _answered(self, session: SessionLike, answer: Stanza | None, asked: float) -> None:
        if session not in self._watched:
            return
        if answer is not None:  # an error is a sign of life too (XEP-0199 §4.2)
            self.responses.inc()
            self.response_time.observe(self.clock.seconds() - asked)
        elif session.connected:
            self.timeouts.inc()
            if self.options.timeout_action == "kill":
                self.log.info("ping_timeout jid=%s", session.jid)
                session.close("connection-timeout")
        if session in self._watched:  # it was not closed, or it waits for its client
            self._wait(session, self.options.ping_interval)
