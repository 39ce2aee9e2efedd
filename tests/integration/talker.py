"""A client over a real socket that talks, comes back when it is sent away, and keeps books."""

import re

from mongoosetw.xmpp import ns
from mongoosetw.xmpp.parser import Nonza, StreamClosed, StreamParser
from mongoosetw.xmpp.stanza import Stanza
from tests.integration.raw import RawClient, header

_ID = re.compile(rb"<stanza-id xmlns='urn:xmpp:sid:0'[^>]* id='([^']*)'")
_REQUEST = f"<r xmlns='{ns.SM}'/>"


class Talker:
    """A client with stream management.

    :ivar heard: the bodies of all that has arrived, each once, by sender, in their order.
    :ivar doubled: what has arrived twice with two ids.
    :ivar resumed: how often it has resumed its session, and ``begun`` a new one.
    """

    def __init__(self, port: int, user: str) -> None:
        self.user = user
        self.jid = f"{user}@localhost/r"
        self.heard: dict[str, list[int]] = {}
        self.doubled: list[str] = []
        self.resumed = self.begun = 0
        self._port = port
        self._ids: dict[tuple[str, int], bytes] = {}
        self._sent: dict[str, int] = {}
        self._unacknowledged: list[str] = []
        self._acknowledged = self._handled = 0
        self._resume_id = ""
        self._client: RawClient | None = None
        self._parser = StreamParser()

    def begin(self) -> None:
        """Logs in, and resumes the session if there is one."""
        client = self._client = RawClient(self._port)
        client.open()
        assert "<success" in client.plain(self.user)
        client.open()
        self._parser = StreamParser()
        self._parser.feed(header().encode())
        if self._resume_id:
            client.send(
                f"<resume xmlns='{ns.SM}' previd='{self._resume_id}' h='{self._handled}'/>"
            )
            if "<resumed" in (answer := client.until(">")):
                self.resumed += 1
                self._settle(int(re.search(r" h='(\d+)'", answer)[1]))  # type: ignore[index]
                self._write(*self._unacknowledged)
                return
        self._bind(client)

    def _bind(self, client: RawClient) -> None:
        self.begun += 1
        client.send(
            f"<iq type='set' id='bind'><bind xmlns='{ns.BIND}'><resource>r</resource></bind></iq>"
        )
        client.until("</iq>")
        client.send(f"<enable xmlns='{ns.SM}' resume='true'/>")
        found = re.search(r" id='([^']*)'", client.until("/>"))
        assert found
        self._resume_id = found[1]
        self._acknowledged = self._handled = 0
        unacknowledged, self._unacknowledged = self._unacknowledged, []
        for xml in ("<presence/>", *unacknowledged):
            self._unacknowledged.append(xml)
            self._write(xml)

    def _write(self, *xml: str) -> None:
        """Whatever does not leave now is sent again later."""
        try:
            if self._client is not None:
                self._client.send("".join(xml))
        except OSError:
            self._lose()

    def _lose(self) -> None:
        if self._client is not None:
            self._client.close()
            self._client = None

    def say(self, other: "Talker") -> None:
        """Sends the next message to somebody."""
        number = self._sent[other.jid] = self._sent.get(other.jid, -1) + 1
        xml = f"<message to='{other.jid}' type='chat'><body>{number}</body></message>"
        self._unacknowledged.append(xml)
        self._write(xml)

    def sent_to(self, other: "Talker") -> list[int]:
        """All that somebody was sent."""
        return list(range(self._sent.get(other.jid, -1) + 1))

    def work(self) -> None:
        """Reads what has come, acknowledges it, and asks; comes back if it was sent away."""
        if self._client is None:
            self.begin()
        self._write(_REQUEST)
        client = self._client
        if client is None:
            return
        try:
            data = client.pending()
        except OSError:
            self._lose()
            return
        self._take(data.encode())
        if "</stream:stream>" in data:
            self._lose()
        elif data:
            self._write(f"<a xmlns='{ns.SM}' h='{self._handled}'/>")

    def _take(self, data: bytes) -> None:
        for event in self._parser.feed(data):
            if isinstance(event, Stanza):
                self._handled += 1
                if event.kind == "message" and event.type == "chat":
                    self._note(event)
            elif isinstance(event, Nonza) and event.name == (ns.SM, "a"):
                self._settle(int(event.attributes["h"]))
            elif isinstance(event, StreamClosed):
                return

    def _settle(self, h: int) -> None:
        del self._unacknowledged[: h - self._acknowledged]
        self._acknowledged = h

    def _note(self, message: Stanza) -> None:
        sender, number = str(message.from_), int(message.body or -1)
        found = _ID.search(message.inner)
        identifier = b"" if found is None else found[1]
        if (sender, number) not in self._ids:
            self._ids[sender, number] = identifier
            self.heard.setdefault(sender, []).append(number)
        elif not identifier or self._ids[sender, number] != identifier:
            self.doubled.append(f"{sender} {number}")

    def end(self) -> None:
        """Closes the connection."""
        self._lose()
