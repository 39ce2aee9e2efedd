"""Hooks of a client's stream and session."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

from mongoosetw.hooks.bus import Hook
from mongoosetw.xmpp.errors import StreamError
from mongoosetw.xmpp.jid import JID
from mongoosetw.xmpp.parser import Nonza
from mongoosetw.xmpp.stanza import Stanza

if TYPE_CHECKING:  # types only: at run time nothing below depends on what is above it
    from mongoosetw.c2s.session import Session
    from mongoosetw.host import Host


class SessionLike(Protocol):
    """What handlers may use of a session; see ``mongoosetw.c2s.session.Session``.

    A session of another node has the same interface; ``local`` tells them apart. Its
    ``presence`` is not known here, nor is its ``state``, nor whether it is ``inactive``. One that
    ``passes_on`` what it is sent was available, and has ended for a newer one of its address, which
    is not known here yet.
    """

    sid: int
    continues: int
    local: bool
    jid: JID
    host: "Host"
    priority: int | None
    presence: Stanza | None
    flags: frozenset[str]
    secure: bool
    address: str
    last_activity: float
    inactive: bool
    passes_on: bool

    @property
    def bare(self) -> JID:
        """The address of the account."""

    @property
    def opened_at(self) -> float:
        """When the session began, in seconds of the clock of its node."""

    @property
    def available(self) -> bool:
        """Whether the client has sent initial presence (RFC 6121 §4.2)."""

    @property
    def connected(self) -> bool:
        """Whether there is a stream to the client now."""

    @property
    def state(self) -> dict[str, Any]:
        """What modules keep for the session, by module name."""

    def send(self, stanza: Stanza) -> None:
        """Writes a stanza to the client, unless a module holds it back."""

    def write(self, stanza: Stanza, data: bytes) -> None:
        """Writes a stanza's bytes; nobody holds them back."""

    def send_bytes(self, data: bytes) -> None:
        """Writes serialised XML that is no stanza."""

    def deliver(self, stanza: Stanza, *, shared: bool = False) -> None:
        """Hands over a stanza that was routed to this session.

        :param shared: other sessions get it, too: should this one have gone meanwhile, it need not
            be delivered elsewhere.
        """

    def close(self, condition: str | None = None, text: str | None = None) -> None:
        """Ends the session and its stream, with a stream error if one is named."""

    def flag(self, name: str, on: bool = True) -> None:
        """Sets or clears a flag, for all nodes to see."""

    def in_place(self, use: "Callable[[SessionLike | None], object]") -> None:
        """Calls a function with the session itself; for whoever keeps a session for longer.

        At once, unless it is just moving to another node or has come from one: what stands in for
        it meanwhile is the session for whoever sends it something, and soon is not any more. Then
        with what is found at its address after that, None if there is nothing.
        """

    def __hash__(self) -> int: ...


class StreamLike(Protocol):
    """What handlers may use of a stream that has no session yet."""

    address: str
    secure: bool
    user: JID | None

    @property
    def state(self) -> dict[str, Any]:
        """What modules keep for the stream, by module name."""

    @property
    def closed(self) -> bool:
        """Whether the stream has ended."""

    def send_bytes(self, data: bytes) -> None:
        """Writes serialised XML."""

    def bound(self, session: "Session") -> None:
        """Gives the stream its session: the negotiation is over."""

    def close(self, error: StreamError | None = None) -> None:
        """Closes the stream, with an error if there is one."""


@dataclass(slots=True)
class StreamFeatures(Hook):
    """The features are about to be offered (RFC 6120 §4.3.2); append serialised elements.

    The answer is kept for streams alike: of the same listener, as secure, as authenticated, and
    with the same channel bindings. A handler that looks at anything else of the stream clears
    ``alike``. What is kept is forgotten when any handler or the configuration changes.
    """

    mongooseim: ClassVar[str] = "c2s_stream_features"
    host: "Host"
    stream: StreamLike
    authenticated: bool
    features: list[bytes] = field(default_factory=list)
    alike: bool = True


@dataclass(slots=True)
class UnauthenticatedIQ(Hook):
    """An iq before authentication (XEP-0077 uses it); STOP = answered by the handler."""

    may_wait: ClassVar[bool] = True
    fails_closed: ClassVar[bool] = True
    host: "Host"
    stream: StreamLike
    iq: Stanza


@dataclass(slots=True)
class UnauthenticatedNonza(Hook):
    """A client that has not authenticated yet sent an element that is no stanza.

    STOP = taken by the handler; otherwise the stream ends with ``not-authorized``. Here is the
    place of other ways to authenticate, such as XEP-0388.
    """

    may_wait: ClassVar[bool] = True
    fails_closed: ClassVar[bool] = True
    host: "Host"
    stream: StreamLike
    nonza: Nonza


