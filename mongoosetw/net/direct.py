"""Writing without the reactor, where Twisted's own transports are used."""

from typing import Any

from twisted.internet.tcp import Connection


def write_now(transport: Any, data: bytes) -> None:
    """Hands bytes to the kernel at once if nothing is queued before them; the rest is queued.

    A socket that takes all, as it does nearly always, needs no turn of the reactor for that. What
    is no socket of ours (TLS, a test's transport) writes as it does.
    """
    if not isinstance(transport, Connection) or not _idle(transport):
        transport.write(data)
        return
    written: Any = transport.writeSomeData(data)
    if isinstance(written, BaseException):
        transport.write(data)  # the reactor finds the same error and reports the loss
    elif written < len(data):
        transport.write(data[written:])


def _idle(transport: Any) -> bool:
    """Whether a socket is open, without TLS, and everything has left."""
    queued = transport.dataBuffer or transport._tempDataBuffer
    return bool(transport.connected and not queued and not transport.TLS)
