"""All that third-party modules import.

What this module names stays: it changes only with a major version.
"""

from mongoosetw.config.options import option, section
from mongoosetw.hooks import c2s, disco, presence, privacy, roster, routing, users
from mongoosetw.hooks.bus import STOP, Hook, Order, Outcome
from mongoosetw.host import Host
from mongoosetw.metrics import Counter, Gauge, Histogram
from mongoosetw.module import (
    BARE,
    DOMAIN,
    IQ,
    XEP,
    Module,
    Needs,
    NoOptions,
    command,
    every,
    on,
    on_iq,
)
from mongoosetw.storage.keyvalue import KeyValue, Map
from mongoosetw.storage.schema import Schema
from mongoosetw.xmpp import ns
from mongoosetw.xmpp.errors import StanzaError, StreamError
from mongoosetw.xmpp.jid import JID, InvalidJID
from mongoosetw.xmpp.stanza import Stanza, escape

__all__ = [
    "BARE",
    "DOMAIN",
    "IQ",
    "JID",
    "STOP",
    "XEP",
    "Counter",
    "Gauge",
    "Histogram",
    "Hook",
    "Host",
    "InvalidJID",
    "KeyValue",
    "Map",
    "Module",
    "Needs",
    "NoOptions",
    "Order",
    "Outcome",
    "Schema",
    "Stanza",
    "StanzaError",
    "StreamError",
    "c2s",
    "command",
    "disco",
    "escape",
    "every",
    "ns",
    "on",
    "on_iq",
    "option",
    "presence",
    "privacy",
    "roster",
    "routing",
    "section",
    "users",
]
