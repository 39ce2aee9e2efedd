"""Accounts made, changed and cancelled in band (XEP-0077)."""

import ipaddress
import math
from dataclasses import dataclass

from twisted.words.xish import domish

from mongoosetw.auth.accounts import AccountExists, RegistrationRefused
from mongoosetw.config.forms import ADDRESS, NETWORK
from mongoosetw.config.options import option, section, sections
from mongoosetw.hooks.bus import STOP, Outcome
from mongoosetw.hooks.c2s import StreamFeatures, UnauthenticatedIQ
from mongoosetw.module import IQ, XEP, Module, on, on_iq
from mongoosetw.xmpp import ns
from mongoosetw.xmpp.errors import BackendUnavailable, StanzaError
from mongoosetw.xmpp.jid import JID, InvalidJID
from mongoosetw.xmpp.stanza import Stanza, escape

_MOST_ADDRESSES = 100_000


@dataclass(frozen=True)
class WelcomeMessage:
    """What a new account is told."""

    subject: str = option("", doc="Subject of the message.")
    body: str = option("", doc="Text of the message; no message if both are empty.")


@dataclass(frozen=True)
class IPAccess:
    """One line of ``ip_access``."""

    address: str = option(form=NETWORK, doc="Where a client comes from.")
    policy: str = option(choices=("allow", "deny"), doc="Whether accounts may be made from there.")


@dataclass(frozen=True)
class RegisterOptions:
    """Options of mod_register."""

    access: str = option("all", rule=True, doc="Access rule that new accounts have to pass.")
    welcome_message: WelcomeMessage = section(WelcomeMessage, "Sent to every new account.")
    registration_watchers: tuple[str, ...] = option(
        (), form=ADDRESS, doc="Addresses that are told of every new account."
    )
    password_strength: float = option(
        0.0, minimum=0, unit="bits", doc="Entropy that a password must have; 0: any will do."
    )
    ip_access: tuple[IPAccess, ...] = sections(
        "Networks that may register or not; the smallest that fits decides, else it is allowed."
    )


