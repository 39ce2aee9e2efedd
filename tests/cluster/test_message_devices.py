"""A message for several devices, on several nodes: whoever gets it twice can tell."""

from mongoosetw.messagelog.tables import messages, pending
from tests.cluster.messages import MessagesTestCase, bodies, ids


class DevicesTests(MessagesTestCase):
    """Romeo's client on node a does not use stream management (XEP-0198), some of Juliet's do."""

    peer_timeout = 4.0

    def setUp(self) -> None:
        """Connects Romeo's."""
        super().setUp()
        self.romeo.send("</stream:stream>")
        self.romeo = self.connect("romeo@localhost/old", node="a")

    def test_nodes_that_do_not_know_one_another(self) -> None:
        """Two nodes have a message for a device each: what is lost of that nobody gets anew."""
        desk = self.juliet("b", "desk")
        phone = self.connect("juliet@localhost/phone", node="c")
        self.say("older")
        self.run_for(10)
        self.cut("b", "c")
        while "b" in self.servers["c"].mesh.peers:
            self.run_for(0.1)
        phone.send("<presence/>")
        self.say("hello")
        self.assertEqual(bodies(desk), ["older", "hello"])
        self.assertEqual(bodies(phone), [])  # what is older comes first
        self.kill("b")
        self.run_for(20)
        self.assertEqual(bodies(phone), ["older", "hello"])

    def test_device_that_gets_it_later(self) -> None:
        """A device that gets a message at once gets the id by which others get it later."""
        self.juliet("b", "desk")
        self.say("older")
        self.run_for(10)
        phone = self.juliet("c", "phone", sm=False)
        tablet = self.connect("juliet@localhost/tablet", node="c")
        self.romeo = self.connect("romeo@localhost/c", node="c")
        self.cut("b", "c")
        while "b" in self.servers["c"].mesh.peers:
            self.run_for(0.1)
        tablet.send("<presence/>")
        phone.events.clear()
        self.say("hello")
        self.assertEqual(bodies(tablet), [])  # what is older comes first
        known = ids(phone)
        self.run_for(10)
        self.assertEqual(ids(tablet)[-1:], known)
        self.assertEqual((bodies(phone), bodies(tablet)), (["hello"], ["older", "hello"]))

    def test_same_id(self) -> None:
        """All devices of all nodes get a message with one id, and nothing of it is left."""
        devices = [
            self.juliet(node, f"{node}{sm}", sm=sm) for node in "abc" for sm in (False, True)
        ]
        self.say("hello")
        found = {identifier for device in devices for identifier in ids(device)}
        self.assertNotIn(None, found)
        self.assertEqual(len(found), 1)
        self.assertEqual([bodies(device) for device in devices], [["hello"]] * len(devices))
        for device in devices[1::2]:
            device.ack()
        self.run_for(30)
        self.assertEqual((self.rows(pending), self.rows(messages)), (0, 0))

    def test_several_without_acknowledgements(self) -> None:
        """So do several of the sender's node that do not acknowledge what they get."""
        devices = [self.juliet("b", "tablet"), self.juliet("a", "notebook")]
        devices += [self.juliet("a", name, sm=False) for name in ("desk", "phone", "watch")]
        self.say("hello")
        found = [ids(device) for device in devices]
        self.assertNotIn(None, found[0])
        self.assertEqual(found, [found[0]] * len(devices))
