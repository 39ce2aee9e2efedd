"""Every cell of the table in RFC 6121 §8.5.4, and its like for presence and iq."""

from collections.abc import Iterator
from typing import Any, ClassVar, Final

from mongoosetw.hooks.bus import STOP, Outcome
from mongoosetw.hooks.routing import OfflineMessage
from mongoosetw.host import Host
from mongoosetw.testing.client import Client
from mongoosetw.testing.server import ServerTestCase
from mongoosetw.xmpp.stanza import Stanza

TYPES: Final = ("", "normal", "chat", "groupchat", "headline", "error", "unheard-of")
BARE, MATCH, OTHER = "juliet@localhost", "juliet@localhost/{}", "juliet@localhost/gone"
# D delivered to the resource, M to the most available, A to all that are not negative,
# O stored offline, E answered with service-unavailable, S silently ignored.
# Columns: normal (also without a type, or with one that nobody knows), chat, groupchat,
# headline, error.
TABLE: Final = {
    "no account": {BARE: "EEESS", OTHER: "EEESS"},
    "no resource": {BARE: "OOESS", OTHER: "EOESS"},
    "no presence": {BARE: "OOESS", MATCH: "DDDDD", OTHER: "EOESS"},
    "negative": {BARE: "OOESS", MATCH: "DDDDD", OTHER: "EOESS"},
    "one": {BARE: "MMEAS", MATCH: "DDDDD", OTHER: "EMESS"},
    "several": {BARE: "MMEAS", MATCH: "DDDDD", OTHER: "EMESS"},
}
# Resources of Juliet with their priorities; None: connected without presence.
RESOURCES: Final[dict[str, dict[str, int | None]]] = {
    "no account": {},
    "no resource": {},
    "no presence": {"silent": None},
    "negative": {"asleep": -1},
    "one": {"phone": 0, "asleep": -1, "silent": None},
    "several": {"phone": 7, "laptop": 7, "tablet": 3, "asleep": -1, "silent": None},
}
MOST: Final = {"one": {"phone"}, "several": {"phone", "laptop"}}
ALL: Final = {"one": {"phone"}, "several": {"phone", "laptop", "tablet"}}


class Table:
    """Romeo writes to Juliet. To be mixed with a test case that has servers."""

    modules: ClassVar[dict[str, dict[str, Any]]] = {"mod_roster": {}, "mod_presence": {}}

    def setUp(self) -> None:
        """Notes what would be stored offline."""
        super().setUp()
        self.stored: list[Stanza] = []

        def store(event: OfflineMessage) -> Outcome:
            self.stored.append(event.stanza)
            return STOP

        for host in self.serving():
            host.hooks.add(OfflineMessage, 50, "test", store)
            host.hooks.publish()
        self.romeo = self.connect("romeo@localhost/orchard")

    def appear(self, condition: str) -> dict[str, Client]:
        """Juliet's resources; those of the condition before are gone."""
        if condition != "no account":
            self.register("juliet@localhost")
        found = {}
        for resource, priority in RESOURCES[condition].items():
            found[resource] = client = self.connect(f"juliet@localhost/{resource}")
            if priority is not None:
                client.send(f"<presence><priority>{priority}</priority></presence>")
        for client in found.values():
            client.events.clear()
        for client in found.values():
            client.pump()
            client.events.clear()
        return found

    def send(self, xml: str, clients: dict[str, Client]) -> tuple[set[str], str, int]:
        """Has Romeo send something; who got it, what he was answered, how many were stored."""
        before = len(self.stored)
        self.romeo.send(xml)
        got = set()
        for resource, client in clients.items():
            received = client.received
            client.events.clear()
            if received:
                self.assertEqual(len(received), 1, received)
                self.assertEqual(str(received[0].from_), "romeo@localhost/orchard")
                got.add(resource)
        answers = self.romeo.received
        self.romeo.events.clear()
        shown = "".join(answer.to_bytes().decode() for answer in answers)
        return got, shown, len(self.stored) - before


