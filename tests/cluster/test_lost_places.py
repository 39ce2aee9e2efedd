"""Who said or heard something on a node that is lost: what follows does not overtake it."""

from mongoosetw.c2s.session import Session
from mongoosetw.testing.client import Client
from mongoosetw.testing.mesh import MemoryMesh
from tests.cluster.messages import MessagesTestCase, bodies
from tests.cluster.moves import RESUME

STEP = 0.03


class LostPlaceTests(MessagesTestCase):
    """Links take long, so that much is on its way when a node is lost."""

    latency = (0.2, 0.3)

    def comes(self, node: str, bare: str = "juliet@localhost") -> Client:
        """A client binds a resource anew, and catches up."""
        client = self.connect(f"{bare}/balcony", node=node)
        place = self.host(node).sessions
        while not isinstance(place.get(client.jid), Session):
            self.run_for(STEP)
        client.enable_sm()
        client.send("<presence/>")
        return client

    def test_where_the_recipient_has_moved(self) -> None:
        """What followed a session to its new node waits for the client as soon as that is lost."""
        self.register("juliet@localhost")
        for extent in range(16):
            texts = [f"{extent} {number}" for number in range(60)]
            juliet = self.comes("b")
            self.run_for(2)
            got = []
            for number, text in enumerate(texts):
                self.say(text)
                self.run_for(STEP)
                if number == 5:
                    got += bodies(juliet)
                    juliet.lose()
                    moved = self.connect("juliet@localhost/balcony", node="c", bind=False)
                    moved.send(RESUME.format(juliet.resume_id, juliet.handled))
                if number == 10 + 2 * extent:
                    got += bodies(moved)
                    self.kill("c")
                    juliet = self.comes("b")
                if number % 10 == 9:
                    juliet.ack()
            for _ in range(3):
                self.run_for(3)
                juliet.ack()  # the next page comes when there is room
            self.run_for(1)
            got += bodies(juliet)
            self.assertEqual(list(dict.fromkeys(got)), texts)
            juliet.ack()
            juliet.send("</stream:stream>")
            self.start("c")
            self.run_for(12)

    def test_where_only_others_know_the_recipient(self) -> None:
        """What was on its way by a lost link comes, and before what comes by another node."""
        self.register("juliet@localhost")
        juliet = self.comes("c")
        self.run_for(2)
        self.cut("a", "c")
        self.run_for(5)
        self.say("older", "juliet@localhost/balcony")
        self.run_for(6)  # that is noticed, and the client comes to a node that is linked
        self.romeo.send("</stream:stream>")
        self.romeo = self.comes("b", "romeo@localhost")
        self.say("newer", "juliet@localhost/balcony")
        self.run_for(10)
        self.assertEqual(bodies(juliet), ["older", "newer"])

    def test_where_a_node_is_lost_twice(self) -> None:
        """What a node leaves that was lost a moment before, too, comes before what is newer."""
        self.register("juliet@localhost")
        self.romeo.send("</stream:stream>")
        self.kill("c")
        self.run_for(0.5)
        self.start("c")
        self.run_for(2)
        self.comes("c")
        self.romeo = self.comes("c", "romeo@localhost")
        self.run_for(1)
        self.say("older")
        self.run_for(1)
        self.kill("c")  # 4.5 seconds after the first time
        juliet = self.comes("b")
        self.romeo = self.comes("b", "romeo@localhost")
        self.say("newer")
        self.run_for(6)
        self.assertEqual(bodies(juliet), ["older", "newer"])

    def test_where_the_recipient_has_moved_from(self) -> None:
        """What was on its way by a lost link comes before what waited behind that for the move."""
        self._move_behind_a_lost_link(priority=0)

    def test_where_a_client_of_negative_priority_has_moved_from(self) -> None:
        """So does what was for its own address, which is all that it gets."""
        self._move_behind_a_lost_link(priority=-1)

    def _move_behind_a_lost_link(self, priority: int) -> None:
        self.register("juliet@localhost")
        juliet = self.comes("b")
        juliet.send(f"<presence><priority>{priority}</priority></presence>")
        self.run_for(2)
        self.cut("a", "b")
        self.run_for(5)
        texts = [str(number) for number in range(8)]
        for text in texts[:5]:
            self.say(text, "juliet@localhost/balcony")
        juliet.lose()
        moved = self.connect("juliet@localhost/balcony", node="c", bind=False)
        moved.send(RESUME.format(juliet.resume_id, juliet.handled))
        self.run_for(1.4)
        for text in texts[5:]:
            self.say(text, "juliet@localhost/balcony")
        self.assertEqual(bodies(moved), [])
        self.run_for(5)
        self.assertEqual(bodies(moved), texts)

    def test_where_a_client_of_negative_priority_goes_on(self) -> None:
        """What was on its way to that by a link that is lost comes before what is said later."""
        self.register("juliet@localhost")
        juliet = self.comes("b")
        juliet.send("<presence><priority>-1</priority></presence>")
        self.run_for(2)
        self.cut("a", "b")
        self.run_for(5)
        self.say("older", "juliet@localhost/balcony")
        self.run_for(6)  # that is noticed
        juliet.lose()
        moved = self.connect("juliet@localhost/balcony", node="c", bind=False)
        moved.send(RESUME.format(juliet.resume_id, juliet.handled))
        self.run_for(3)
        self.say("newer", "juliet@localhost/balcony")
        self.run_for(5)
        self.assertEqual(bodies(moved), ["older", "newer"])

    def test_where_the_sender_was(self) -> None:
        """What a lost node had in its queue comes before what its clients say elsewhere."""
        self.register("juliet@localhost")
        juliet = self.comes("b")
        for extent in range(8):
            texts = [f"{extent} {number}" for number in range(40)]
            for number, text in enumerate(texts):
                if number == 2 + 2 * extent:
                    self.kill("a")
                    self.run_for(0.3)  # as long as it takes until that is noticed
                    self.romeo = self.comes("c", "romeo@localhost")
                self.say(text)
                if number == 1 + extent:
                    self._stop_sending("a", "b")
                juliet.ack()
            self.run_for(9)
            self.assertEqual(list(dict.fromkeys(bodies(juliet))), texts)
            juliet.ack()
            self.romeo.send("</stream:stream>")
            self.start("a")
            self.run_for(12)
            self.romeo = self.comes("a", "romeo@localhost")

    def _stop_sending(self, node: str, other: str) -> None:
        """What a node sends another one stays in its memory."""
        mesh = self.servers[node].mesh
        assert isinstance(mesh, MemoryMesh)
        self.patch(mesh.ends[other], "flush", lambda: None)
