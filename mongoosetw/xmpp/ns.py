"""XML namespaces of the protocols that the server speaks, one constant each."""

from typing import Final

CLIENT: Final = "jabber:client"
SERVER: Final = "jabber:server"
STREAM: Final = "http://etherx.jabber.org/streams"
XML: Final = "http://www.w3.org/XML/1998/namespace"

# RFC 6120
TLS: Final = "urn:ietf:params:xml:ns:xmpp-tls"
SASL: Final = "urn:ietf:params:xml:ns:xmpp-sasl"
BIND: Final = "urn:ietf:params:xml:ns:xmpp-bind"
SESSION: Final = "urn:ietf:params:xml:ns:xmpp-session"
STANZAS: Final = "urn:ietf:params:xml:ns:xmpp-stanzas"
STREAMS: Final = "urn:ietf:params:xml:ns:xmpp-streams"

# RFC 6121
ROSTER: Final = "jabber:iq:roster"
ROSTER_VERSIONING: Final = "urn:xmpp:features:rosterver"
PRE_APPROVAL: Final = "urn:xmpp:features:pre-approval"

LAST: Final = "jabber:iq:last"  # XEP-0012
PRIVACY: Final = "jabber:iq:privacy"  # XEP-0016
DISCO_INFO: Final = "http://jabber.org/protocol/disco#info"  # XEP-0030
DISCO_ITEMS: Final = "http://jabber.org/protocol/disco#items"  # XEP-0030
REGISTER: Final = "jabber:iq:register"  # XEP-0077
REGISTER_FEATURE: Final = "http://jabber.org/features/iq-register"  # XEP-0077
CHATSTATES: Final = "http://jabber.org/protocol/chatstates"  # XEP-0085
VERSION: Final = "jabber:iq:version"  # XEP-0092
DATA_FORMS: Final = "jabber:x:data"  # XEP-0004
SM: Final = "urn:xmpp:sm:3"  # XEP-0198
MSGOFFLINE: Final = "msgoffline"  # XEP-0160
BLOCKING: Final = "urn:xmpp:blocking"  # XEP-0191
BLOCKING_ERRORS: Final = "urn:xmpp:blocking:errors"  # XEP-0191
PING: Final = "urn:xmpp:ping"  # XEP-0199
TIME: Final = "urn:xmpp:time"  # XEP-0202
DELAY: Final = "urn:xmpp:delay"  # XEP-0203
RSM: Final = "http://jabber.org/protocol/rsm"  # XEP-0059
CARBONS: Final = "urn:xmpp:carbons:2"  # XEP-0280
FORWARD: Final = "urn:xmpp:forward:0"  # XEP-0297
CHAT_MARKERS: Final = "urn:xmpp:chat-markers:0"  # XEP-0333
HINTS: Final = "urn:xmpp:hints"  # XEP-0334
STANZA_ID: Final = "urn:xmpp:sid:0"  # XEP-0359
CSI: Final = "urn:xmpp:csi:0"  # XEP-0352
CHANNEL_BINDING: Final = "urn:xmpp:sasl-cb:0"  # XEP-0440
MAM: Final = "urn:xmpp:mam:2"  # XEP-0313
RETRACT: Final = "urn:xmpp:message-retract:1"  # XEP-0424
