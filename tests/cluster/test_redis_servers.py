"""Real servers with the back end ``redis``: what users notice, which is nothing."""

from mongoosetw.xmpp.jid import JID
from tests.cluster import test_sessions_shared


class SharedTests(test_sessions_shared.SharedTests):
    """As with ``replicated``, when all nodes are asked for the user."""

    general = "host_types = ['dynamic']\nsm_backend = 'redis'"

    def known(self, node: str) -> dict[str, int | None]:
        """The sessions that a node knows when it is asked."""
        self.host(node).prepare([JID.parse("romeo@localhost"), JID.parse("juliet@localhost")])
        self.settle()
        return super().known(node)

    def test_domain_added_later(self) -> None:
        """The sessions of a domain that a node hears of late are there for who asks."""
        self.await_(self.servers["a"].domains.add("later.example", "dynamic"))
        self.connect("romeo@later.example/phone", node="a")
        self.settle()
        host = self.servers["b"].hosts["later.example"]
        host.prepare([JID.parse("romeo@later.example")])
        self.settle()
        self.assertEqual([str(s.jid) for s in host.sessions], ["romeo@later.example/phone"])
