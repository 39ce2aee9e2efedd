"""A client of sockets and bytes: it sends what a test tells it to, legal or not.

It blocks, so tests run it in a thread beside the reactor (see ``live``).
"""

import base64
import re
import select
import socket
from typing import Any

from OpenSSL import SSL

from mongoosetw.xmpp import ns
from tests.integration.scram import Scram

TIMEOUT = 20.0
"""Seconds after which something that should come is missed; never waited for otherwise."""


def header(domain: str = "localhost", extra: str = "") -> str:
    """A stream header (RFC 6120 §4.7)."""
    return (
        f"<?xml version='1.0'?><stream:stream to='{domain}' version='1.0' {extra} "
        f"xmlns='{ns.CLIENT}' xmlns:stream='{ns.STREAM}'>"
    )


def encoded(data: bytes) -> str:
    """Data of SASL as it is sent (RFC 6120 §6.4.2)."""
    return base64.b64encode(data).decode() or "="


class RawClient:
    """One connection.

    :ivar tls: the TLS connection once there is one.
    """

    def __init__(self, port: int, domain: str = "localhost") -> None:
        self.domain = domain
        self.socket = socket.create_connection(("127.0.0.1", port), TIMEOUT)
        self.tls: SSL.Connection | None = None
        self._read = b""

    # -- bytes

    def send(self, data: str | bytes) -> None:
        """Sends everything."""
        data = data.encode() if isinstance(data, str) else data
        if self.tls is None:
            self.socket.sendall(data)
            return
        while data:
            data = data[self._retried(self.tls.send, data[:65536]) :]

    def _receive(self) -> bytes:
        if self.tls is None:
            return self.socket.recv(65536)
        try:
            received: bytes = self._retried(self.tls.recv, 65536)
        except (SSL.ZeroReturnError, SSL.SysCallError):
            return b""
        return received

    def _retried(self, call: Any, *args: Any) -> Any:
        while True:
            try:
                return call(*args)
            except SSL.WantReadError:
                ready, _, _ = select.select([self.socket], [], [], TIMEOUT)
            except SSL.WantWriteError:
                _, ready, _ = select.select([], [self.socket], [], TIMEOUT)
            if not ready:
                raise TimeoutError

    def until(self, end: str) -> str:
        """What has come up to and with ``end``.

        :raises AssertionError: the connection ended before that.
        """
        wanted = end.encode()
        while wanted not in self._read:
            received = self._receive()
            assert received, f"{end} did not come, but {self._read!r}"
            self._read += received
        found, _, self._read = self._read.partition(wanted)
        return (found + wanted).decode()

    def rest(self) -> str:
        """All that comes until the server closes the connection.

        :raises AssertionError: it does not.
        """
        try:
            while received := self._receive():
                self._read += received
        except TimeoutError:
            raise AssertionError(f"the connection is open after {self._read!r}") from None
        found, self._read = self._read, b""
        return found.decode()

    def pending(self) -> str:
        """What has come already; without TLS."""
        while select.select([self.socket], [], [], 0)[0] and (received := self._receive()):
            self._read += received
        found, self._read = self._read, b""
        return found.decode()

    def close(self) -> None:
        """Closes the connection without a word."""
        self.socket.close()

    # -- steps of the negotiation

    def start_tls(self, context: SSL.Context | None = None, name: str | None = None) -> None:
        """Does the TLS handshake; ``name`` is sent as SNI, by default the domain."""
        self.tls = SSL.Connection(context or SSL.Context(SSL.TLS_CLIENT_METHOD), self.socket)
        self.tls.set_connect_state()
        self.tls.set_tlsext_host_name((name or self.domain).encode())
        self._retried(self.tls.do_handshake)

    def open(self, extra: str = "") -> str:
        """Opens a stream; the server's header and features."""
        self.send(header(self.domain, extra))
        return self.until("</stream:features>")

    def secure(self, context: SSL.Context | None = None, name: str | None = None) -> str:
        """Opens a stream, upgrades it to TLS and opens it anew; the features then."""
        self.open()
        self.send(f"<starttls xmlns='{ns.TLS}'/>")
        self.until(f"<proceed xmlns='{ns.TLS}'/>")
        self.start_tls(context, name)
        return self.open()

    def auth(self, mechanism: str, data: bytes | None = None) -> str:
        """Begins an exchange and returns the server's answer."""
        text = "" if data is None else encoded(data)
        self.send(f"<auth xmlns='{ns.SASL}' mechanism='{mechanism}'>{text}</auth>")
        return self._answer()

    def respond(self, data: bytes) -> str:
        """Answers a challenge and returns what the server says to that."""
        self.send(f"<response xmlns='{ns.SASL}'>{encoded(data)}</response>")
        return self._answer()

    def _answer(self) -> str:
        answer = self.until(">")
        while not re.search("</(challenge|success|failure)>$|/>$", answer) or (
            "<failure" in answer and "</failure>" not in answer
        ):
            answer += self.until(">")
        return answer

    def scram(self, mechanism: str, exchange: Scram) -> str:
        """Goes through a SCRAM exchange; the server's last word.

        :raises AssertionError: the server did not prove that it knows the keys.
        """
        answer = self.auth(mechanism, exchange.first())
        if "<challenge" not in answer:
            return answer
        answer = self.respond(exchange.final(_data(answer)))
        if "<success" in answer:
            exchange.verify(_data(answer))
        return answer

    def plain(self, user: str, password: str = "secret") -> str:
        """Logs in by SASL PLAIN; the server's answer."""
        return self.auth("PLAIN", f"\0{user}\0{password}".encode())

    def bind(self, resource: str = "") -> str:
        """Opens the stream after the login and binds a resource; the full JID."""
        self.open()
        wanted = f"<resource>{resource}</resource>" if resource else ""
        self.send(f"<iq type='set' id='bind'><bind xmlns='{ns.BIND}'>{wanted}</bind></iq>")
        answer = self.until("</iq>")
        found = re.search("<jid>(.*)</jid>", answer)
        assert found, answer
        return found[1]

    def login(self, user: str, resource: str = "r", password: str = "secret") -> str:
        """Everything from the first header to a bound resource, by PLAIN without TLS."""
        self.open()
        answer = self.plain(user, password)
        assert "<success" in answer, answer
        return self.bind(resource)

    def sync(self) -> str:
        """Waits until the server has handled all that was sent; what came before its answer."""
        self.send("<iq type='get' id='sync' to='localhost'><sync xmlns='test:sync'/></iq>")
        return self.until("id='sync'")


def _data(answer: str) -> bytes:
    found = re.search(">([^<]*)<", answer)
    assert found, answer
    return base64.b64decode(found[1])
