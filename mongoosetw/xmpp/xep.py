"""XMPP extension protocols: how code declares that it implements one, and their titles.

A module of the server declares them in the class attribute ``xeps``, a file of the core in a
constant ``XEPS``. ``docs/xeps.md`` is made from both.
"""

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class XEP:
    """An extension that is implemented, with the version that the code follows."""

    number: int
    version: str = ""

    def __str__(self) -> str:
        return f"XEP-{self.number:04d}"

    @property
    def title(self) -> str:
        """The extension's title.

        :raises LookupError: :data:`TITLES` lacks it.
        """
        try:
            return TITLES[self.number]
        except KeyError:
            raise LookupError(f"{self} has no title in {__name__}.TITLES: add it") from None

    @property
    def url(self) -> str:
        """Where the extension is published."""
        return f"https://xmpp.org/extensions/xep-{self.number:04d}.html"


TITLES: Final = {
    4: "Data Forms",
    12: "Last Activity",
    16: "Privacy Lists",
    23: "Message Expiration",
    30: "Service Discovery",
    45: "Multi-User Chat",
    49: "Private XML Storage",
    50: "Ad-Hoc Commands",
    54: "vcard-temp",
    55: "Jabber Search",
    59: "Result Set Management",
    60: "Publish-Subscribe",
    77: "In-Band Registration",
    79: "Advanced Message Processing",
    82: "XMPP Date and Time Profiles",
    85: "Chat State Notifications",
    92: "Software Version",
    114: "Jabber Component Protocol",
    115: "Entity Capabilities",
    124: "Bidirectional-streams Over Synchronous HTTP (BOSH)",
    126: "Invisibility",
    128: "Service Discovery Extensions",
    133: "Service Administration",
    153: "vCard-Based Avatars",
    156: "Discovering Alternative XMPP Connection Methods",
    157: "Contact Addresses for XMPP Services",
    160: "Best Practices for Handling Offline Messages",
    163: "Personal Eventing Protocol",
    175: "Best Practices for Use of SASL ANONYMOUS",
    178: "Best Practices for Use of SASL EXTERNAL with Certificates",
    184: "Message Delivery Receipts",
    185: "Dialback Key Generation and Validation",
    191: "Blocking Command",
    198: "Stream Management",
    199: "XMPP Ping",
    202: "Entity Time",
    203: "Delayed Delivery",
    206: "XMPP Over BOSH",
    215: "External Service Discovery",
    220: "Server Dialback",
    225: "Component Connections",
    237: "Roster Versioning",
    249: "Direct MUC Invitations",
    279: "Server IP Check",
    280: "Message Carbons",
    288: "Bidirectional Server-to-Server Connections",
    297: "Stanza Forwarding",
    313: "Message Archive Management",
    317: "Hats",
    333: "Displayed Markers",
    334: "Message Processing Hints",
    352: "Client State Indication",
    357: "Push Notifications",
    359: "Unique and Stable Stanza IDs",
    363: "HTTP File Upload",
    368: "SRV records for XMPP over TLS",
    386: "Bind 2",
    388: "Extensible SASL Profile",
    390: "Entity Capabilities 2.0",
    398: "User Avatar to vCard-Based Avatars Conversion",
    402: "PEP Native Bookmarks",
    410: "MUC Self-Ping (Schrödinger's Chat)",
    421: "Occupant identifiers for semi-anonymous MUCs",
    424: "Message Retraction",
    425: "Moderated Message Retraction",
    440: "SASL Channel-Binding Type Capability",
    441: "Message Archive Management Preferences",
    484: "Fast Authentication Streamlining Tokens",
    490: "Message Displayed Synchronization",
}
"""Titles of extensions, by number."""
