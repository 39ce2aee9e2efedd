"""A host: one served domain with its hooks, iq handlers, modules and sessions."""

import logging
from collections.abc import Callable, Coroutine, Iterable
from typing import TYPE_CHECKING, Any

from twisted.internet.defer import CancelledError, Deferred, DeferredList, TimeoutError
from twisted.internet.interfaces import IDelayedCall

from mongoosetw.auth.accounts import Accounts
from mongoosetw.auth.guests import watch_guests
from mongoosetw.auth.methods import build_accounts
from mongoosetw.config.acl import Access
from mongoosetw.config.load import HostConfig
from mongoosetw.delivery import deliver_message_to_bare, deliver_presence, undeliverable_message
from mongoosetw.hooks.bus import STOP, HookBus, HookFailed, Order, begin
from mongoosetw.hooks.c2s import IQCallback, SessionLike, UserSendMessage
from mongoosetw.hooks.routing import FilterLocalPacket
from mongoosetw.module import BARE, DOMAIN, IQ, IQHandler, Module
from mongoosetw.server_metrics import count_events, host_metrics
from mongoosetw.sessions import SessionRegistry
from mongoosetw.timers import Timers
from mongoosetw.xmpp.errors import BackendUnavailable, StanzaError
from mongoosetw.xmpp.jid import JID
from mongoosetw.xmpp.sasl import wire_name
from mongoosetw.xmpp.stanza import Stanza

if TYPE_CHECKING:  # types only
    from mongoosetw.c2s.features import Offer
    from mongoosetw.messagelog import MessageLog
    from mongoosetw.server import Server

logger = logging.getLogger(__name__)
_BACKGROUND_TIME = 30.0
_AGAIN = 1.0
_LONGEST = 60.0
"""Seconds until something is tried again, at first and at most."""
IQKey = tuple[str, str, str, str]
"""Type, namespace, tag, target."""


