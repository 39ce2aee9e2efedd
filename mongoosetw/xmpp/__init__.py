"""XMPP without I/O: names, addresses, stanzas, streams and SASL, as bytes in and bytes out."""