class Register(Module[RegisterOptions]):
    """XEP-0077: In-Band Registration.

    Clients can make an account before they log in, change its password and cancel it. From one
    address one account can be made in ``general.registration_timeout`` seconds, except from this
    machine. On a server that strangers can reach, restrict it by ``ip_access`` or ``access``, or
    leave the module out and make accounts with ``mongoosectl account register``.
    """

    name = "mod_register"
    options_class = RegisterOptions
    xeps = (XEP(77, "2.4"),)
    features = (ns.REGISTER,)

    def start(self) -> None:
        """Reads the networks and addresses."""
        lines = [
            (ipaddress.ip_network(line.address, strict=False), line.policy == "allow")
            for line in self.options.ip_access
        ]
        self._networks = sorted(lines, key=lambda line: line[0].prefixlen, reverse=True)
        self._watchers = [JID.parse(text) for text in self.options.registration_watchers]
        self._recent: dict[str, float] = {}

    @on(StreamFeatures)
    def offer(self, event: StreamFeatures) -> None:
        """Offers registration before authentication (XEP-0077 §8)."""
        if not event.authenticated:
            event.features.append(f"<register xmlns='{ns.REGISTER_FEATURE}'/>".encode())

    @on(UnauthenticatedIQ)
    async def before_login(self, event: UnauthenticatedIQ) -> Outcome:
        """Answers a registration form's request, or its submission (XEP-0077 §3.1)."""
        iq = event.iq
        query = iq.child(ns.REGISTER, "query")
        if query is None or iq.type not in ("get", "set"):
            return None
        try:
            if iq.type == "get":
                answer = iq.result(_form(None))
            else:
                await self._register(query, event.stream.address)
                answer = iq.result()
        except StanzaError as error:
            answer = iq.error(error)
        event.stream.send_bytes(answer.to_bytes())
        return STOP

    @on_iq(("get", "set"), ns.REGISTER, "query")
    async def after_login(self, iq: IQ) -> str | None:
        """The account's owner asks for the form, changes the password or cancels (§3.2, §3.3)."""
        user = iq.from_.bare
        if user.domain != self.host.domain or (iq.user.local and iq.user != user):
            raise StanzaError("forbidden")
        if iq.type == "get":
            return _form(user.local)
        if _text(iq.payload, "remove") is not None:
            await self._cancel(user)
        else:
            await self._change_password(user, iq.payload)
        return None

    async def _register(self, query: domish.Element, address: str) -> None:
        if _text(query, "remove") is not None:
            raise StanzaError("unexpected-request")  # XEP-0077 §3.2: only when logged in
        user, password = self._submitted(query)
        if not self._may(user, address):
            raise StanzaError("forbidden")
        self._check_strength(password)
        self._check_rate(address)
        # Counted before the wait, so that requests side by side cannot all slip through.
        self._recent[address] = self.clock.seconds()
        try:
            await self.host.accounts.register(user, password)
        except BackendUnavailable:
            self._recent.pop(address, None)
            raise
        except AccountExists as error:
            self._recent.pop(address, None)
            raise StanzaError("conflict") from error
        except RegistrationRefused as error:
            self._recent.pop(address, None)
            raise StanzaError(error.condition) from error
        self._tell(user)

    def _submitted(self, query: domish.Element) -> tuple[JID, str]:
        name, password = _text(query, "username"), _text(query, "password")
        if not name or not password:
            raise StanzaError("not-acceptable")  # XEP-0077 §3.1.1
        try:
            return JID.of(name, self.host.domain), password
        except InvalidJID as error:
            raise StanzaError("jid-malformed") from error

    def _may(self, user: JID, address: str) -> bool:
        if not self.host.access.allows(self.options.access, user):
            return False
        parsed = _address(address)
        if parsed is None:
            return not self._networks
        return next((allow for network, allow in self._networks if parsed in network), True)

    def _check_strength(self, password: str) -> None:
        if entropy(password) < self.options.password_strength:
            raise StanzaError("not-acceptable", text="The password is too weak.")

    def _check_rate(self, address: str) -> None:
        """One account in ``registration_timeout`` seconds from one address, but for loopback."""
        timeout = self.host.server.config.general.registration_timeout
        parsed = _address(address)
        if not timeout or math.isinf(timeout) or (parsed is not None and parsed.is_loopback):
            return
        now = self.clock.seconds()
        recent = {a: at for a, at in self._recent.items() if now - at < timeout}
        self._recent = recent
        if address in recent or len(recent) >= _MOST_ADDRESSES:
            raise StanzaError("resource-constraint", text="Too many accounts from this address.")

    async def _change_password(self, user: JID, query: domish.Element) -> None:
        named, password = self._submitted(query)
        if named != user:
            raise StanzaError("not-allowed")
        self._check_strength(password)
        try:
            if not await self.host.accounts.set_password(user, password):
                raise StanzaError("registration-required")  # XEP-0077 §3.3
        except RegistrationRefused as error:
            raise StanzaError(error.condition) from error

    async def _cancel(self, user: JID) -> None:
        try:
            if not await self.host.accounts.remove(user):
                raise StanzaError("registration-required")  # XEP-0077 §3.2
        except RegistrationRefused as error:
            raise StanzaError(error.condition) from error
        self.later(0, self._close_sessions, user)

    def _close_sessions(self, user: JID) -> None:
        # XEP-0077 §3.2: after the result, the streams end with not-authorized
        for session in self.host.sessions.of(user):
            session.close("not-authorized")

    def _tell(self, user: JID) -> None:
        welcome = self.options.welcome_message
        if welcome.subject or welcome.body:
            self._message(user, welcome.body, welcome.subject)
        for watcher in self._watchers:
            self._message(watcher, f"The user {user} was registered.", "")

    def _message(self, to: JID, body: str, subject: str) -> None:
        inner = f"<subject>{escape(subject)}</subject>" if subject else ""
        inner += f"<body>{escape(body)}</body>"
        self.host.route(Stanza.make("message", to=to, from_=self.host.jid, inner=inner))


def entropy(password: str) -> float:
    """Bits of a password, guessed from its length and the kinds of characters in it."""
    pool = 0
    for size, holds in (
        (26, str.islower),
        (26, str.isupper),
        (10, str.isdigit),
        (33, lambda c: c.isascii() and not c.isalnum()),
        (128, lambda c: not c.isascii()),
    ):
        if any(map(holds, password)):
            pool += size
    return len(password) * math.log2(pool) if pool else 0.0


def _address(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        parsed = ipaddress.ip_address(text)
    except ValueError:
        return None
    return getattr(parsed, "ipv4_mapped", None) or parsed


def _text(query: domish.Element, tag: str) -> str | None:
    for element in query.elements():
        if element.name == tag and element.uri == ns.REGISTER:
            return str(element)
    return None


def _form(username: str | None) -> str:
    known = "<registered/>" if username else ""
    return (
        f"<query xmlns='{ns.REGISTER}'><instructions>Choose a username and a password."
        f"</instructions>{known}<username>{escape(username or '')}</username><password/></query>"
    )
