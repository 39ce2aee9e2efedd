"""Every cell of the table in RFC 6121 §8.5.4 again, with the resources on several nodes."""

from typing import ClassVar

from mongoosetw.host import Host
from mongoosetw.testing.client import Client
from mongoosetw.testing.cluster import ClusterTestCase
from tests.test_delivery_table import IQRows, MessageRows, PresenceRows


class Spread(ClusterTestCase):
    """Romeo is at the first node.

    :cvar places: the nodes of Juliet's resources, by their names.
    """

    nodes = ("a", "b", "c")
    places: ClassVar[dict[str, str]] = {
        "phone": "b", "laptop": "c", "tablet": "a", "asleep": "c", "silent": "b",
    }  # fmt: skip

    def serving(self) -> list[Host]:
        """The domain's hosts, one for each node."""
        return [self.host(node) for node in self.nodes]

    def connect(self, jid: str, node: str = "", *args: object, **options: bool) -> Client:
        """A client, at the node that it belongs to."""
        place = self.places.get(jid.partition("/")[2], "a")
        client = super().connect(jid, node or place)
        self.settle()
        return client


class SpreadMessageTests(MessageRows, Spread):
    """Messages, with each resource on another node."""


class SpreadPresenceTests(PresenceRows, Spread):
    """Presence, likewise."""


class SpreadIQTests(IQRows, Spread):
    """Requests and answers, likewise."""


class Elsewhere(Spread):
    """All of Juliet is at one node, where Romeo is not."""

    nodes = ("a", "b")
    places: ClassVar = dict.fromkeys(Spread.places, "b")


class ElsewhereMessageTests(MessageRows, Elsewhere):
    """Messages to another node."""


class ElsewherePresenceTests(PresenceRows, Elsewhere):
    """Presence to another node."""


class ElsewhereIQTests(IQRows, Elsewhere):
    """Requests and answers between two nodes."""
