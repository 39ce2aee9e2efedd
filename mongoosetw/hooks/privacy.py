"""Hooks of privacy lists and blocking (XEP-0016, XEP-0191)."""

from dataclasses import dataclass
from typing import ClassVar, Literal

from mongoosetw.hooks.bus import Hook
from mongoosetw.xmpp.jid import JID
from mongoosetw.xmpp.stanza import Stanza


@dataclass(slots=True)
class PrivacyCheck(Hook):
    """Asks whether ``user`` lets this stanza in or out; handlers clear ``allowed``."""

    mongooseim: ClassVar[str] = "privacy_check_packet"
    may_wait: ClassVar[bool] = True
    fails_closed: ClassVar[bool] = True
    user: JID
    stanza: Stanza
    direction: Literal["in", "out"]
    allowed: bool = True
