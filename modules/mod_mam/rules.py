"""Which messages an archive shows (XEP-0313 §5.1, XEP-0334)."""

from collections.abc import Callable
from functools import lru_cache
from typing import Final

from mongoosetw.xmpp import ns
from mongoosetw.xmpp.stanza import Name

_NEVER: Final = frozenset({(ns.HINTS, "no-store"), (ns.HINTS, "no-permanent-store")})
_STORE: Final = (ns.HINTS, "store")
_BODY: Final = (ns.CLIENT, "body")
_RESULT: Final = (ns.MAM, "result")
_RETRACT: Final = (ns.RETRACT, "retract")


def archivable(*, markers: bool, groupchat: bool) -> Callable[[str, tuple[Name, ...]], bool]:
    """Tells by type and children whether a message belongs into an archive; kept for speed.

    :param markers: chat markers (XEP-0333) do.
    :param groupchat: messages that a room has sent to its occupants do.
    """

    @lru_cache(2048)
    def decide(type: str, children: tuple[Name, ...]) -> bool:
        return _archivable(type, children, markers, groupchat)

    return decide


def _archivable(type: str, children: tuple[Name, ...], markers: bool, groupchat: bool) -> bool:
    if type in ("error", "headline") or (type == "groupchat" and not groupchat):
        return False
    if not _NEVER.isdisjoint(children) or _RESULT in children:
        return False
    if _STORE in children or _BODY in children or _RETRACT in children:
        return True
    return markers and any(namespace == ns.CHAT_MARKERS for namespace, _ in children)
