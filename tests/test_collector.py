"""The collector of cyclic garbage has nothing to do."""

import gc

from mongoosetw import collector
from mongoosetw.c2s.session import Session
from mongoosetw.c2s.stream import ClientStream
from mongoosetw.testing.server import ServerTestCase
from mongoosetw.xmpp.stanza import Stanza


class CollectorTests(ServerTestCase):
    """Memory of clients that have left."""

    modules = {"mod_roster": {}, "mod_presence": {}, "mod_offline": {}}

    def alive(self) -> int:
        """How many sessions, streams and stanzas there are."""
        return sum(isinstance(o, Session | ClientStream | Stanza) for o in gc.get_objects())

    def visit(self) -> None:
        """A client logs in, says hello to itself and leaves; another is cut off."""
        for closing in (True, False):
            client = self.connect("romeo@localhost/a")
            client.send("<presence/><message to='romeo@localhost/a'><body>hello</body></message>")
            if closing:
                client.send("</stream:stream>")
            else:
                client.lose()
            client.events.clear()

    def test_nothing_is_left(self) -> None:
        """What a client took is freed when it leaves, without looking for cycles."""
        self.visit()
        gc.collect()
        gc.disable()
        self.addCleanup(gc.enable)
        before = self.alive()
        for _ in range(5):
            self.visit()
        self.assertEqual(self.alive(), before)

    def test_settle(self) -> None:
        """What is there when it starts is not looked at again."""
        thresholds = gc.get_threshold()
        self.addCleanup(gc.set_threshold, *thresholds)
        self.addCleanup(gc.unfreeze)
        collector.settle()
        self.assertGreater(gc.get_freeze_count(), 1000)
        self.assertGreater(gc.get_threshold(), thresholds)
