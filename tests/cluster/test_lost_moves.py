"""Nodes that die, and links that break, while a session moves."""

from mongoosetw.testing.client import Client
from mongoosetw.xmpp import ns
from tests.cluster.moves import JULIET, RESUME, MovesTestCase

STEP = 0.02


class LostMoves(MovesTestCase):
    """Juliet's session moves from b to c, which takes several messages of 50 ms each."""

    latency = (0.05, 0.05)
    peer_timeout = 2.0

    def setUp(self) -> None:
        """Some messages are on their way."""
        super().setUp()
        self.run_for(1)
        self.said: list[str | None] = []
        self.go_on_saying(2)
        self.run_for(0.5)
        self.forget(self.romeo, self.juliet)

    def go_on_saying(self, number: int) -> None:
        """Romeo says some more."""
        for _ in range(number):
            body = str(len(self.said))
            self.said.append(body)
            self.say(body)

    def begin(self) -> Client:
        """Juliet's client comes to c."""
        self.juliet.lose()
        client = self.connect(JULIET, "c", bind=False)
        client.resume_id = self.juliet.resume_id
        client.send(RESUME.format(self.juliet.resume_id, 0))
        return client

    def talk_for(self, steps: int) -> None:
        """Time passes, and Romeo talks."""
        for _ in range(steps):
            self.go_on_saying(1)
            self.run_for(STEP)

    def come_back(self, resume_id: str, nodes: str) -> Client:
        """Juliet's client resumes where it can, or begins anew."""
        for node in nodes:
            client = self.connect(JULIET, node, bind=False)
            client.send(RESUME.format(resume_id, 0))
            self.run_for(20)
            client.pump()
            if any(nonza.name[1] == "resumed" for nonza in client.nonzas):
                return client
        client.bind()
        client.enable_sm()
        client.send("<presence/>")
        self.run_for(1)
        return client

    def check_heard(self, client: Client) -> None:
        """All that Romeo has said has arrived, each once or with the same id."""
        self.run_for(10)
        bodies: list[str | None] = []
        ids: dict[str | None, str | None] = {}
        for stanza in client.received:
            if stanza.kind == "message":
                element = stanza.child(ns.STANZA_ID, "stanza-id")
                assert element is not None
                self.assertEqual(ids.setdefault(stanza.body, element["id"]), element["id"])
                bodies.append(stanza.body)
        self.assertEqual(sorted(ids, key=str), sorted(self.said, key=str))
        client.ack()
        self.assertEqual(self.waiting(), 0)

    def check_presence(self) -> None:
        """Romeo sees Juliet now; if he saw her leave, then once, and back."""
        self.run_for(1)
        types = [s.type for s in self.romeo.received if s.kind == "presence"]
        self.assertLessEqual(types.count("unavailable"), 1)
        self.assertIn(types, ([], ["unavailable", ""]))

    def check_alone(self) -> None:
        """All nodes agree on one session of hers."""
        places = {self.node_of(name) for name in self.servers}
        self.assertEqual(len(places), 1, places)

    def node_of(self, name: str) -> str:
        """Where a node believes Juliet to be."""
        found = self.host(name).sessions.of(self.juliet.jid.bare)
        self.assertEqual(len(found), 1)
        return name if found[0].local else found[0].node  # type: ignore[attr-defined, no-any-return]

    def lose(self, node: str, step: int, *, power: bool) -> None:
        """A node dies some time after the move has begun."""
        client = self.begin()
        self.talk_for(step)
        self.kill(node, power=power)
        self.talk_for(5)
        self.run_for(5)
        self.juliet = client if client.nonzas and node != "c" else self.juliet
        client.pump()
        resumed = any(nonza.name[1] == "resumed" for nonza in client.nonzas)
        if not (resumed and node == "b"):
            client = self.come_back(self.juliet.resume_id, "a" + ("c" if node == "b" else "b"))
        self.check_heard(client)
        self.check_alone()


def _add(node: str, step: int, power: bool) -> None:
    def test(self: LostMoves) -> None:
        self.lose(node, step, power=power)

    how = "power" if power else "process"
    test.__doc__ = f"Node {node} loses its {how} {step * STEP * 1000:.0f} ms after the beginning."
    setattr(LostMovesTests, f"test_{node}_{how}_{step}", test)


class LostMovesTests(LostMoves):
    """At every moment."""


for _step in range(0, 16, 2):
    for _node in "bc":
        _add(_node, _step, bool(_step % 4))


class CutTests(LostMoves):
    """The link between the two breaks."""

    def cut_at(self, step: int) -> None:
        """For longer than they wait."""
        client = self.begin()
        self.talk_for(step)
        self.cut("b", "c")
        self.talk_for(5)
        self.run_for(20)
        self.heal()
        self.run_for(20)
        client.pump()
        resumed = any(nonza.name[1] == "resumed" for nonza in client.nonzas)
        if not resumed or client.transport.closed:
            client = self.come_back(self.juliet.resume_id, "abc")
        self.check_heard(client)
        self.check_alone()
        self.check_presence()

    def test_question(self) -> None:
        """The question does not arrive."""
        self.cut_at(1)

    def test_answer(self) -> None:
        """The session does not arrive."""
        self.cut_at(4)

    def test_news(self) -> None:
        """The old node does not hear of the new session."""
        self.cut_at(6)


class GoneTests(LostMoves):
    """Clients that do not wait."""

    def test_client_has_gone(self) -> None:
        """A client that is lost while its session moves finds it at the new node."""
        client = self.begin()
        self.talk_for(3)
        client.lose()
        self.talk_for(5)
        self.run_for(1)
        self.assertIsNotNone(self.session("c"))
        self.check_heard(self.come_back(self.juliet.resume_id, "a"))
        self.check_alone()
        self.check_presence()

    def test_two_nodes_at_once(self) -> None:
        """Of two connections that resume the same session on two nodes one has it in the end."""
        clients = [self.begin()]
        other = self.connect(JULIET, "a", bind=False)
        other.send(RESUME.format(self.juliet.resume_id, 0))
        clients.append(other)
        self.talk_for(10)
        self.run_for(20)
        self.check_alone()
        self.check_presence()
        alive = [client for client in clients if not client.transport.closed]
        self.assertEqual(len(alive), 1)
        self.check_heard(alive[0])
