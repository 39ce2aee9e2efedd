"""One SASL exchange on a client's stream: the mechanism asks, the accounts answer."""

import logging
from binascii import Error, a2b_base64, b2a_base64
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

from OpenSSL import SSL
from twisted.internet import task
from twisted.internet.defer import CancelledError, Deferred

from mongoosetw.auth.accounts import Accounts
from mongoosetw.auth.cache import Missing
from mongoosetw.hooks.bus import started
from mongoosetw.net import tls
from mongoosetw.xmpp import ns, sasl
from mongoosetw.xmpp.errors import BackendUnavailable
from mongoosetw.xmpp.jid import JID
from mongoosetw.xmpp.negotiation import sasl_failure
from mongoosetw.xmpp.parser import Nonza
from mongoosetw.xmpp.sasl.anonymous import Anonymous
from mongoosetw.xmpp.sasl.external import External

if TYPE_CHECKING:  # types only
    from mongoosetw.c2s.stream import ClientStream
    from mongoosetw.host import Host

logger = logging.getLogger(__name__)


class MalformedBase64(ValueError):
    """What the client sent is not base64 (RFC 6120 §6.5.5)."""


def decode(text: str) -> bytes | None:
    """Initial response or response data; ``=`` is empty data, nothing is none (§6.4.2).

    :raises MalformedBase64: as it says.
    """
    text = text.strip()
    if not text:
        return None
    if text == "=":
        return b""
    try:
        return a2b_base64(text, strict_mode=True)
    except (Error, ValueError) as error:
        raise MalformedBase64(text) from error


def encode(data: bytes) -> bytes:
    """Base64 without line breaks."""
    return b2a_base64(data, newline=False)


def sasl_context(stream: "ClientStream", host: "Host") -> sasl.SaslContext:
    """What the mechanisms may know of this stream."""
    listener = stream.listener
    context = sasl.SaslContext(
        domain=host.domain,
        secure=stream.secure,
        secret=host.server.secret,
        iterations=host.config.auth.password.scram_iterations,
        allow_plain_without_tls=listener.options.allow_plain_without_tls,
    )
    connection = stream.tls_connection
    if connection is not None:
        bindings: dict[str, Callable[[], bytes]] = {}
        if tls.has_exporter_binding(connection):
            bindings["tls-exporter"] = partial(tls.exporter_binding, connection)
        if tls.has_unique_binding(connection):
            bindings["tls-unique"] = partial(tls.unique_binding, connection)
        end_point = listener.end_point_binding(connection)
        if end_point is not None:
            bindings["tls-server-end-point"] = lambda: end_point
        context.bindings = bindings
        if listener.asks_for_certificates:
            _add_certificate(context, connection, host, listener.accounts(host))
    return context


def _add_certificate(
    context: sasl.SaslContext, connection: SSL.Connection, host: "Host", accounts: Accounts
) -> None:
    """Adds whom the client's certificate names (XEP-0178 §2; option ``auth.sasl_external``)."""
    certificate = tls.peer_certificate(connection)
    if certificate is None:
        return
    if tls.is_self_signed(connection) and not accounts.trusts_certificates:
        return  # anybody can make one
    if "standard" in host.config.auth.sasl_external:
        context.certificate_jids = tls.certificate_jids(certificate)
    if "common_name" in host.config.auth.sasl_external:
        context.common_name = tls.common_name(certificate)