class MessageRows(Table):
    """Messages."""

    def cells(self, condition: str) -> Iterator[tuple[str, str, str, str]]:
        """Address, resource, type and what is to happen."""
        for address, row in TABLE[condition].items():
            row = row[0] * 2 + row[1:] + row[0]
            for type_, fate in zip(TYPES, row, strict=True):
                for resource in RESOURCES[condition] if address == MATCH else [""]:
                    yield address.format(resource), resource, type_, fate

    def check(self, condition: str) -> None:
        """Goes through the rows of one condition."""
        clients = self.appear(condition)
        for address, resource, type_, fate in self.cells(condition):
            attribute = f" type='{type_}'" if type_ else ""
            xml = f"<message to='{address}'{attribute} id='m'><body>x</body></message>"
            got, answer, stored = self.send(xml, clients)
            wanted: set[str] = {
                "D": {resource},
                "M": MOST.get(condition, set()),
                "A": ALL.get(condition, set()),
            }.get(fate, set())
            where = f"{xml} with {condition}: {answer}"
            self.assertEqual(got, wanted, where)
            self.assertEqual(stored, fate == "O", where)
            self.assertEqual("<service-unavailable" in answer, fate == "E", where)
            self.assertEqual(bool(answer), fate == "E", where)

    def test_no_account(self) -> None:
        """§8.5.1: the account does not exist."""
        self.check("no account")

    def test_no_resource(self) -> None:
        """§8.5.2.2: nobody is connected."""
        self.check("no resource")

    def test_no_presence(self) -> None:
        """§8.5.2.2, §8.5.3.1: a resource is connected but has sent no presence."""
        self.check("no presence")

    def test_negative(self) -> None:
        """§8.5.2.1.1: only resources with negative priority."""
        self.check("negative")

    def test_one(self) -> None:
        """§8.5.2.1.1: one resource with a priority that is not negative."""
        self.check("one")

    def test_several(self) -> None:
        """§8.5.2.1.1: several resources with priorities that are not negative."""
        self.check("several")


class PresenceRows(Table):
    """Presence, which is never answered with an error."""

    def test_available_and_unavailable(self) -> None:
        """§8.5.2.1.2, §8.5.3: to all available resources, to the one named, or to nobody."""
        for condition, rows in TABLE.items():
            clients = self.appear(condition)
            available = {r for r, p in RESOURCES[condition].items() if p is not None}
            for address in rows:
                for resource in RESOURCES[condition] if address == MATCH else [""]:
                    for type_ in ("", " type='unavailable'"):
                        to = address.format(resource)
                        got, answer, _ = self.send(f"<presence to='{to}'{type_}/>", clients)
                        wanted = available if address == BARE else {resource} - {""}
                        self.assertEqual(got, wanted, f"{to}{type_} with {condition}")
                        self.assertEqual(answer, "")
            for client in clients.values():
                client.lose()

    def test_subscribe(self) -> None:
        """§3.1.3, §8.5.3.2.2: a request to a resource is one to the account."""
        phone = self.appear("one")["phone"]
        self.romeo.send("<presence to='juliet@localhost/gone' type='subscribe'/>")
        phone.receives("<presence type='subscribe' from='romeo@localhost'/>")

    def test_subscribe_to_nobody(self) -> None:
        """§8.5.1: whether an account exists is not told by what a request is answered with."""
        self.romeo.send("<presence to='nobody@localhost' type='subscribe'/>")
        answers = [s for s in self.romeo.received if s.kind == "presence" and s.type == "error"]
        self.assertEqual(answers, [])

    def test_probe(self) -> None:
        """§8.5.1, §4.3.2: somebody whom the account does not know learns nothing."""
        self.appear("one")
        for address in ("juliet@localhost", "nobody@localhost"):
            _, answer, _ = self.send(f"<presence to='{address}' type='probe'/>", {})
            self.assertNotIn("priority", answer)


class IQRows(Table):
    """Requests and answers."""

    def test_requests(self) -> None:
        """§8.5.1 to §8.5.3: to the resource if it is there, else service-unavailable."""
        for condition, rows in TABLE.items():
            clients = self.appear(condition)
            for address in rows:
                for resource in RESOURCES[condition] if address == MATCH else [""]:
                    to = address.format(resource)
                    for type_ in ("get", "set"):
                        xml = f"<iq to='{to}' type='{type_}' id='i'><q xmlns='a:b'/></iq>"
                        got, answer, _ = self.send(xml, clients)
                        self.assertEqual(got, {resource} - {""}, f"{to} with {condition}")
                        self.assertEqual("<service-unavailable" in answer, not resource)
            for client in clients.values():
                client.lose()

    def test_answers(self) -> None:
        """§8.5.1 to §8.5.3: results and errors reach the resource, or nobody."""
        clients = self.appear("one")
        for address in (BARE, OTHER, "nobody@localhost", "nobody@localhost/x"):
            for type_ in ("result", "error"):
                got, answer, _ = self.send(f"<iq to='{address}' type='{type_}' id='i'/>", clients)
                self.assertEqual((got, answer), (set(), ""))
        got, _, _ = self.send("<iq to='juliet@localhost/phone' type='result' id='i'/>", clients)
        self.assertEqual(got, {"phone"})


class OneNode(ServerTestCase):
    """The server of the table."""

    def serving(self) -> list[Host]:
        """The domain's hosts, one for each node."""
        return [self.host]


class MessageTests(MessageRows, OneNode):
    """Messages, on one node."""


class PresenceTests(PresenceRows, OneNode):
    """Presence, on one node."""


class IQTests(IQRows, OneNode):
    """Requests and answers, on one node."""