@dataclass(slots=True)
class UnboundNonza(Hook):
    """A client that has authenticated but has no session yet sent an element that is no stanza.

    STOP = taken by the handler; otherwise the stream ends with ``unsupported-stanza-type``.
    """

    may_wait: ClassVar[bool] = True
    fails_closed: ClassVar[bool] = True
    host: "Host"
    stream: StreamLike
    nonza: Nonza


@dataclass(slots=True)
class OpenSession(Hook):
    """A resource is being bound; raise StanzaError to refuse it. Runs before the answer."""

    mongooseim: ClassVar[str] = "user_open_session"
    may_wait: ClassVar[bool] = True
    fails_closed: ClassVar[bool] = True
    session: SessionLike


@dataclass(slots=True)
class SessionOpened(Hook):
    """A session is registered and can receive stanzas.

    :ivar replaced: the session that had its address until now, on this node or another.
    """

    mongooseim: ClassVar[str] = "sm_register_connection"
    session: SessionLike
    replaced: SessionLike | None = None


@dataclass(slots=True)
class SessionDisconnected(Hook):
    """A session's connection was lost without a closing tag; STOP = its handler keeps it alive."""

    mongooseim: ClassVar[str] = "user_socket_closed"
    session: SessionLike
    reason: str


@dataclass(slots=True)
class SessionResumed(Hook):
    """A session whose connection was lost has a new one; what it missed was written to it."""

    session: SessionLike


@dataclass(slots=True)
class SessionClosed(Hook):
    """A session has ended and is no longer registered."""

    mongooseim: ClassVar[str] = "sm_remove_connection"
    session: SessionLike
    reason: str


@dataclass(slots=True)
class UserSendPacket(Hook):
    """A client sent a stanza of any kind; runs first. STOP = go no further."""

    mongooseim: ClassVar[str] = "user_send_packet"
    may_wait: ClassVar[bool] = True
    fails_closed: ClassVar[bool] = True
    stanza: Stanza
    session: SessionLike


@dataclass(slots=True)
class UserSendMessage(Hook):
    """A client sent a message; runs before it is routed. STOP = do not route it."""

    mongooseim: ClassVar[str] = "user_send_message"
    may_wait: ClassVar[bool] = True
    fails_closed: ClassVar[bool] = True
    stanza: Stanza
    session: SessionLike


@dataclass(slots=True)
class UserSendPresence(Hook):
    """A client sent a presence stanza; runs before it is routed. STOP = do not route it."""

    mongooseim: ClassVar[str] = "user_send_presence"
    may_wait: ClassVar[bool] = True
    fails_closed: ClassVar[bool] = True
    stanza: Stanza
    session: SessionLike


@dataclass(slots=True)
class UserSendIQ(Hook):
    """A client sent an iq; runs before it is handled or routed. STOP = go no further."""

    mongooseim: ClassVar[str] = "user_send_iq"
    may_wait: ClassVar[bool] = True
    fails_closed: ClassVar[bool] = True
    stanza: Stanza
    session: SessionLike


@dataclass(slots=True)
class UserSendNonza(Hook):
    """A client sent a top-level element that is no stanza. STOP = taken by the handler."""

    mongooseim: ClassVar[str] = "user_send_xmlel"
    session: SessionLike
    nonza: Nonza


@dataclass(slots=True)
class UserReceiveMessage(Hook):
    """A message reached a session. STOP = not delivered; handlers may replace ``stanza``."""

    mongooseim: ClassVar[str] = "user_receive_message"
    fails_closed: ClassVar[bool] = True
    stanza: Stanza
    session: SessionLike


@dataclass(slots=True)
class UserReceivePresence(Hook):
    """A presence stanza reached a session. STOP = not delivered."""

    mongooseim: ClassVar[str] = "user_receive_presence"
    fails_closed: ClassVar[bool] = True
    stanza: Stanza
    session: SessionLike


@dataclass(slots=True)
class UserReceiveIQ(Hook):
    """An iq reached a session. STOP = not delivered."""

    mongooseim: ClassVar[str] = "user_receive_iq"
    fails_closed: ClassVar[bool] = True
    stanza: Stanza
    session: SessionLike


@dataclass(slots=True)
class PresendStanza(Hook):
    """A stanza's bytes are about to be queued for the client. STOP = held by the handler."""

    mongooseim: ClassVar[str] = "xmpp_presend_element"
    session: SessionLike
    data: bytes
    stanza: Stanza


IQCallback = Callable[[Stanza | None], None]
