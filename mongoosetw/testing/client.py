"""A client of the test kit: a real stream of the server over a transport in memory."""

from typing import Any

from twisted.internet.address import IPv4Address
from twisted.internet.error import ConnectionDone, ConnectionLost
from twisted.python.failure import Failure

from mongoosetw.c2s.listener import ClientListener, ClientProtocol
from mongoosetw.xmpp import ns
from mongoosetw.xmpp.jid import JID
from mongoosetw.xmpp.parser import Event, Nonza, StreamOpened, StreamParser
from mongoosetw.xmpp.stanza import Stanza

HEADER = (
    f"<?xml version='1.0'?><stream:stream to='{{}}' version='1.0' xmlns='{ns.CLIENT}' "
    f"xmlns:stream='{ns.STREAM}'>"
)


class MemoryTransport:
    """What the server writes is kept; nothing is ever in the way."""

    def __init__(self, address: str) -> None:
        self._address = address
        self.written = bytearray()
        self.queued = 0
        self.moved = False
        self.closed = False
        self.paused = False
        self.tls: Any = None
        self.protocol: ClientProtocol | None = None
        self.producer: Any = None

    def write_now(self, data: bytes) -> None:
        """Takes what the server writes."""
        if not self.closed:
            self.written += data

    def loseConnection(self) -> None:
        """The server closes the connection."""
        if not self.closed:
            self.lost(Failure(ConnectionDone()))

    def lost(self, reason: Failure) -> None:
        """The connection is gone, and whoever used it is told."""
        self.closed = True
        self.producer = None
        assert self.protocol is not None
        self.protocol.connectionLost(reason)

    def pauseProducing(self) -> None:
        """The server reads no more for now."""
        self.paused = True

    def resumeProducing(self) -> None:
        """The server reads on."""
        self.paused = False

    def registerProducer(self, producer: Any, streaming: bool) -> None:
        """Whom to tell that the queue is long; a test does that itself."""
        self.producer = producer

    def setTcpNoDelay(self, enabled: bool) -> None:
        """There is no TCP."""

    def getPeer(self) -> IPv4Address:
        """The client's address."""
        return IPv4Address("TCP", self._address, 50000)


class Connection:
    """One connection to the server, raw: bytes out, parsed elements in."""

    def __init__(self, listener: ClientListener, flush: Any, address: str = "192.0.2.1") -> None:
        self.transport = MemoryTransport(address)
        self._flush = flush
        self._parser = StreamParser()
        self._read = 0
        self.events: list[Event] = []
        self.protocol: ClientProtocol = listener.buildProtocol(self.transport.getPeer())
        self.transport.protocol = self.protocol
        self.protocol.makeConnection(self.transport)

    def send(self, xml: str | bytes) -> None:
        """Sends XML, and lets the server work until it has nothing to do."""
        self.protocol.dataReceived(xml.encode() if isinstance(xml, str) else xml)
        self._flush()

    def open(self, domain: str = "localhost") -> None:
        """Sends a stream header; what the server says is a new document."""
        self._parser = StreamParser()
        self.send(HEADER.format(domain))

    def pump(self) -> None:
        """Parses what the server has written since the last time."""
        self._flush()
        data = bytes(self.transport.written[self._read :])
        self._read = len(self.transport.written)
        for chunk in _documents(data):
            if chunk.startswith(b"<?xml"):
                self._parser = StreamParser()
            self.arrived(self._parser.feed(chunk))

    def arrived(self, events: list[Event]) -> None:
        """Takes what was parsed."""
        self.events += events

    def output(self) -> bytes:
        """All that the server has written on this connection."""
        self._flush()
        return bytes(self.transport.written)

    def sever(self) -> None:
        """The server is no more, so that it is told of nothing."""
        self.transport.closed = True
        self.protocol.stream = None

    def lose(self) -> None:
        """The connection breaks."""
        self.transport.lost(Failure(ConnectionLost()))
        self._flush()


def _documents(data: bytes) -> list[bytes]:
    """Cuts output at the XML declarations: each begins a new stream."""
    parts = data.split(b"<?xml")
    return [part for part in parts[:1] if part] + [b"<?xml" + part for part in parts[1:]]


