"""Sockets: transports that write at the end of a turn, TLS on the socket itself."""
