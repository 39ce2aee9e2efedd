"""Romeo and Juliet on different nodes, whose messages are logged."""

from typing import Any, ClassVar

from sqlalchemy import func, select

from mongoosetw.testing.client import Client
from mongoosetw.testing.cluster import ClusterTestCase
from mongoosetw.xmpp import ns

COMMIT = 0.02
"""Seconds after which what was written is on disk."""
ID = (ns.STANZA_ID, "stanza-id")


def bodies(client: Client) -> list[str | None]:
    """The texts of the messages that a client has got and not yet taken."""
    got = [stanza.body for stanza in client.received if stanza.kind == "message"]
    client.events.clear()
    return got


def ids(client: Client) -> list[str | None]:
    """The stanza ids of the messages that a client has got; they stay."""
    found = [stanza.child(*ID) for stanza in client.received if stanza.kind == "message"]
    return [None if element is None else element.getAttribute("id") for element in found]


class MessagesTestCase(ClusterTestCase):
    """Romeo is on node a, Juliet on node b."""

    nodes = ("a", "b", "c")
    modules: ClassVar[dict[str, dict[str, Any]]] = {
        "mod_roster": {},
        "mod_presence": {},
        "mod_offline": {},
        "mod_stream_management": {"resume_timeout": 60},
    }

    def setUp(self) -> None:
        """Connects them."""
        super().setUp()
        self.romeo = self.connect("romeo@localhost/phone", node="a")
        self.romeo.enable_sm()

    def juliet(self, node: str = "b", resource: str = "balcony", *, sm: bool = True) -> Client:
        """A device of Juliet's, which takes messages."""
        client = self.connect(f"juliet@localhost/{resource}", node=node)
        if sm:
            client.enable_sm(resume=False)
        client.send("<presence/>")
        self.run_for(COMMIT)
        client.pump()
        return client

    def say(self, text: str, to: str = "juliet@localhost") -> None:
        """Romeo says something to Juliet."""
        self.romeo.send(f"<message to='{to}' type='chat'><body>{text}</body></message>")
        self.run_for(COMMIT)

    def rows(self, table: Any, node: str = "a") -> int:
        """How many rows a table has."""
        db = self.servers[node].db
        return int(self.await_(_count(db, table)))


async def _count(db: Any, table: Any) -> int:
    statement = select(func.count()).select_from(table)
    return int(await db.read("count", lambda c: c.execute(statement).scalar_one()))
