"""A way to a server that can be cut: both its ends see their connection lost."""

import socket
import threading


class Relay:
    """Listens at a port of its own and passes on all that comes, to and fro.

    :ivar port: where it listens.
    """

    def __init__(self, port: int) -> None:
        """
        :param port: the server's.
        """
        self._server = ("127.0.0.1", port)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._ends: list[socket.socket] = []
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            try:
                here, _ = self._listener.accept()
            except OSError:
                return  # closed
            there = socket.create_connection(self._server)
            self._ends += [here, there]
            for ends in ((here, there), (there, here)):
                threading.Thread(target=_pump, args=ends, daemon=True).start()

    def cut(self) -> None:
        """Ends the connections that there are."""
        ends, self._ends = self._ends, []
        for end in ends:
            _shut(end)

    def close(self) -> None:
        """Ends everything."""
        _shut(self._listener)
        self._listener.close()
        self.cut()


def _pump(source: socket.socket, target: socket.socket) -> None:
    try:
        while data := source.recv(65536):
            target.sendall(data)
    except OSError:
        pass
    for end in (source, target):
        _shut(end)


def _shut(end: socket.socket) -> None:
    try:
        end.shutdown(socket.SHUT_RDWR)
    except OSError:
        pass  # it is already
