"""One SASL exchange on a client's stream: the mechanism asks, the accounts answer."""

import base64
import binascii
from typing import TYPE_CHECKING

from twisted.internet import task
from twisted.internet.defer import CancelledError, Deferred
from twisted.words.xish import domish

from mongoosetw.net import tls
from mongoosetw.xmpp import ns, sasl
from mongoosetw.xmpp.jid import JID
from mongoosetw.xmpp.negotiation import sasl_failure
from mongoosetw.xmpp.sasl.external import External

if TYPE_CHECKING:  # types only
    from mongoosetw.c2s.stream import ClientStream
    from mongoosetw.host import Host


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
        return base64.b64decode(text, validate=True)
    except binascii.Error as error:
        raise MalformedBase64(text) from error


def sasl_context(stream: "ClientStream", host: "Host") -> sasl.SaslContext:
    """What the mechanisms may know of this stream."""
    context = sasl.SaslContext(
        domain=host.domain,
        secure=stream.secure,
        secret=host.server.secret,
        iterations=host.config.auth.password.scram_iterations,
        allow_plain_without_tls=stream.listener.options.allow_plain_without_tls,
    )
    connection = stream.tls_connection
    if connection is not None:
        context.tls_version = connection.get_protocol_version_name()
        context.tls_exporter = tls.exporter_binding(connection)
        context.tls_server_end_point = stream.listener.end_point_binding(connection)
        if stream.listener.asks_for_certificates:
            certificate = tls.peer_certificate(connection)
            if certificate is not None and not tls.is_self_signed(connection):
                context.certificate_jids = tls.certificate_jids(certificate)
    return context


class Login:
    """One exchange. Its answer is written to the stream; success is told to it."""

    def __init__(self, stream: "ClientStream", host: "Host", offered: list[str]) -> None:
        self._stream = stream
        self._host = host
        self._offered = offered
        self._context = sasl_context(stream, host)
        self._mechanism: sasl.Mechanism | None = None
        self._waiting: Deferred[None] | None = None
        self._counted = False

    async def begin(self, element: domish.Element) -> None:
        """Takes ``<auth/>`` (RFC 6120 §6.4.2)."""
        self._host.metrics.authorizations.inc()
        name = element.getAttribute("mechanism") or ""
        if name not in self._offered:
            await self._fail(sasl.Failure("invalid-mechanism", ""), "")
            return
        self._mechanism = sasl.create(name, self._context, self._offered)
        await self.respond(element)

    async def respond(self, element: domish.Element) -> None:
        """Takes the data of ``<auth/>`` or ``<response/>``."""
        assert self._mechanism is not None
        try:
            data = decode(str(element))
        except MalformedBase64:
            await self._fail(sasl.Failure("incorrect-encoding", ""), "")
            return
        if element.name == "response" and data is None:
            data = b""
        await self._follow(self._mechanism.respond(data))

    async def _follow(self, step: sasl.Step) -> None:
        assert self._mechanism is not None
        username = ""
        accounts = self._host.accounts
        while isinstance(step, sasl.NeedKeys | sasl.NeedPassword):
            username = step.username
            user = JID.of(username, self._host.domain)
            if not await self._throttled(user):
                return
            if isinstance(step, sasl.NeedKeys):
                keys = await accounts.scram_keys(user, step.hash_name)
                step = self._mechanism.supply_keys(keys)
            else:
                good = await accounts.check_password(user, step.password)
                step = self._mechanism.supply_verdict(good)
        if isinstance(step, sasl.Challenge):
            data = base64.b64encode(step.data).decode() if step.data else "="
            self._stream.answer(f"<challenge xmlns='{ns.SASL}'>{data}</challenge>".encode())
        elif isinstance(step, sasl.Success):
            await self._succeed(step)
        else:
            assert isinstance(step, sasl.Failure)
            await self._fail(step, username)

    async def _throttled(self, user: JID) -> bool:
        """Waits as long as this attempt has to; False if the client has not."""
        clock = self._host.server.clock
        listener = self._stream.listener
        seconds = listener.throttle.attempt(user, self._stream.address, clock.seconds())
        self._counted = True
        if seconds:
            self._waiting = task.deferLater(clock, seconds)
            try:
                await self._waiting
            except CancelledError:
                return False
        return True

    def abandon(self) -> None:
        """The stream is gone: nobody waits for an answer."""
        if self._waiting is not None:
            self._waiting.cancel()

    async def _succeed(self, step: sasl.Success) -> None:
        user = JID.of(step.username, self._host.domain)
        external = isinstance(self._mechanism, External)
        if external and not await self._host.accounts.exists(user):
            await self._fail(sasl.Failure("not-authorized", "no such account"), step.username)
            return
        if not self._host.access.allows(self._stream.listener.options.access, user):
            await self._fail(sasl.Failure("not-authorized", "access denied"), step.username)
            return
        if self._counted:
            now = self._host.server.clock.seconds()
            self._stream.listener.throttle.succeeded(user, self._stream.address, now)
        data = base64.b64encode(step.data).decode() if step.data else ""
        self._stream.authenticated(user)
        self._stream.answer(f"<success xmlns='{ns.SASL}'>{data}</success>".encode())

    async def _fail(self, step: sasl.Failure, username: str) -> None:
        self._host.metrics.auth_failed.inc()
        self._stream.login_failed(sasl_failure(step.condition, step.text), username)
