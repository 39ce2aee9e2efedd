"""A chat client that survives its server: stream management, resending, and a book of it all."""

import base64
import socket
from collections import Counter, deque
from dataclasses import dataclass, field

from mongoosetw.xmpp import ns
from mongoosetw.xmpp.parser import Nonza, StreamOpened, StreamParser
from mongoosetw.xmpp.stanza import Stanza

_HEADER = (
    "<?xml version='1.0'?><stream:stream to='localhost' version='1.0' xmlns='jabber:client' "
    "xmlns:stream='http://etherx.jabber.org/streams'>"
)


@dataclass
class Book:
    """What a pair of clients has seen of the messages in one direction, by number."""

    sent: int = 0
    acknowledged: set[int] = field(default_factory=set)
    received: list[int] = field(default_factory=list)
    ids: dict[int, list[str]] = field(default_factory=dict)
    sendings: Counter[int] = field(default_factory=Counter)

    def indistinct(self) -> list[str]:
        """Messages that arrived again so that a client cannot tell.

        One that was sent once has one stanza-id, however often it arrives; each time that it
        is sent it may get a further one (then its origin-id says that it is the same).
        """
        return [
            f"{number}, sent {self.sendings[number]} times, arrived with {ids}"
            for number, ids in self.ids.items()
            if len(set(ids) - {""}) + ids.count("") > self.sendings[number]
        ]


