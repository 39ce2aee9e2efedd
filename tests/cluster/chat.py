"""Clients that talk, lose nothing, and keep books of it."""

import re
from random import Random

from mongoosetw.testing.cluster import ClusterTestCase
from mongoosetw.xmpp import ns
from mongoosetw.xmpp.stanza import Stanza

_ID = re.compile(rb"<stanza-id xmlns='urn:xmpp:sid:0'[^>]* id='([^']*)'")
MODULES = {
    "mod_roster": {},
    "mod_presence": {},
    "mod_offline": {},
    "mod_stream_management": {"buffer_max": 1000},
}


class Talker:
    """A client with stream management, on whichever node it is.

    :ivar resumed: how often it has resumed its session.
    :ivar refused: how often it could not.
    :ivar heard: what has arrived, each once and in its order, by sender and address.
    :ivar doubled: what has arrived again and was no copy that a client could tell.
    """

    def __init__(self, case: "ChatTestCase", jid: str, node: str) -> None:
        self._case = case
        self.jid = jid
        self.heard: dict[str, list[int]] = {}
        self.doubled: list[str] = []
        self.resumed = 0
        self.refused = 0
        self._ids: set[bytes] = set()
        self._sent: dict[str, int] = {}
        self._unacknowledged: list[str] = []
        self._acknowledged = 0
        self.client = case.connect(jid, node)
        self._begin()

    def _begin(self) -> None:
        self.client.enable_sm()
        self._acknowledged = 0
        unacknowledged, self._unacknowledged = self._unacknowledged, []
        for xml in ("<presence/>", *unacknowledged):
            self._write(xml)

    def _write(self, xml: str) -> None:
        self._unacknowledged.append(xml)
        self.client.send(xml)

    def say(self, to: str) -> None:
        """Sends the next message to somebody."""
        number = self._sent[to] = self._sent.get(to, -1) + 1
        self._write(f"<message to='{to}' type='chat'><body>{number}</body></message>")

    def sent_to(self, to: str) -> list[int]:
        """All that somebody was sent."""
        return list(range(self._sent.get(to, -1) + 1))

    def work(self) -> None:
        """Reads, acknowledges, and asks."""
        self.read()
        if not self.client.transport.closed:
            self.client.ack()
            self.client.send(f"<r xmlns='{ns.SM}'/>")
            self.read()

    def read(self) -> None:
        """Takes what has arrived."""
        for stanza in self.client.received:
            if stanza.kind == "message" and stanza.type == "chat":
                self._take(stanza)
        self.client.events.clear()
        told = self.client.acknowledged()
        if told is not None:
            self._settle(told)

    def _settle(self, h: int) -> None:
        del self._unacknowledged[: h - self._acknowledged]
        self._acknowledged = h

    def _take(self, stanza: Stanza) -> None:
        number, sender = int(stanza.body or -1), f"{stanza.from_} to {stanza.to}"
        found = _ID.search(stanza.inner)
        heard = self.heard.setdefault(sender, [])
        known = found is not None and found[1] in self._ids
        if found is not None:
            self._ids.add(found[1])
        if number in heard and not known:
            self.doubled.append(f"{sender} {number}")
        if number not in heard:
            heard.append(number)

    def come_back(self, node: str) -> None:
        """Resumes the session on a node; if that does not go, begins a new one."""
        self.read()
        place = self._case.cluster.nodes[node]
        client = self._case.connect(self.jid, node, bind=False)
        client.handled, client.resume_id = self.client.handled, self.client.resume_id
        resume = f"<resume xmlns='{ns.SM}' previd='{client.resume_id}' h='{client.handled}'/>"
        client.send(resume)
        for _ in range(400):
            client.pump()
            names = [nonza.name[1] for nonza in client.nonzas]
            if names:
                break
            self._case.run_for(0.05)
        assert place is self._case.cluster.nodes.get(node)
        self.client = client
        if names[:1] == ["resumed"]:
            self.resumed += 1
            self._settle(int(client.nonzas[0].attributes["h"]))
            for xml in self._unacknowledged:
                client.send(xml)
        else:
            self.refused += 1
            client.bind()
            while not client.received:  # what is under way to the old session comes first
                self._case.run_for(0.05)
            self._begin()


class ChatTestCase(ClusterTestCase):
    """Some clients on three nodes that all talk to one another.

    :ivar random: all that is left to chance.
    """

    nodes = ("a", "b", "c")
    modules = MODULES
    latency = (0.001, 0.02)
    talkers: list[Talker]
    random: Random

    def gather(self, number: int, seed: int) -> None:
        """Logs all in, on random nodes."""
        self.random = Random(seed)
        self.talkers = [
            Talker(self, f"u{n}@localhost/r", self.random.choice(self.nodes))
            for n in range(number)
        ]
        self.run_for(0.5)

    def talk(self, seconds: float) -> None:
        """All say something at random times, and come back when they are sent away."""
        end = self.clock.seconds() + seconds
        while self.clock.seconds() < end:
            talker = self.random.choice(self.talkers)
            if talker.client.transport.closed:
                talker.come_back(self.random.choice(list(self.open_nodes())))
            elif self.random.random() < 0.5:
                talker.work()
            else:
                self._say_something(talker)
            self.run_for(self.random.choice((0.0, 0.005, 0.05)))

    def open_nodes(self) -> list[str]:
        """Where clients can connect."""
        nodes = self.cluster.nodes.items()
        return [name for name, node in nodes if not node.server.draining]

    def _say_something(self, talker: Talker) -> None:
        other = self.random.choice([o for o in self.talkers if o is not talker])
        to = other.jid if self.random.random() < 0.7 else other.jid.partition("/")[0]
        talker.say(to)

    def calm_down(self) -> None:
        """All come back, and everything that is on its way arrives."""
        for _ in range(30):
            for talker in self.talkers:
                if talker.client.transport.closed:
                    talker.come_back(self.open_nodes()[0])
                talker.work()
            self.run_for(1)

    def check_books(self) -> None:
        """Nobody has lost anything, nor got anything twice that a client cannot tell."""
        for talker in self.talkers:
            self.assertEqual(talker.doubled, [], talker.jid)
            for other in self.talkers:
                if other is not talker:
                    self._check(other, talker)

    def _check(self, sender: Talker, receiver: Talker) -> None:
        for address in (receiver.jid, receiver.jid.partition("/")[0]):
            way = f"{sender.jid} to {address}"
            self.assertEqual(receiver.heard.get(way, []), sender.sent_to(address), way)
