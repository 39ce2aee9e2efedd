"""The simulation's own books: a single node passes, and what is wrong is found."""

from dataclasses import replace
from functools import cache

from twisted.trial.unittest import SynchronousTestCase

from tests.simulation.checks import messages, presence, registry
from tests.simulation.messages import Message
from tests.simulation.plan import Plan
from tests.simulation.run import play, report
from tests.simulation.world import World


class LeavingTests(SynchronousTestCase):
    """Nodes that leave."""

    def test_connecting(self) -> None:
        """A device that is about to connect to a node which has just left goes to another one."""
        world = World(replace(Plan.of(5), nodes=2, faults=()))
        self.addCleanup(world.cluster.close)
        world.rest(5.0)
        device = world.devices[0]
        device.wanted = True
        device.connect(world.cluster.nodes["n0"])
        world.leave_node("n0")
        self.assertEqual(world.leaving, {})
        world.rest(30.0)
        self.assertTrue(device.bound)


@cache
def one_node() -> World:
    """One node, without faults of the cluster; connections of clients break anyway."""
    return play(replace(Plan.of(5), nodes=1, faults=()))


class BooksTests(SynchronousTestCase):
    """What is checked of one node, and whether the checks find anything."""

    def setUp(self) -> None:
        """Plays it, once for all tests."""
        self.world = one_node()

    def acknowledged(self) -> Message:
        """A message that has arrived, at somebody who has lost nothing."""
        reliable = {d.user for d in self.world.devices} - set(self.world.risks)
        reliable -= {device.user for device in self.world.devices if not device.managed}
        taken = (m for m in self.world.messages.values() if m.acknowledged and m.arrivals)
        return next(m for m in taken if m.to.bare in reliable)

    def test_nothing_wrong(self) -> None:
        """A single node does everything right, and there was something to do."""
        world = self.world
        self.assertEqual(world.problems, [], report(world))
        taken = [message for message in world.messages.values() if message.acknowledged]
        self.assertGreater(len(taken), 20)
        self.assertGreater(sum(len(device.view) for device in world.devices), 20)

    def test_lost_message(self) -> None:
        """A message that was acknowledged and has not arrived is found."""
        message = self.acknowledged()
        self.patch(message, "arrivals", [])
        self.assertEqual(messages(self.world), [f"{message} was acknowledged and is lost"])

    def test_message_again(self) -> None:
        """A message that has arrived twice under different ids is found, not one with its own."""
        message = self.acknowledged()
        first = message.arrivals[0]
        self.patch(message, "arrivals", [first, first])
        self.assertEqual(messages(self.world), [])
        self.patch(message, "arrivals", [first, replace(first, stanza_id="another")])
        self.assertIn("has arrived several times", messages(self.world)[0])

    def test_order(self) -> None:
        """A message that has overtaken another one is found."""
        for message in self.world.messages.values():
            full = [r for r in message.arrivals if message.to == r.device and message.number > 1]
            if full:
                before = replace(message, number=0, arrivals=[replace(full[0], at=1e9)])
                self.patch(self.world, "messages", {0: before, 1: message})
                self.assertIn("has arrived before message 0", messages(self.world)[0])
                return

    def test_presence(self) -> None:
        """A client that sees somebody who is not there, or not as he is, is found."""
        device = next(d for d in self.world.devices if d.bound and d.view)
        jid = next(iter(device.view))
        self.patch(device, "view", {**device.view, jid: "old"})
        self.assertIn(f"{device} sees {jid} as old", presence(self.world)[0])

    def test_registry(self) -> None:
        """A session that is registered otherwise than its client believes is found."""
        (node,) = self.world.cluster.nodes.values()
        session = next(iter(node.server.hosts["localhost"].sessions))
        self.patch(session, "priority", 99)
        self.assertIn(f"{session.jid} believes to be on n0", registry(self.world)[0])
