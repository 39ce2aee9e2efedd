"""Synchronising a large archive page by page."""

from mongoosetw.testing.client import Client
from mongoosetw.testing.server import ServerTestCase
from mongoosetw.xmpp import ns

MESSAGES = 10_000


class SyncTests(ServerTestCase):
    """A client that was away for long."""

    modules = {"mod_presence": {}, "mod_mam": {"max_result_limit": 250}}

    def say(self, sender: Client, first: int, last: int) -> None:
        """Sends numbered messages, all at once."""
        sender.send(
            "".join(
                f"<message to='juliet@localhost' type='chat'><body>{number}</body></message>"
                for number in range(first, last)
            )
        )
        self.settle()

    def page(self, client: Client, after: str) -> tuple[list[int], list[int], str, bool]:
        """Numbers and ids of the next page, where it ends, and whether it was the last."""
        rsm = f"<set xmlns='{ns.RSM}'><max>250</max>{after}</set>"
        client.send(f"<iq type='set' id='q'><query xmlns='{ns.MAM}'>{rsm}</query></iq>")
        *found, end = client.received
        client.events.clear()
        numbers, ids = [], []
        for stanza in found:
            result = stanza.child(ns.MAM, "result")
            assert result is not None
            ids.append(int(result["id"]))
            message = next(e for e in result.forwarded.elements() if e.name == "message")
            numbers.append(int(str(message.body)))
        fin = end.child(ns.MAM, "fin")
        assert fin is not None
        last = f"<after>{fin.set.last}</after>" if numbers else after
        return numbers, ids, last, fin.getAttribute("complete") == "true"

    def test_each_message_once_while_new_ones_arrive(self) -> None:
        """Ten thousand messages come once each, in order, and so do those that come meanwhile."""
        romeo = self.connect("romeo@localhost/a")
        juliet = self.connect("juliet@localhost/b")
        self.say(romeo, 0, MESSAGES)
        got: list[int] = []
        seen: list[int] = []
        after, complete, total = "", False, MESSAGES
        while not complete:
            if total < MESSAGES + 200:
                self.say(romeo, total, total + 20)
                total += 20
            numbers, ids, after, complete = self.page(juliet, after)
            got += numbers
            seen += ids
        self.assertEqual(got, list(range(total)))
        self.assertEqual(seen, sorted(seen))
