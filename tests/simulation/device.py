"""A virtual user's client: it keeps books of what it was told, and of what it has sent."""

from collections import deque
from typing import TYPE_CHECKING

from mongoosetw.testing.client import HEADER
from mongoosetw.testing.nodes import MemoryNode
from mongoosetw.xmpp import ns
from mongoosetw.xmpp.jid import JID
from mongoosetw.xmpp.parser import Nonza, StreamParser
from mongoosetw.xmpp.stanza import Stanza
from tests.simulation.line import Line
from tests.simulation.messages import Message, Receipt

if TYPE_CHECKING:  # types only
    from tests.simulation.world import World

_STANZA_ID = (ns.STANZA_ID, "stanza-id")
_WRAPPED = {(ns.CARBONS, "sent"), (ns.CARBONS, "received")}


class Device:
    """One client of a user.

    :ivar managed: it uses stream management (XEP-0198).
    :ivar bound: it believes to have a session.
    :ivar binding: the number of its session; two devices may have one address after the other.
    :ivar status: of its last presence in this session; None while it is unavailable.
    :ivar view: the last presence that it was told of, by full JID, since it is available.
    :ivar counting: stream management is on in this session.
    :ivar safe: its session loses nothing that was sent to it.
    :ivar told: the condition of the last stream error.
    """

    def __init__(
        self, world: "World", jid: JID, *, managed: bool, carbons: bool, priority: int
    ) -> None:
        self.world = world
        self.jid = jid
        self.managed = managed
        self.carbons = carbons
        self.priority = priority
        self.wanted = False
        self.line: Line | None = None
        self.bound = False
        self.binding = 0
        self.bound_at = 0.0
        self.status: str | None = None
        self.view: dict[JID, str] = {}
        self._initial = ""
        self.counting = False
        self.told = ""
        self.last_node = ""
        self._resume_id = ""
        self._handled = 0
        self._sent = 0
        self._waiting: deque[tuple[bytes, Message | None]] = deque()
        self._parser = StreamParser()

    def __str__(self) -> str:
        return str(self.jid)

    @property
    def user(self) -> JID:
        """Its account."""
        return self.jid.bare

    @property
    def safe(self) -> bool:
        """Whether the server knows what it has taken, and keeps the rest."""
        return self.counting and self._resume_id != ""

    # -- connections

    def connect(self, node: MemoryNode) -> None:
        """Connects, and resumes its session if it has one."""
        assert self.line is None
        self.world.note(f"{self} connects to {node.name}")
        self.last_node = node.name
        self._parser = StreamParser()
        self.line = line = Line(self, node, self.world.access)
        line.open(self.user)
        line.send(HEADER.format(self.jid.domain).encode())
        if self._resume_id:
            handled = f"previd='{self._resume_id}' h='{self._handled}'"
            line.send(f"<resume xmlns='{ns.SM}' {handled}/>".encode())
        else:
            self._bind()

    def _bind(self) -> None:
        self._write(
            f"<iq type='set' id='bind'><bind xmlns='{ns.BIND}'>"
            f"<resource>{self.jid.resource}</resource></bind></iq>"
        )

    def _write(self, xml: str) -> None:
        if self.line is not None:
            self.line.send(xml.encode())

    def snap(self, noticed_after: float) -> None:
        """Loses its connection; the server notices later."""
        line = self.line
        if line is not None:
            self.world.note(f"{self} loses its connection")
            self.world.risky(self)
            line.snap(noticed_after)
            self.lost(line)

    def lost(self, line: Line) -> None:
        """The connection is gone."""
        if line is not self.line:
            return
        self.line = None
        if self.bound:
            self.bound = False
            if not self.counting or self.told:
                self._forget()
        self.world.disconnected(self)

    def _forget(self) -> None:
        """The session is over; nobody knows what became of what was not acknowledged."""
        self.counting = False
        self._resume_id = ""
        self._waiting.clear()
        self.status = None
        self.view.clear()

    def log_out(self) -> None:
        """Says goodbye and closes its stream."""
        self.world.note(f"{self} logs out")
        self.told = "logged out"
        self.unavailable()
        self._write("</stream:stream>")

    # -- what it sends

    def send(self, xml: str, message: Message | None = None) -> None:
        """Sends a stanza."""
        data = xml.encode()
        if self.counting:
            self._waiting.append((data, message))
        if self.bound and self.line is not None:
            self.line.send(data)

    def available(self, status: str) -> None:
        """Sends presence; from initial presence on it is told anew how the others are.

        That begins with its own presence (RFC 6121 §4.2.2). What comes before that was sent while
        the server had not read the initial one yet, and may not hold any more: nobody takes back
        what was shown to a client that has gone unavailable since.
        """
        if self.status is None:
            self.view.clear()
            self._initial = status
        self.status = status
        self.send(
            f"<presence><status>{status}</status><priority>{self.priority}</priority></presence>"
        )

    def unavailable(self) -> None:
        """Sends unavailable presence, if it was available."""
        if self.status is not None:
            self.status = None
            self.send("<presence type='unavailable'/>")
            self.view.clear()

    def say(self, message: Message) -> None:
        """Sends a message, and asks whether it was taken."""
        xml = (
            f"<message to='{message.to}' type='chat' id='{message.number}'>"
            f"<body>{message.number}</body></message>"
        )
        self.send(xml, message if self.counting else None)
        self.ask()

    def ask(self) -> None:
        """Asks for an acknowledgement."""
        if self.counting and self.bound:
            self._write(f"<r xmlns='{ns.SM}'/>")

    # -- what it is told

    def arrived(self, line: Line, data: bytes) -> None:
        """Takes what the server sent."""
        if line is not self.line:
            return
        for n, document in enumerate(data.split(b"<?xml")):
            if n:
                self._parser = StreamParser()
                document = b"<?xml" + document
            for event in self._parser.feed(document):
                if isinstance(event, Stanza):
                    self._stanza(event)
                elif isinstance(event, Nonza):
                    self._nonza(event)

    def _nonza(self, nonza: Nonza) -> None:
        namespace, tag = nonza.name
        if (namespace, tag) == (ns.STREAM, "error"):
            self.told = str(next(nonza.element.elements()).name)
            self.world.note(f"{self} is told {self.told}")
            self._resume_id = ""
        if namespace != ns.SM:
            return
        attributes = nonza.attributes
        if tag == "r":
            self.world.asked(self)
        elif tag == "a":
            self._acknowledged(int(attributes["h"]))
        elif tag == "enabled":
            self._resume_id = attributes["id"]
            self._handled = 0
            self._begin()
        elif tag == "resumed":
            self._resumed(int(attributes["h"]))
        elif tag == "failed":
            self._failed(attributes)

    def acknowledge(self) -> None:
        """Tells the server how much it has taken."""
        if self.safe and self.bound:
            self._write(f"<a xmlns='{ns.SM}' h='{self._handled}'/>")

    def _acknowledged(self, h: int) -> None:
        assert h <= self._sent + len(self._waiting), f"{self}: {h} acknowledged"
        while self._sent < h:
            _, message = self._waiting.popleft()
            self._sent += 1
            if message is not None:
                message.acknowledged = True
                self.world.note(f"{self} knows that {message.number} was taken")

    def _resumed(self, h: int) -> None:
        self.world.note(f"{self} has resumed its session")
        self._acknowledged(h)
        self.bound = True
        self.told = ""
        for data, _ in list(self._waiting):
            self._write(data.decode())
        self.ask()

    def _failed(self, attributes: dict[str, str]) -> None:
        self.world.note(f"{self} cannot resume its session")
        if "h" in attributes:
            self._acknowledged(int(attributes["h"]))
        self._forget()
        self._bind()

    def _stanza(self, stanza: Stanza) -> None:
        self._handled += 1
        if stanza.kind == "message":
            self._message(stanza)
        elif stanza.kind == "presence":
            self._presence(stanza)
        elif stanza.id == "bind":
            assert stanza.type == "result", stanza.to_bytes()
            self._bound()

    def _bound(self) -> None:
        self._forget()
        self.world.bindings += 1
        self.binding = self.world.bindings
        self.bound = True
        self.bound_at = self.world.clock.seconds()
        self.told = ""
        self.world.note(f"{self} is bound")
        if self.managed:
            self._write(f"<enable xmlns='{ns.SM}' resume='true'/>")
            self._sent = 0
            self.counting = True
        else:
            self._begin()

    def _begin(self) -> None:
        if self.carbons:
            self.send(f"<iq type='set' id='c'><enable xmlns='{ns.CARBONS}'/></iq>")
        self.world.began(self)

    def _presence(self, stanza: Stanza) -> None:
        sender = stanza.from_
        assert sender is not None
        if stanza.type == "unavailable":
            self.world.note(f"{self} sees {sender} go")
            self.view.pop(sender, None)
        elif not stanza.type:
            status = stanza.child_text(ns.CLIENT, "status") or ""
            self.world.note(f"{self} sees {sender} as {status}")
            if sender == self.jid and status == self._initial:
                self.view.clear()
                self._initial = ""
            self.view[sender] = status
        self.world.saw(self, sender)

    def _message(self, stanza: Stanza) -> None:
        if not _WRAPPED.isdisjoint(stanza.children):
            assert stanza.from_ == self.user, f"{self} got a copy of {stanza.from_}"
            return
        message = self.world.messages[int(stanza.child_text(ns.CLIENT, "body") or "0")]
        if stanza.type == "error":
            self.world.note(f"{self} gets {message.number} back")
            message.returned = True
            return
        found = stanza.child(*_STANZA_ID)
        stanza_id = "" if found is None else str(found.getAttribute("id"))
        self.world.note(f"{self} gets {message.number} {stanza_id}")
        now = self.world.clock.seconds()
        mine = self.jid, self.binding, self.bound_at
        message.arrivals.append(Receipt(*mine, stanza_id, now, self.status is not None))
        self.world.received(self, message)
