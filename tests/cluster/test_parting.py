"""Messages that one node holds for a session of another one, which is about to move to a third."""

from mongoosetw.testing.client import Client
from tests.cluster.moves import JULIET, RESUME, MovesTestCase


class PartingTests(MovesTestCase):
    """Romeo's node has to write what Juliet has not acknowledged before her session can move."""

    nodes = ("a", "b", "c", "d")

    def setUp(self) -> None:
        """There is such a message when her connection is lost."""
        super().setUp()
        self.say("hello")
        self.assertEqual(self.heard(self.juliet), ["hello"])
        self.juliet.lose()

    def desk(self) -> Client:
        """She has another device, at d."""
        desk = self.connect("juliet@localhost/desk", "d")
        desk.send("<presence/>")
        return desk

    def node_of(self, name: str) -> str:
        """Where a node believes that client to be."""
        return getattr(self.host(name).sessions.get(self.juliet.jid), "node", name)

    def come(self) -> Client:
        """Her client asks for its session at c."""
        client = self.connect(JULIET, "c", bind=False)
        client.send(RESUME.format(self.juliet.resume_id, 0))
        self.run_for(0.2)
        return client

    def come_anew(self) -> Client:
        """Her client does not wait for that, and begins anew, while Romeo's node is asked."""
        self.cluster.network.wire("b", "a").slower = 1.0
        self.come().lose()
        client = self.connect(JULIET, "c")
        self.assertEqual(self.node_of("b"), "c")
        return client

    def test_new_session(self) -> None:
        """The new session gets the message, though it is written late."""
        client = self.come_anew()
        client.send("<presence/>")
        self.run_for(5)
        self.assertEqual(self.heard(client), ["hello"])

    def test_another_device(self) -> None:
        """Another device gets it if the new session takes no messages."""
        desk = self.desk()
        self.come_anew()
        self.run_for(5)
        self.assertEqual(self.heard(desk), ["hello"])

    def test_old_node_dies(self) -> None:
        """Another device gets it if the old node is lost before it could send the session."""
        desk = self.desk()
        self.cut("b", "c", one_way=True)
        self.come().lose()
        self.kill("b")
        self.run_for(20)
        self.assertEqual(self.heard(desk), ["hello"])
