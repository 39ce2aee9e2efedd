"""Counts the bytes that connections carry."""

from mongoosetw.metrics import Counter

_KIND = ("connection_type",)
TCP_IN = Counter("tcp_data_in_byte_size", "Bytes received over unencrypted connections", _KIND)
TCP_OUT = Counter("tcp_data_out_byte_size", "Bytes sent over unencrypted connections", _KIND)
TLS_IN = Counter("tls_data_in_byte_size", "Bytes received over TLS, after decryption", _KIND)
TLS_OUT = Counter("tls_data_out_byte_size", "Bytes sent over TLS, before encryption", _KIND)


class Traffic:
    """The counters of one kind of connection.

    :param kind: ``c2s``, and what other listeners call theirs.
    """

    __slots__ = ("tcp_in", "tcp_out", "tls_in", "tls_out")

    def __init__(self, kind: str) -> None:
        self.tcp_in = TCP_IN.of_node().labels(kind)
        self.tcp_out = TCP_OUT.of_node().labels(kind)
        self.tls_in = TLS_IN.of_node().labels(kind)
        self.tls_out = TLS_OUT.of_node().labels(kind)
