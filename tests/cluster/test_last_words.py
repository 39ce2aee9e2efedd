"""What a lost node had to say: presence that waited there for somebody who has moved."""

from mongoosetw.testing.client import Client
from tests.cluster.friends import FriendsCase
from tests.cluster.moves import RESUME
from tests.cluster.test_presence import JULIET, ROMEO


class LastWordsTests(FriendsCase):
    """Juliet's session has moved from b to c, which have not noticed yet that they are cut off.

    So what Romeo's node sends there waits for a fence, which is on that way.
    """

    nodes = ("a", "b", "c", "d")
    modules = {**FriendsCase.modules, "mod_stream_management": {}}

    def setUp(self) -> None:
        """Romeo is on a, and has been seen."""
        super().setUp()
        self.befriend(ROMEO, JULIET)
        self.romeo = self.log_in_to_stay(f"{ROMEO}/phone", "a")
        juliet = self.log_in_to_stay(f"{JULIET}/phone", "b")
        self.romeo.send("<presence><status>here</status></presence>")
        self.juliet = self.move(juliet, "c")
        self.run_for(1)
        self.forget(self.juliet)
        self.cut("b", "c")

    def move(self, client: Client, node: str) -> Client:
        """A client comes back to another node."""
        client.pump()
        client.lose()
        again = self.connect(str(client.jid), node, bind=False)
        again.send(RESUME.format(client.resume_id, client.handled))
        self.settled()
        again.take_nonza("resumed")
        return again

    def test_goodbye(self) -> None:
        """Who went there a moment ago is seen to go."""
        self.romeo.send("</stream:stream>")
        self.check_seen_after_loss("unavailable romeo/phone")

    def test_unavailable(self) -> None:
        """So is who has only hidden."""
        self.romeo.send("<presence type='unavailable'/>")
        self.check_seen_after_loss("unavailable romeo/phone")

    def test_moved(self) -> None:
        """Who has moved from there is seen as it is, and once."""
        self.romeo.send("<presence><status>there</status></presence>")
        self.move(self.romeo, "d")
        self.check_seen_after_loss("available romeo/phone")

    def test_moved_and_gone(self) -> None:
        """Who has moved from there, and has gone since, is not shown by what comes from there."""
        self.romeo.send("<presence><status>there</status></presence>")
        moved = self.move(self.romeo, "d")
        moved.send("</stream:stream>")
        self.run_for(1)
        self.assertEqual(self.seen(self.juliet), ["unavailable romeo/phone"])
        self.run_for(8)
        self.assertNotIn("available romeo/phone", self.seen(self.juliet))

    def test_stranger_who_has_moved(self) -> None:
        """Who had sent directed presence, and has moved, is seen until that node goes, too."""
        nurse = self.log_in_to_stay("nurse@localhost/phone", "a")
        nurse.send(f"<presence to='{JULIET}/phone'/>")
        self.run_for(6)
        self.assertEqual(self.seen(self.juliet), ["available nurse/phone"])
        self.move(nurse, "d")
        self.check_seen_after_loss("unavailable romeo/phone")
        self.kill("d")
        self.assertEqual(self.seen(self.juliet), ["unavailable nurse/phone"])

    def test_others(self) -> None:
        """Who has always been at one node has missed nothing, and is told of everybody once."""
        nurse = "nurse@localhost"
        self.cluster.heal()
        self.befriend(ROMEO, nurse)
        watching = self.log_in(f"{nurse}/phone", "c")
        self.run_for(1)
        self.move(self.romeo, "d")
        tablet = self.log_in(f"{ROMEO}/tablet", "a")
        tablet.send("</stream:stream>")
        self.assertEqual(
            self.seen(watching), ["available romeo/tablet", "unavailable romeo/tablet"]
        )
        self.kill("a")
        self.run_for(1)
        self.assertEqual(self.seen(watching), [])

    def check_seen_after_loss(self, *presence: str) -> None:
        """Node a dies, and Juliet sees that then, and not before."""
        self.run_for(1)
        self.assertEqual(self.seen(self.juliet), [])
        self.kill("a")
        self.run_for(1)
        self.assertEqual(self.seen(self.juliet), list(presence))


class ShadowTests(FriendsCase):
    """Juliet's client on a, and her newer one of the same address on b, which a cannot reach.

    Node c takes the newer one for the one that is there.
    """

    def test_goodbye(self) -> None:
        """When the newer one has gone, the older one is told who has gone meanwhile."""
        self.befriend(ROMEO, JULIET)
        romeo = self.log_in(f"{ROMEO}/orchard", "c")
        juliet = self.log_in(f"{JULIET}/phone", "a")
        self.cut("a", "b")
        self.run_for(15)
        newer = self.log_in(f"{JULIET}/phone", "b")
        romeo.send("</stream:stream>")
        self.assertEqual(self.seen(newer), ["unavailable romeo/orchard"])
        self.assertEqual(self.seen(juliet, ROMEO), [])
        newer.send("</stream:stream>")
        self.run_for(2)
        self.assertEqual(self.seen(juliet, ROMEO), ["unavailable romeo/orchard"])


class RedisShadowTests(ShadowTests):
    """The same where not every node knows all sessions."""

    general = "sm_backend = 'redis'"
