"""Delayed delivery (XEP-0203)."""

from datetime import UTC, datetime
from typing import Final

from mongoosetw.xmpp import ns
from mongoosetw.xmpp.stanza import Stanza, escape

DELAY: Final = (ns.DELAY, "delay")


def delay_element(domain: str, at: float) -> bytes:
    """The ``<delay/>`` of something that ``domain`` has had since ``at``, seconds since 1970."""
    stamp = datetime.fromtimestamp(at, UTC)
    text = f"{stamp:%Y-%m-%dT%H:%M:%S}.{stamp.microsecond // 1000:03d}Z"  # XEP-0082
    return f"<delay xmlns='{ns.DELAY}' from='{escape(domain)}' stamp='{text}'/>".encode()


def delayed(stanza: Stanza, domain: str, at: float) -> Stanza:
    """A message with the time when it should have arrived; others, and one that has it, as is."""
    if stanza.kind != "message" or stanza.type in ("error", "headline") or DELAY in stanza.children:
        return stanza
    return stanza.with_child(DELAY, delay_element(domain, at))
