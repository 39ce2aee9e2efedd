"""XEP-0352: Client State Indication. What an inactive client need not see now is held back."""

from dataclasses import dataclass, field

from mongoosetw.config.options import Infinity, option
from mongoosetw.hooks.bus import STOP, Order, Outcome
from mongoosetw.hooks.c2s import (
    PresendStanza,
    SessionClosed,
    SessionLike,
    SessionResumed,
    StreamFeatures,
    UserSendNonza,
)
from mongoosetw.hooks.cluster import SessionMoved, SessionPacks, SessionUnpacks
from mongoosetw.host import Host
from mongoosetw.metrics import Counter
from mongoosetw.module import XEP, Module, on
from mongoosetw.xmpp import ns
from mongoosetw.xmpp.stanza import Stanza

_FEATURE = f"<csi xmlns='{ns.CSI}'/>".encode()
_ACTIVE = (ns.CSI, "active")
_INACTIVE = (ns.CSI, "inactive")
_THREAD = (ns.CLIENT, "thread")


@dataclass(frozen=True)
class CSIOptions:
    """Options of mod_csi."""

    buffer_max: int | Infinity = option(
        20, minimum=1, doc="Stanzas that are held back for an inactive client."
    )


@dataclass(slots=True)
class Held:
    """What is held back for one client, in its order; presence by sender, the newest only."""

    stanzas: dict[str, tuple[Stanza, bytes]] = field(default_factory=dict)
    count: int = 0

    def release(self, session: SessionLike) -> None:
        """Writes all that was held back."""
        stanzas, self.stanzas = self.stanzas, {}
        for stanza, data in stanzas.values():
            session.write(stanza, data)


def can_wait(stanza: Stanza) -> bool:
    """Whether an inactive client can do without a stanza for now (XEP-0352 §1)."""
    if stanza.kind == "presence":
        return stanza.type in ("", "unavailable")
    if stanza.kind != "message":
        return False
    # Clients send chat states with a thread and hints (XEP-0085, XEP-0334)
    told = [name for name in stanza.children if name != _THREAD and name[0] != ns.HINTS]
    return bool(told) and all(namespace == ns.CHATSTATES for namespace, _ in told)


class CSI(Module[CSIOptions]):
    """XEP-0352: Client State Indication.

    A client that says that nobody looks at it gets no presence and no chat states for now. They
    wait, of each sender only the newest presence, until the client is active again, until
    anything else is sent to it, or until ``buffer_max`` of them wait; then they are sent first,
    in their order. So a phone's radio sleeps, and nothing is lost or reordered.
    """

    name = "mod_csi"
    options_class = CSIOptions
    xeps = (XEP(352, "1.0"),)
    active_count = Counter("mod_csi_active_count", "Clients that became active")
    inactive_count = Counter("mod_csi_inactive_count", "Clients that became inactive")

    def __init__(self, host: Host, options: CSIOptions) -> None:
        super().__init__(host, options)
        self._held: dict[SessionLike, Held] = {}

    @on(StreamFeatures, Order.STORE)
    def announce(self, event: StreamFeatures) -> None:
        """§3: announces the feature to clients that have logged in."""
        if event.authenticated:
            event.features.append(_FEATURE)

    @on(UserSendNonza, Order.DEFAULT)
    def state_changed(self, event: UserSendNonza) -> Outcome:
        """§4: the client says whether somebody looks at it."""
        session = event.session
        if event.nonza.name == _INACTIVE:
            self.inactive_count.inc()
            session.inactive = True
            self._held.setdefault(session, Held())
            return STOP
        if event.nonza.name != _ACTIVE:
            return None
        self.active_count.inc()
        self._activate(session)
        return STOP

    def _activate(self, session: SessionLike) -> None:
        session.inactive = False
        held = self._held.pop(session, None)
        if held is not None:
            held.release(session)

    @on(SessionResumed)
    def resumed(self, event: SessionResumed) -> None:
        """§5: a client that has come back is active until it says otherwise."""
        self._activate(event.session)

    @on(PresendStanza, Order.CHANGE)
    def presend(self, event: PresendStanza) -> Outcome:
        """Holds back what can wait; anything else takes what was held along, in order."""
        if not self._held:
            return None
        held = self._held.get(event.session)
        if held is None:
            return None
        if can_wait(event.stanza):
            held.count += 1
            stanza = event.stanza
            key = str(stanza.from_) if stanza.kind == "presence" else f"#{held.count}"
            held.stanzas.pop(key, None)
            held.stanzas[key] = (stanza, event.data)
            if len(held.stanzas) >= self.options.buffer_max:
                held.release(event.session)
            return STOP
        held.release(event.session)
        return None

    @on(SessionPacks)
    def packs(self, event: SessionPacks) -> None:
        """What is held back goes along with what the client has not acknowledged."""
        if held := self._held.get(event.session):
            held.release(event.session)

    @on(SessionUnpacks)
    def unpacks(self, event: SessionUnpacks) -> None:
        """The client is as inactive as it was."""
        if event.session.inactive:
            self._held.setdefault(event.session, Held())

    @on(SessionMoved)
    @on(SessionClosed)
    def closed(self, event: SessionClosed | SessionMoved) -> None:
        """Forgets a client that is gone; all that was held is presence and chat states."""
        self._held.pop(event.session, None)

    def stop(self) -> None:
        """Hands out all that is held."""
        for session in list(self._held):
            self._activate(session)