class Login:
    """One exchange. Its answer is written to the stream; success is told to it.

    What takes an element returns a Deferred while the accounts have to be asked.
    """

    def __init__(self, stream: "ClientStream", host: "Host", offered: tuple[str, ...]) -> None:
        self._stream = stream
        self._host = host
        self._accounts = stream.listener.accounts(host)
        self._guest = False
        self._offered = offered
        self._mechanism: sasl.Mechanism | None = None
        self._username = ""
        self._waiting: Deferred[None] | None = None
        self._counted = False

    def begin(self, auth: Nonza) -> Deferred[None] | None:
        """Takes ``<auth/>`` (RFC 6120 §6.4.2)."""
        self._host.metrics.authorizations.inc()
        name = auth.attributes.get("mechanism", "")
        if name not in self._offered:
            self._fail(sasl.Failure("invalid-mechanism", ""))
            return None
        context = sasl_context(self._stream, self._host)
        self._mechanism = sasl.create(name, context, self._offered)
        return self.respond(auth)

    def respond(self, nonza: Nonza) -> Deferred[None] | None:
        """Takes the data of ``<auth/>`` or ``<response/>``."""
        assert self._mechanism is not None
        try:
            data = decode(nonza.text)
        except MalformedBase64:
            self._fail(sasl.Failure("incorrect-encoding", ""))
            return None
        if data is None and nonza.name[1] == "response":
            data = b""
        return self._follow(self._mechanism.respond(data))

    def _follow(self, step: sasl.Step) -> Deferred[None] | None:
        if isinstance(step, sasl.NeedKeys):
            return self._need_keys(step)
        if isinstance(step, sasl.NeedPassword):
            user, seconds = self._attempt(step.username)
            return started(self._check_password(step.password, user, seconds))
        if isinstance(step, sasl.Success):
            return self._succeed(step)
        if isinstance(step, sasl.Challenge):
            self._stream.answer(_CHALLENGE % (encode(step.data) if step.data else b"="))
        else:
            self._fail(step)
        return None

    def _attempt(self, username: str) -> tuple[JID, float]:
        """Counts an attempt; the user, and how many seconds it has to wait."""
        self._username = username
        self._counted = True
        user = JID.of(username, self._host.domain)
        now = self._host.server.clock.seconds()
        return user, self._stream.listener.throttle.attempt(user, self._stream.address, now)

    def _need_keys(self, step: sasl.NeedKeys) -> Deferred[None] | None:
        assert self._mechanism is not None
        user, seconds = self._attempt(step.username)
        keys = self._accounts.remembered_keys(user, step.hash_name)
        if seconds or isinstance(keys, Missing):
            return started(self._load_keys(step.hash_name, user, seconds))
        return self._follow(self._mechanism.supply_keys(keys))

    async def _load_keys(self, hash_name: str, user: JID, seconds: float) -> None:
        assert self._mechanism is not None
        if await self._wait(seconds):
            try:
                keys = await self._accounts.scram_keys(user, hash_name)
            except BackendUnavailable as error:
                self._cannot_tell(error)
            else:
                await self._go_on(self._mechanism.supply_keys(keys))

    async def _check_password(self, password: str, user: JID, seconds: float) -> None:
        assert self._mechanism is not None
        if await self._wait(seconds):
            try:
                method = await self._accounts.opened_by(user, password)
            except BackendUnavailable as error:
                self._cannot_tell(error)
            else:
                self._guest = method is not None and method.guests
                await self._go_on(self._mechanism.supply_verdict(method is not None))

    async def _go_on(self, step: sasl.Step) -> None:
        pending = self._follow(step)
        if pending is not None:
            await pending

    async def _wait(self, seconds: float) -> bool:
        """Waits as long as the attempt has to; False if the client has not."""
        if seconds:
            self._waiting = task.deferLater(self._host.server.clock, seconds)
            try:
                await self._waiting
            except CancelledError:
                return False
        return True

    def abandon(self) -> None:
        """The stream is gone: nobody waits for an answer."""
        if self._waiting is not None:
            self._waiting.cancel()

    def _succeed(self, step: sasl.Success) -> Deferred[None] | None:
        user = JID.of(step.username, self._host.domain)
        if isinstance(self._mechanism, External):
            return started(self._check_account(step, user))
        self._let_in(step, user)
        return None

    async def _check_account(self, step: sasl.Success, user: JID) -> None:
        """XEP-0178 §2: the certificate names an account; whether it exists is ours to know."""
        try:
            exists = await self._accounts.exists(user)
        except BackendUnavailable as error:
            self._cannot_tell(error)
            return
        if exists:
            self._let_in(step, user)
        else:
            self._fail(sasl.Failure("not-authorized", "no such account"), step.username)

    def _let_in(self, step: sasl.Success, user: JID) -> None:
        listener = self._stream.listener
        if not self._host.access.allows(listener.options.access, user):
            self._fail(sasl.Failure("not-authorized", "access denied"), step.username)
            return
        if self._counted:
            now = self._host.server.clock.seconds()
            listener.throttle.succeeded(user, self._stream.address, now)
        guest = self._guest or isinstance(self._mechanism, Anonymous)
        self._stream.authenticated(user, guest=guest)
        self._stream.answer(_SUCCESS % (encode(step.data) if step.data else b""))

    def _cannot_tell(self, error: BackendUnavailable) -> None:
        """RFC 6120 §6.5.10: the client may try again; the attempt is not held against it."""
        logger.info("login_without_backend user=%s reason=%s", self._username, error)
        if self._counted:
            user, now = JID.of(self._username, self._host.domain), self._host.server.clock.seconds()
            self._stream.listener.throttle.withdrawn(user, self._stream.address, now)
        self._fail(sasl.Failure("temporary-auth-failure", ""))

    def _fail(self, step: sasl.Failure, username: str = "") -> None:
        self._host.metrics.auth_failed.inc()
        failure = sasl_failure(step.condition, step.text)
        self._stream.login_failed(failure, username or self._username)


_CHALLENGE = f"<challenge xmlns='{ns.SASL}'>%b</challenge>".encode()
_SUCCESS = f"<success xmlns='{ns.SASL}'>%b</success>".encode()
