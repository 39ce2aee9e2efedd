"""Which messages wait for their recipient, and for how long (XEP-0160, XEP-0334, XEP-0023)."""

from collections.abc import Callable
from datetime import UTC, datetime
from functools import lru_cache
from typing import Final

from mongoosetw.ids import timestamp
from mongoosetw.xmpp import ns
from mongoosetw.xmpp.stanza import Name, Stanza, escape

EXPIRE: Final = "jabber:x:expire"  # XEP-0023


def waiting(*, groupchat: bool) -> Callable[[str, tuple[Name, ...]], bool]:
    """Tells by type and children whether a message is kept for a recipient who is away.

    XEP-0160 §3. What is found out is kept for speed.

    :param groupchat: messages of that type are.
    """

    @lru_cache(1024)
    def can_wait(type: str, children: tuple[Name, ...]) -> bool:
        if type in ("headline", "error") or (type == "groupchat" and not groupchat):
            return False
        # no-permanent-store is about archives: XEP-0334 §4.1 lets it wait for the recipient
        if (ns.HINTS, "no-store") in children or (ns.MAM, "result") in children:
            return False
        return (ns.HINTS, "store") in children or not _states_only(children)

    return can_wait


def is_only_a_state(stanza: Stanza) -> bool:
    """XEP-0085 §5.1 and XEP-0160 §3: a chat state alone (or nothing) is not kept."""
    return _states_only(stanza.children)


def _states_only(children: tuple[Name, ...]) -> bool:
    return all(space in (ns.CHATSTATES, ns.HINTS) for space, tag in children if tag != "thread")


def expiry(stanza: Stanza, now: int) -> int | None:
    """When a message is no longer wanted (XEP-0023); microseconds since 1970, as ``now``."""
    element = stanza.child(EXPIRE, "x")
    seconds = element.getAttribute("seconds") if element is not None else None
    if not seconds or not seconds.isascii() or not seconds.isdigit() or len(seconds) > 10:
        return None
    return now + int(seconds) * 1_000_000


def delay(identifier: int, domain: str) -> bytes:
    """``<delay/>`` of a logged message (XEP-0203), from the time in its id."""
    stamp = datetime.fromtimestamp(timestamp(identifier), UTC)
    return (
        f"<delay xmlns='{ns.DELAY}' from='{escape(domain)}'"
        f" stamp='{stamp:%Y-%m-%dT%H:%M:%S}.{stamp.microsecond // 1000:03d}Z'/>"
    ).encode()
