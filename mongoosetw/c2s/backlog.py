"""What waits for a client that reads too slowly: who is to blame waits, too."""

from typing import TYPE_CHECKING, Final

from mongoosetw.xmpp.errors import StreamError

if TYPE_CHECKING:  # types only
    from mongoosetw.c2s.stream import ClientStream

FREE: Final = 65_536
"""Bytes that one sender may add to a client's backlog before it is paused. So a client that does
not read cannot stop the others who now and then send it something."""


class Backlog:
    """The queue of one client, from the moment when it is long until it is empty."""

    __slots__ = ("_paused", "_senders", "_stream", "_timeout")

    def __init__(self, stream: "ClientStream") -> None:
        self._stream = stream
        self._senders: dict[ClientStream, int] = {}
        self._paused: set[ClientStream] = set()
        self._wait()

    def _wait(self) -> None:
        listener = self._stream.listener
        seconds = listener.options.send_timeout
        self._timeout = listener.server.clock.callLater(seconds, self._check)

    def _check(self) -> None:
        """Gives up on a client that has read nothing all the time."""
        transport = self._stream.transport
        if transport.moved:
            transport.moved = False
            self._wait()
        else:
            # RFC 6120 §4.9.3.4: so its connection is lost, and a session may wait (XEP-0198)
            self._stream.close(StreamError("connection-timeout", "the client does not read"))

    def grow(self, size: int) -> None:
        """More was added. Pauses whoever adds much; closes the stream when it is too much."""
        listener = self._stream.listener
        if self._stream.transport.queued > listener.options.max_send_queue:
            self._stream.close(StreamError("resource-constraint", "too much waits to be read"))
            return
        sender = listener.server.active
        if sender is None or sender in self._paused:
            return
        added = self._senders.get(sender, 0) + size
        self._senders[sender] = added
        if added > FREE:
            self._paused.add(sender)
            sender.hold()

    def end(self) -> None:
        """It is empty, or the stream is closed: all may go on."""
        if self._timeout.active():
            self._timeout.cancel()
        paused, self._paused = self._paused, set()
        for sender in paused:
            sender.let_go()
