"""A session of another node, as this one sees it."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from mongoosetw.cluster.sessions.changes import Opened
from mongoosetw.hooks.c2s import SessionLike
from mongoosetw.ids import timestamp
from mongoosetw.xmpp.jid import JID
from mongoosetw.xmpp.stanza import Stanza

if TYPE_CHECKING:  # types only
    from mongoosetw.cluster.sessions.fences import Gate
    from mongoosetw.cluster.sessions.relay import Relay
    from mongoosetw.host import Host


class Elsewhere:
    """A session whose presence another node has to show."""

    __slots__ = ()

    def show(self, to: JID) -> None:
        """Has its last presence shown; see :func:`mongoosetw.delivery.show_presence`."""
        raise NotImplementedError

    def hide(self, to: JID) -> None:
        """Has it vanish from somebody; see :func:`mongoosetw.delivery.hide_presence`."""
        raise NotImplementedError


class RemoteSession(Elsewhere):
    """A session of another node; see :class:`mongoosetw.hooks.c2s.SessionLike`.

    Only the node that has it changes it: what is here follows, a moment later.

    :ivar node: the name of the node that has it.
    :ivar last_activity: not known here: as if nothing had come since the beginning.
    :ivar begun: something was sent to it.
    :ivar gate: what is sent to it may have to wait there.
    :ivar passes_on: it was available, and has ended for a newer one of its address, which is not
        known here yet: what it is sent is passed on.
    """

    __slots__ = (
        "_relay",
        "begun",
        "flags",
        "gate",
        "host",
        "jid",
        "last_activity",
        "node",
        "passes_on",
        "priority",
        "secure",
        "sid",
    )
    local: bool = False
    continues: int = 0
    presence: Stanza | None = None
    address: str = ""
    inactive: bool = False

    def __init__(
        self,
        host: "Host",
        relay: "Relay",
        node: str,
        sid: int,
        jid: JID,
        priority: int | None,
        flags: frozenset[str],
        secure: bool,
    ) -> None:
        self.host = host
        self._relay = relay
        self.node = node
        self.sid = sid
        self.jid = jid
        self.priority = priority
        self.flags = flags
        self.secure = secure
        self.last_activity = timestamp(sid)
        self.begun = self.passes_on = False
        self.gate: Gate | None = None

    @classmethod
    def told(cls, host: "Host", relay: "Relay", node: str, record: Opened) -> "RemoteSession":
        """A session as its node tells it."""
        jid = JID(record.local, host.domain, record.resource)
        what = record.priority, record.flags, record.secure
        return cls(host, relay, node, record.sid, jid, *what)

    @property
    def bare(self) -> JID:
        """The address of the account."""
        return self.jid.bare

    @property
    def available(self) -> bool:
        """Whether the client has sent initial presence (RFC 6121 §4.2)."""
        return self.priority is not None

    @property
    def connected(self) -> bool:
        """Whether there is a stream to the client now: if not, its node knows what to do."""
        return True

    @property
    def opened_at(self) -> float:
        """When it was opened, in seconds since 1970 of its node's clock."""
        return timestamp(self.sid)

    @property
    def state(self) -> dict[str, Any]:
        """What modules keep for the session is on its node.

        :raises RuntimeError: always.
        """
        raise RuntimeError(f"the state of {self.jid} is on the node {self.node}")

    def deliver(self, stanza: Stanza, *, shared: bool = False) -> None:
        """Hands over a stanza that was routed to this session."""
        self._relay.deliver(self, stanza, shared=shared)

    def send(self, stanza: Stanza) -> None:
        """Has a stanza written to the client, unless a module of its node holds it back."""
        self._relay.send(self, stanza)

    def write(self, stanza: Stanza, data: bytes) -> None:
        """Has a stanza written, whose bytes are made anew there; nobody holds them back."""
        self._relay.write(self, stanza)

    def send_bytes(self, data: bytes) -> None:
        """Has serialised XML written that is no stanza."""
        self._relay.send_bytes(self, data)

    def close(self, condition: str | None = None, text: str | None = None) -> None:
        """Has the session ended, with a stream error if one is named."""
        self._relay.close(self, condition, text)

    def flag(self, name: str, on: bool = True) -> None:
        """Has a flag set or cleared by the node that has the session."""
        self._relay.flag(self, name, on)

    def in_place(self, use: Callable[[SessionLike | None], object]) -> None:
        """Calls a function with the session, which has moved already."""
        use(self)

    def show(self, to: JID) -> None:
        """Has its last presence shown; see :func:`mongoosetw.delivery.show_presence`."""
        self._relay.show(self, to)

    def hide(self, to: JID) -> None:
        """Has it vanish from somebody; see :func:`mongoosetw.delivery.hide_presence`."""
        self._relay.hide(self, to)