class Host:
    """One virtual host. All that belongs to a domain hangs here."""

    def __init__(self, server: "Server", domain: str, config: HostConfig) -> None:
        self.server = server
        self.domain = domain
        self.host_type = config.name
        self.config = config
        self.jid = JID.parse(domain)
        self.router = server.router
        self.offers: dict[object, Offer] = {}
        self.hooks = HookBus(self.offers.clear)
        self.sessions = SessionRegistry()
        self.locate: Callable[[Iterable[JID]], Deferred[None] | None] | None = None
        self.metrics = host_metrics(config.name)
        self.accounts: Accounts = build_accounts(
            server,
            config.auth,
            self.hooks,
            self.metrics,
            lambda user: bool(self.sessions.of(user)),
            lambda user: self._account_cache.changed(str(user)),
        )
        self._account_cache = server.caches.share(
            f"accounts {domain}",
            lambda user: self.accounts.invalidate(JID.parse(user)),
            self.accounts.invalidate_all,
        )
        self.access: Access = self._access()
        self.modules: dict[str, Module[Any]] = {}
        self.iq_handlers: dict[IQKey, tuple[str, IQHandler]] = {}
        self._requests: dict[str, tuple[JID, IQCallback, IDelayedCall]] = {}
        self._last_request = 0
        self._request_prefix = f"{domain}-"
        self._background: set[Deferred[Any]] = set()
        self._again = Timers(server.clock)
        self._paced = False
        count_events(self.hooks, config.name)
        watch_guests(self)

    def prepare(self, users: Iterable[JID]) -> Deferred[None] | None:
        """Makes sure that :attr:`sessions` has all sessions of users; None if it has.

        That is so for the user of each session of this node, for the recipient of a stanza that a
        handler gets, and, unless ``general.sm_backend`` is ``"redis"``, for everybody.
        """
        return None if self.locate is None else self.locate(users)

    def told(self) -> Deferred[None] | None:
        """Makes sure that other nodes know of the sessions here before anything that follows.

        :returns: None if they do, or are sure to.
        """
        cluster = self.server.cluster
        return None if cluster is None else cluster.directory.told()

    def reconfigure(self, config: HostConfig) -> None:
        """Takes over what a reload may change at once: access rules."""
        self.config = config
        self.access = self._access()
        self.offers.clear()

    def _access(self) -> Access:
        hosted = self.server.hosts.__contains__
        return self.server.config.access(self.domain, self.config.name, hosted)

    async def open_message_log(self) -> "MessageLog":
        """The node's message log; this host's users wait while the disk does not keep up."""
        log = await self.server.open_message_log()
        if not self._paced:
            self._paced = True
            self.hooks.add(UserSendMessage, Order.EARLY, "messagelog", log.pace)
        return log

    def mechanisms(self, accounts: Accounts) -> list[str]:
        """The configured SASL mechanisms that these accounts of the host can be proven with."""
        names = map(wire_name, self.config.auth.sasl_mechanisms)
        return [name for name in names if accounts.supports(name)]

    def route(self, stanza: Stanza) -> None:
        """Sends a stanza on its way; errors come back to its ``from``."""
        pending = self.router.route(stanza)
        if pending is not None:
            self._watch(pending)

    def in_background(self, coroutine: Coroutine[Any, Any, None]) -> None:
        """Runs what nobody waits for; a failure is logged."""
        outcome = begin(coroutine)
        if isinstance(outcome, Deferred):
            self._watch(outcome)

    def insist(self, act: Callable[[], Coroutine[Any, Any, None]], delay: float = _AGAIN) -> None:
        """Runs what nobody waits for, and again while what it relies on is away.

        :param act: what may be begun again.
        :param delay: seconds until it is; then twice as many, up to a minute.
        """
        self.in_background(self._try(act, delay))

    async def _try(self, act: Callable[[], Coroutine[Any, Any, None]], delay: float) -> None:
        try:
            await act()
        except BackendUnavailable as error:
            logger.info("put_off domain=%s seconds=%.0f reason=%s", self.domain, delay, error)
            self._again.later(delay, self.insist, act, min(2 * delay, _LONGEST))

    def _watch(self, pending: Deferred[None]) -> None:
        self._background.add(pending)
        pending.addErrback(_log_lost)
        pending.addBoth(lambda result: self._background.discard(pending))

    async def settle(self) -> None:
        """Waits for what runs in the background, but not for ever, nor for another try of it."""
        self._again.stop()
        while self._background:
            running = DeferredList(list(self._background))
            try:
                await running.addTimeout(_BACKGROUND_TIME, self.server.clock)
            except TimeoutError:
                logger.warning("background_cancelled domain=%s", self.domain)

    def receive(self, stanza: Stanza) -> Deferred[None] | None:
        """Delivers a stanza for this domain, filtered; errors are bounced."""
        if self.locate is not None:
            located = self.locate((stanza.to.bare,))  # type: ignore[union-attr]  # it has one here
            if located is not None:
                return Deferred.fromCoroutine(self._receive_when(located, stanza))
        try:
            if self.hooks.handled(FilterLocalPacket):
                event = FilterLocalPacket(stanza, self)
                outcome = self.hooks.fire(event)
                if outcome is STOP:
                    return None
                if outcome is not None:  # isinstance(outcome, Deferred) is a call of Python
                    return Deferred.fromCoroutine(self._receive_later(event, outcome))
                stanza = event.stanza
            return self._deliver(stanza)
        except (StanzaError, HookFailed) as error:
            self.router.bounce(stanza, error)
            return None

    async def _receive_when(self, located: Deferred[None], stanza: Stanza) -> None:
        await located
        pending = self.receive(stanza)
        if pending is not None:
            await pending

    async def _receive_later(self, event: FilterLocalPacket, pending: Deferred[Any]) -> None:
        try:
            if await pending is not STOP:
                delivery = self._deliver(event.stanza)
                if delivery is not None:
                    await delivery
        except (StanzaError, HookFailed) as error:
            self.router.bounce(event.stanza, error)

    def deliver(self, stanza: Stanza) -> None:
        """Delivers a stanza for this domain that was filtered before; errors are bounced."""
        assert stanza.to is not None
        located = self.prepare((stanza.to.bare,))
        if located is not None:
            self._watch(located.addCallback(lambda _: self.deliver(stanza)))
            return
        try:
            pending = self._deliver(stanza)
        except (StanzaError, HookFailed) as error:
            self.router.bounce(stanza, error)
        else:
            if pending is not None:
                self._watch(pending)

    def _deliver(self, stanza: Stanza) -> Deferred[None] | None:
        to = stanza.to
        assert to is not None
        kind = stanza.kind
        if kind == "message":
            return self._deliver_message(stanza, to)
        if kind == "iq":
            return self._deliver_iq(stanza, to)
        deliver_presence(self, stanza)
        return None

    def _deliver_message(self, stanza: Stanza, to: JID) -> Deferred[None] | None:
        if to.resource is not None:
            session = self.sessions.get(to)
            if session is not None:
                session.deliver(stanza)  # RFC 6121 §8.5.3.1
                return None
            if stanza.type != "chat":
                # RFC 6121 §8.5.3.2.1: only chat is for the other resources then
                if stanza.type not in ("headline", "error"):
                    self.router.bounce(stanza, StanzaError("service-unavailable"))
                return None
        if to.local is None:
            self.router.bounce(stanza, StanzaError("service-unavailable"))
            return None
        if deliver_message_to_bare(self, stanza):
            return None
        return self._undeliverable(stanza, to.bare)

    def _undeliverable(self, stanza: Stanza, user: JID) -> Deferred[None] | None:
        return self._guarded(stanza, undeliverable_message(self, stanza, user))

    def _guarded(self, stanza: Stanza, coroutine: Any) -> Deferred[None] | None:
        """Runs what may wait for a stanza; what it raises is bounced."""

        async def run() -> None:
            try:
                await coroutine
            except (StanzaError, HookFailed) as error:
                self.router.bounce(stanza, error)
            except CancelledError:
                raise
            except BackendUnavailable as error:
                logger.info("stanza_without_backend to=%s reason=%s", stanza.to, error)
                self.router.bounce(stanza, error)
            except Exception as error:  # boundary: a database or back end that fails
                logger.error("stanza_failed to=%s", stanza.to, exc_info=error)
                self.router.bounce(stanza, StanzaError("internal-server-error", "wait"))

        outcome = begin(run())
        return outcome if isinstance(outcome, Deferred) else None

    def _deliver_iq(self, stanza: Stanza, to: JID) -> Deferred[None] | None:
        if stanza.type in ("result", "error"):
            self._deliver_answer(stanza, to)
            return None
        if to.resource is not None:
            session = self.sessions.get(to)
            if session is None:
                raise StanzaError("service-unavailable")  # RFC 6121 §8.5.3.2.3
            session.deliver(stanza)
            return None
        return self.handle_iq(stanza, None)

    def _deliver_answer(self, stanza: Stanza, to: JID) -> None:
        if self.answered(stanza):
            return
        session = self.sessions.get(to)
        if session is not None:
            session.deliver(stanza)

    def handle_iq(self, stanza: Stanza, session: SessionLike | None) -> Deferred[None] | None:
        """Answers a request to the server or to an account on its behalf.

        :raises StanzaError: it is no proper request, or nobody handles its payload.
        """
        children = stanza.children
        if len(children) != 1:
            raise StanzaError("bad-request")  # RFC 6120 §8.2.3: exactly one child
        to = stanza.to
        target = DOMAIN if to is not None and to.local is None else BARE
        namespace, tag = children[0]
        entry = self.iq_handlers.get((stanza.type, namespace, tag, target))
        if entry is None:
            raise StanzaError("service-unavailable")  # RFC 6120 §8.4
        assert stanza.from_ is not None and stanza.payload is not None
        iq = IQ(stanza, stanza.from_, to, stanza.type, stanza.payload, self, session)
        return self._guarded(stanza, self._answer(iq, *entry))

    async def _answer(self, iq: IQ, owner: str, handler: IQHandler) -> None:
        if iq.to is not None and iq.to.local is not None and iq.to.bare != iq.from_.bare:
            if not await self.accounts.exists(iq.to.bare):
                raise StanzaError("service-unavailable")  # RFC 6121 §8.5.1
        try:
            payload = handler(iq)
            if hasattr(payload, "__await__"):
                payload = await payload
        except (StanzaError, HookFailed, BackendUnavailable, CancelledError):
            raise
        except Exception as error:  # boundary: a module's fault stays the module's
            logger.error("iq_failed owner=%s tag=%s", owner, iq.payload.name, exc_info=error)
            raise StanzaError("internal-server-error", "wait") from error
        self.route(iq.stanza.result(payload) if iq.to else self._own_result(iq, payload))

    def _own_result(self, iq: IQ, payload: Any) -> Stanza:
        # RFC 6120 §8.1.2.1: an answer on the account's behalf comes from its bare JID
        return iq.stanza.copy(to=iq.from_.bare).result(payload).copy(to=iq.from_)

    def send_iq(self, request: Stanza, timeout: float, callback: IQCallback) -> None:
        """Sends a request of the server's own; ``callback`` gets the answer or, late, None."""
        assert request.to is not None
        self._last_request += 1
        identifier = f"{self._request_prefix}{self.server.mesh.local.number}-{self._last_request}"
        late = self.server.clock.callLater(timeout, self._expire, identifier)
        self._requests[identifier] = (request.to, callback, late)
        self.route(request.copy(id=identifier, from_=request.from_ or self.jid))

    def _expire(self, identifier: str) -> None:
        _, callback, _ = self._requests.pop(identifier)
        callback(None)

    def answered(self, stanza: Stanza) -> bool:
        """Whether this is the answer to a request of the server's own; its callback is run.

        The answer to another node's request is passed on to that node.
        """
        entry = self._requests.get(stanza.id)
        if entry is None:
            return stanza.id.startswith(self._request_prefix) and self._pass_answer(stanza)
        if entry[0] != stanza.from_:
            return False
        del self._requests[stanza.id]
        entry[2].cancel()
        entry[1](stanza)
        return True

    def _pass_answer(self, stanza: Stanza) -> bool:
        cluster = self.server.cluster
        number = stanza.id[len(self._request_prefix) :].partition("-")[0]
        if cluster is None or not number.isdecimal():
            return False
        for peer in self.server.mesh.peers.values():
            if peer.number == int(number):
                return cluster.relay.pass_answer(peer.name, self, stanza)
        return False

    def release(self) -> None:
        """The host is served no longer: nobody waits for answers, or shares its caches."""
        self._account_cache.end()
        for _, _, late in self._requests.values():
            late.cancel()
        self._requests.clear()

    def add_iq_handler(self, key: IQKey, owner: str, handler: IQHandler) -> None:
        """Registers the handler of a request.

        :raises ValueError: another module handles it.
        """
        other = self.iq_handlers.get(key)
        if other is not None:
            raise ValueError(f"{owner}: {key} is handled by {other[0]}")
        self.iq_handlers[key] = (owner, handler)

    def remove_iq_handlers(self, owner: str) -> None:
        """Removes all iq handlers of a module."""
        for key in [k for k, (name, _) in self.iq_handlers.items() if name == owner]:
            del self.iq_handlers[key]


def _log_lost(failure: Any) -> None:
    logger.error("routing_failed", exc_info=(failure.type, failure.value, failure.tb))