class ChatClient:
    """One user, who sends numbered messages to a peer with a few of them unacknowledged.

    It never blocks: the harness calls :meth:`readable` when the socket has something.

    :ivar outgoing: the book of what this client sends; the peer's ``incoming`` is the same.
    :ivar sending: whether it makes new messages; unacknowledged ones are sent again always.
    """

    def __init__(self, user: str, peer: str, outgoing: Book, incoming: Book, window: int) -> None:
        self.user = user
        self.peer = peer
        self.outgoing = outgoing
        self.incoming = incoming
        self.window = window
        self.sending = True
        self.socket: socket.socket | None = None
        self.ready = False
        self.resumptions = 0
        self._unacknowledged: deque[int] = deque()
        self._since_enable: deque[int | None] = deque()
        self._acked = 0
        self._handled = 0
        self._previous: tuple[str, int] | None = None
        self._authenticated = False
        self._parser = StreamParser()
        self.errors: Counter[str] = Counter()

    # -- connection

    def connect(self, port: int) -> None:
        """Opens a connection and a stream.

        :raises OSError: nobody listens.
        """
        self.socket = socket.create_connection(("127.0.0.1", port), 5)
        self.socket.settimeout(5)
        self._authenticated = False
        self._parser = StreamParser()
        self._write(_HEADER)

    def lost(self) -> None:
        """The connection is gone."""
        if self.socket is not None:
            self.socket.close()
        self.socket = None
        self.ready = False

    def readable(self) -> None:
        """Takes what has arrived; a lost connection is noted."""
        assert self.socket is not None
        try:
            data = self.socket.recv(65536)
            if not data:
                self.lost()
                return
            for event in self._parser.feed(data):
                self._take(event)
        except OSError:
            self.lost()

    def _write(self, text: str) -> None:
        assert self.socket is not None
        self.socket.sendall(text.encode())

    # -- login

    def _take(self, event: object) -> None:
        if isinstance(event, Stanza):
            self._stanza(event)
        elif isinstance(event, Nonza):
            self._nonza(event)
        elif not isinstance(event, StreamOpened):
            self.lost()

    def _nonza(self, nonza: Nonza) -> None:
        if self.socket is None:
            return
        tag = nonza.name[1]
        if tag == "features":
            self._log_in() if not self._authenticated else self._begin_session()
        elif tag == "success":
            self._authenticated = True
            self._parser = StreamParser()
            self._write(_HEADER)
        elif tag == "enabled":
            self._previous = (nonza.element["id"], 0)
            self._handled = 0
            self._begin()
        elif tag == "resumed":
            self.resumptions += 1
            self._resumed(int(nonza.element["h"]))
        elif tag == "failed" and nonza.name[0] == ns.SM:
            self._previous = None
            self._bind()
        elif tag == "a":
            self._acknowledged(int(nonza.element["h"]))
        elif tag == "r":
            self._write(f"<a xmlns='{ns.SM}' h='{self._handled}'/>")
        else:
            self.errors[tag] += 1

    def _log_in(self) -> None:
        secret = base64.b64encode(f"\0{self.user}\0secret".encode()).decode()
        self._write(f"<auth xmlns='{ns.SASL}' mechanism='PLAIN'>{secret}</auth>")

    def _begin_session(self) -> None:
        if self._previous is None:
            self._bind()
        else:
            identifier = self._previous[0]
            head = f"<resume xmlns='{ns.SM}' previd='{identifier}'"
            self._write(f"{head} h='{self._handled}'/>")

    def _bind(self) -> None:
        self._write(
            f"<iq type='set' id='bind'><bind xmlns='{ns.BIND}'>"
            "<resource>crash</resource></bind></iq>"
        )

    def _begin(self) -> None:
        """A new session: everything without an acknowledgement is sent again, in order."""
        self._since_enable.clear()
        self._acked = 0
        self._send("<presence/>", None)
        self.ready = True
        for number in self._unacknowledged:
            self._send(self._message(number), number)
        self._ask()
        self.fill()

    def _resumed(self, handled: int) -> None:
        self._acknowledged(handled)
        self.ready = True
        for number in self._since_enable:
            if number is not None:
                self._write(self._message(number))
        self._ask()
        self.fill()

    # -- messages

    def _message(self, number: int) -> str:
        self.outgoing.sendings[number] += 1
        origin = f"<origin-id xmlns='{ns.STANZA_ID}' id='{self.user}-{number}'/>"
        return (
            f"<message to='{self.peer}@localhost' type='chat' id='{self.user}-{number}'>"
            f"<body>{number}</body>{origin}</message>"
        )

    def _send(self, text: str, number: int | None) -> None:
        self._since_enable.append(number)
        self._write(text)

    def _ask(self) -> None:
        self._write(f"<r xmlns='{ns.SM}'/>")

    def fill(self) -> None:
        """Sends as many new messages as the window has room for."""
        if not self.ready or not self.sending:
            return
        sent = False
        while len(self._unacknowledged) < self.window:
            self.outgoing.sent += 1
            self._unacknowledged.append(self.outgoing.sent)
            self._send(self._message(self.outgoing.sent), self.outgoing.sent)
            sent = True
        if sent:
            self._ask()

    def _acknowledged(self, handled: int) -> None:
        while self._acked < handled:
            self._acked += 1
            number = self._since_enable.popleft()
            if number is not None:
                self.outgoing.acknowledged.add(number)
                self._unacknowledged.remove(number)
        if self.ready:
            self.fill()

    def _stanza(self, stanza: Stanza) -> None:
        if stanza.kind == "iq" and stanza.id == "bind":
            self._write(f"<enable xmlns='{ns.SM}' resume='true'/>")
            return
        self._handled += 1
        if stanza.kind == "message":
            if stanza.type == "error":
                self.errors["message"] += 1
                self._refused(stanza)
            else:
                self._received(stanza)

    def _refused(self, stanza: Stanza) -> None:
        """The server could not keep a message: it is sent again."""
        number = int(stanza.id.rpartition("-")[2])
        self.outgoing.acknowledged.discard(number)
        if number not in self._unacknowledged:
            self._unacknowledged.append(number)
            self._send(self._message(number), number)
            self._ask()

    def _received(self, stanza: Stanza) -> None:
        number = int(stanza.body or "0")
        self.incoming.received.append(number)
        found = stanza.child(ns.STANZA_ID, "stanza-id")
        identifier = "" if found is None else found["id"]
        self.incoming.ids.setdefault(number, []).append(identifier)

    @property
    def done(self) -> bool:
        """Whether everything that was sent is acknowledged."""
        return self.ready and not self._unacknowledged