class Client(Connection):
    """A logged-in client; see :meth:`mongoosetw.testing.server.ServerTestCase.connect`.

    :ivar nonzas: elements of stream management that have arrived; they are no ``events``.
    :ivar handled: how many stanzas have arrived since stream management is on.
    :ivar resume_id: with which the session can be resumed, if it can.
    """

    def __init__(
        self,
        listener: ClientListener,
        flush: Any,
        jid: JID,
        address: str = "192.0.2.1",
        *,
        bind: bool = True,
    ) -> None:
        super().__init__(listener, flush, address)
        self._again = (listener, flush, jid, address)
        self.jid = jid
        self.nonzas: list[Nonza] = []
        self.handled = 0
        self.resume_id = ""
        stream = self.protocol.stream
        assert stream is not None
        stream.authenticated(jid.bare)  # SASL has tests of its own
        self.open(jid.domain)
        if bind:
            self.bind()
        self.pump()
        self.events.clear()

    def bind(self) -> None:
        """Binds the resource of :attr:`jid`."""
        assert self.jid.resource is not None
        self.send(
            f"<iq type='set' id='bind'><bind xmlns='{ns.BIND}'>"
            f"<resource>{self.jid.resource}</resource></bind></iq>"
        )

    def arrived(self, events: list[Event]) -> None:
        """Counts stanzas, and takes what belongs to stream management aside."""
        for event in events:
            if isinstance(event, Nonza) and event.name[0] == ns.SM:
                self.nonzas.append(event)
                if event.name[1] == "enabled":
                    self.handled = 0
                    self.resume_id = event.attributes.get("id", "")
                continue
            if isinstance(event, Stanza):
                self.handled += 1
            self.events.append(event)

    def take_nonza(self, tag: str) -> Nonza:
        """The newest element of this name of stream management; forgets all there were.

        :raises AssertionError: there is none.
        """
        self.pump()
        taken, self.nonzas = self.nonzas, []
        found = [nonza for nonza in taken if nonza.name[1] == tag]
        assert found, f"{self.jid} received {taken}, no <{tag}/>"
        return found[-1]

    def enable_sm(self, *, resume: bool = True) -> Nonza:
        """Switches stream management on (XEP-0198 §3); returns ``<enabled/>``."""
        self.send(f"<enable xmlns='{ns.SM}'" + (" resume='true'/>" if resume else "/>"))
        return self.take_nonza("enabled")

    def ack(self, h: int | None = None) -> None:
        """Acknowledges all that has arrived, or ``h`` stanzas."""
        self.pump()
        self.send(f"<a xmlns='{ns.SM}' h='{self.handled if h is None else h}'/>")

    def asked(self) -> bool:
        """Whether the server has asked for an acknowledgement since the last call."""
        self.pump()
        requests = [nonza for nonza in self.nonzas if nonza.name[1] == "r"]
        self.nonzas = [nonza for nonza in self.nonzas if nonza.name[1] != "r"]
        return bool(requests)

    def acknowledged(self) -> int | None:
        """The count of the newest acknowledgement since the last call, ``None`` without one."""
        self.pump()
        counts = [int(n.attributes["h"]) for n in self.nonzas if n.name[1] == "a"]
        self.nonzas = [nonza for nonza in self.nonzas if nonza.name[1] != "a"]
        return counts[-1] if counts else None

    def resume(self, h: int | None = None, listener: ClientListener | None = None) -> "Client":
        """The client on a new connection, in its session (§5).

        What the server had written to the old one and nobody has looked at is lost.

        :param h: how many stanzas it says it has handled; the truth by default.
        :param listener: of another server, where it comes back.
        :raises AssertionError: the server refuses.
        """
        again = self._again if listener is None else (listener, *self._again[1:])
        client = Client(*again, bind=False)
        handled = self.handled if h is None else h
        client.handled, client.resume_id = self.handled, self.resume_id
        client.send(f"<resume xmlns='{ns.SM}' previd='{self.resume_id}' h='{handled}'/>")
        client.pump()
        names = [nonza.name[1] for nonza in client.nonzas]
        assert names[:1] == ["resumed"], client.output()
        return client

    @property
    def received(self) -> list[Stanza]:
        """All stanzas not yet taken, the oldest first."""
        self.pump()
        return [event for event in self.events if isinstance(event, Stanza)]

    def take(self) -> Stanza:
        """The oldest stanza not yet taken.

        :raises AssertionError: there is none.
        """
        self.pump()
        for index, event in enumerate(self.events):
            if isinstance(event, StreamOpened):
                continue
            assert isinstance(event, Stanza), f"{self.jid} received {event}"
            del self.events[: index + 1]
            return event
        raise AssertionError(f"{self.jid} received nothing")

    def receives(self, xml: str) -> Stanza:
        """Takes the oldest stanza and compares it with ``xml``.

        What ``xml`` states has to be there: attributes of the stanza, and its content.
        """
        wanted = Stanza.parse(xml)
        got = self.take()
        shown = got.to_bytes().decode()
        assert got.kind == wanted.kind, shown
        for name in ("to", "from_", "type", "id"):
            value = getattr(wanted, name)
            assert not value or getattr(got, name) == value, f"{name}: {shown}"
        assert _contains(got.element, wanted.element), f"wanted {xml}\ngot {shown}"
        return got

    def nothing(self) -> None:
        """Asserts that no stanza has arrived."""
        shown = [stanza.to_bytes() for stanza in self.received]
        assert not shown, f"{self.jid} received {shown}"

    def request(self, xml: str) -> Stanza:
        """Sends an iq and takes its answer from among whatever else arrives."""
        asked = Stanza.parse(xml)
        self.send(xml)
        self.pump()
        for index, event in enumerate(self.events):
            if isinstance(event, Stanza) and event.kind == "iq" and event.id == asked.id:
                del self.events[index]
                return event
        raise AssertionError(f"{self.jid} got no answer to {xml}")


def _contains(got: Any, wanted: Any) -> bool:
    """Whether every child of ``wanted`` stands in ``got``, attributes and text included."""
    for child in wanted.elements():
        same = [e for e in got.elements() if (e.uri, e.name) == (child.uri, child.name)]
        if not any(_matches(element, child) for element in same):
            return False
    return True


def _matches(got: Any, wanted: Any) -> bool:
    if any(got.getAttribute(k) != v for k, v in wanted.attributes.items()):
        return False
    if str(wanted).strip() and str(got) != str(wanted):
        return False
    return _contains(got, wanted)
