"""The metrics of nodes and links, under MongooseIM's names where they mean the same."""

from typing import TYPE_CHECKING, Final

from mongoosetw.metrics import Counter, Gauge

if TYPE_CHECKING:  # types only
    from mongoosetw.server import Server

JOINED = Gauge("cets_info_joined_nodes", "Nodes that are linked to this one, itself included")
DISCOVERED = Gauge("cets_info_discovered_nodes", "Nodes that are known of, this one included")
QUEUED = Gauge("cluster_queued_byte_size", "Bytes that wait for other nodes, or are on their way")
LOST = Counter("cluster_node_lost_count", "Links that were lost without a goodbye")
REFUSED = Counter(
    "cluster_link_refused_count", "Connections of nodes or strangers that were refused"
)
NOT_SENT = Counter(
    "cluster_not_sent_count", "What was for other nodes and lost, for their links were full"
)
GAUGES: Final = (JOINED, DISCOVERED, QUEUED)


def measure(server: "Server") -> None:
    """Set what is known only at the time of a scrape."""
    links = None if server.membership is None else server.membership.links
    known = [] if links is None else links.describe()
    JOINED.of_node().set(1 + len(server.mesh.peers))
    DISCOVERED.of_node().set(1 + len(known))
    QUEUED.of_node().set(sum(link.get("queued_bytes", 0) for link in known))
