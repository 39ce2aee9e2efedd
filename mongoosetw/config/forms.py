"""What strings in the configuration may have to be: ``option(…, form=ADDRESS)``."""

import ipaddress
from typing import Final

from mongoosetw.config.options import Form
from mongoosetw.xmpp.jid import JID, InvalidJID


def _jid(text: str) -> JID | None:
    try:
        return JID.parse(text)
    except InvalidJID:
        return None


def _is_domain(text: str) -> bool:
    jid = _jid(text)
    return jid is not None and jid.local is None and jid.resource is None


def _is_network(text: str) -> bool:
    try:
        ipaddress.ip_network(text, strict=False)
    except ValueError:
        return False
    return True


ADDRESS: Final = Form("an address (JID)", lambda text: _jid(text) is not None)
DOMAIN: Final = Form("a domain", _is_domain)
NETWORK: Final = Form("an IP address or network, such as 10.0.0.0/8", _is_network)
