"""What streams are offered, and for how long that is remembered."""

import re
from dataclasses import replace

from mongoosetw.hooks.c2s import StreamFeatures
from mongoosetw.testing.server import ServerTestCase

OURS = b"<x xmlns='urn:x'/>"


class OfferTests(ServerTestCase):
    """Features of streams alike, and of those that are not."""

    listener_options = "tls.mode = 'starttls'"

    def offered(self) -> bytes:
        """What a client is offered before it logs in."""
        client = self.connect_raw()
        client.open()
        found = re.search(rb"<stream:features>.*</stream:features>", client.output())
        assert found is not None
        return found[0]

    def add(self, *, alike: bool) -> list[StreamFeatures]:
        """Has a module offer something; the list gets each event that it sees."""
        seen: list[StreamFeatures] = []

        def handler(event: StreamFeatures) -> None:
            seen.append(event)
            event.alike = event.alike and alike
            event.features.append(OURS)

        self.host.hooks.add(StreamFeatures, 50, "test", handler)
        self.host.hooks.publish()
        return seen

    def test_same_for_all(self) -> None:
        """Modules are asked once for streams that are alike."""
        seen = self.add(alike=True)
        self.assertEqual({self.offered() for _ in range(3)}, {self.offered()})
        self.assertEqual(len(seen), 1)

    def test_each_by_itself(self) -> None:
        """A module that looks at the stream is asked for each one."""
        seen = self.add(alike=False)
        self.assertIn(OURS, self.offered())
        self.assertIn(OURS, self.offered())
        self.assertEqual(len(seen), 2)

    def test_states_differ(self) -> None:
        """What is offered to a client that has logged in is not what others are offered."""
        self.add(alike=True)
        first = self.offered()
        self.assertIn(b"<mechanisms", first)
        client = self.connect("romeo@localhost/a")
        self.assertNotIn(b"<mechanisms", client.output())
        self.assertIn(OURS, client.output())
        self.assertEqual(self.offered(), first)

    def test_changes_show_at_once(self) -> None:
        """A module that starts or stops, and new options, show in the next stream's features."""
        self.assertNotIn(OURS, self.offered())
        self.add(alike=True)
        self.assertIn(OURS, self.offered())
        self.host.hooks.remove_owner("test")
        self.host.hooks.publish()
        self.assertNotIn(OURS, self.offered())
        self.assertIn(b"<starttls", self.offered())
        self.listener.reconfigure(replace(self.listener.options, tls=None), None)
        self.assertNotIn(b"<starttls", self.offered())
