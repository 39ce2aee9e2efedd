"""Hooks of service discovery (XEP-0030)."""

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar

from mongoosetw.hooks.bus import Hook
from mongoosetw.xmpp.jid import JID

if TYPE_CHECKING:  # types only
    from mongoosetw.host import Host


@dataclass(slots=True)
class DiscoLocal(Hook):
    """The server itself is asked; set ``found`` for a node that the handler knows.

    :ivar node: empty for the server as a whole.
    :ivar identities: category, type, name.
    :ivar items: JID, name, node.
    :ivar found: whether the node exists.
    :ivar hidden_too: list services, too, that are marked hidden.
    """

    mongooseim: ClassVar[str] = "disco_local_identity, disco_local_features, disco_local_items"
    may_wait: ClassVar[bool] = True
    host: "Host"
    node: str
    from_: JID
    identities: list[tuple[str, str, str]] = field(default_factory=list)
    features: set[str] = field(default_factory=set)
    items: list[tuple[JID, str, str]] = field(default_factory=list)
    found: bool = False
    hidden_too: bool = True


@dataclass(slots=True)
class DiscoUser(Hook):
    """An account (bare JID) is asked; fields as of :class:`DiscoLocal`."""

    mongooseim: ClassVar[str] = "disco_sm_identity, disco_sm_features, disco_sm_items"
    may_wait: ClassVar[bool] = True
    host: "Host"
    user: JID
    node: str
    from_: JID
    identities: list[tuple[str, str, str]] = field(default_factory=list)
    features: set[str] = field(default_factory=set)
    items: list[tuple[JID, str, str]] = field(default_factory=list)
    found: bool = False
