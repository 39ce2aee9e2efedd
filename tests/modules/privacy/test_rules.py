"""What a list says, against a model that reads XEP-0016 word by word; blocklists in lists."""

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from modules.mod_privacy.rules import (
    IQ,
    KINDS,
    MESSAGE,
    OTHER,
    PRESENCE_IN,
    PRESENCE_OUT,
    Contact,
    Item,
    PrivacyList,
    Roster,
    block,
    blocklist,
    kind_of,
    unblock,
)
from mongoosetw.xmpp.jid import JID
from mongoosetw.xmpp.stanza import Stanza

# Few names, so that rules and addresses meet often.
ADDRESSES = st.builds(
    JID, st.sampled_from([None, "a", "b"]), st.sampled_from(["x", "y"]),
    st.sampled_from([None, "r", "s"]),
)  # fmt: skip
GROUPS = st.sampled_from(["Friends", "Enemies"])
SUBSCRIPTIONS = st.sampled_from(["none", "to", "from", "both"])
ROSTERS = st.dictionaries(
    ADDRESSES.map(lambda jid: jid.bare), st.builds(Contact, SUBSCRIPTIONS, st.frozensets(GROUPS))
)
MATCHES = st.one_of(
    st.just(("", "")),
    ADDRESSES.map(lambda jid: ("jid", str(jid))),
    st.tuples(st.just("group"), GROUPS),
    st.tuples(st.just("subscription"), SUBSCRIPTIONS),
)


@st.composite
def lists(draw: st.DrawFn) -> list[Item]:
    """Items with orders of their own, in any sequence."""
    orders = draw(st.lists(st.integers(0, 2**32 - 1), unique=True, max_size=6))
    kinds = st.frozensets(st.sampled_from(sorted(KINDS)))
    return [
        Item(order, draw(st.booleans()), *draw(MATCHES), draw(kinds))
        for order in orders
    ]  # fmt: skip


def concerns(item: Item, peer: JID, kind: str, roster: Roster) -> bool:
    """XEP-0016 §2.1, one sentence after the other."""
    if item.kinds and kind not in item.kinds:
        return False
    contact = roster.get(peer.bare, Contact())
    if item.type == "group":
        return item.value in contact.groups
    if item.type == "subscription":
        return item.value == contact.subscription
    if item.type == "":
        return True
    rule = JID.parse(item.value)
    if rule.domain != peer.domain:
        return False
    if rule.local is not None and rule.local != peer.local:
        return False
    return rule.resource is None or rule.resource == peer.resource


def model(items: list[Item], peer: JID, kind: str, roster: Roster) -> bool:
    """§2.2, rules 5, 6, 7."""
    for item in sorted(items, key=lambda item: item.order):
        if concerns(item, peer, kind, roster):
            return item.allow
    return True


class EvaluationTests(SynchronousTestCase):
    """What a list says to a stanza."""

    @given(lists(), ADDRESSES, st.sampled_from([*sorted(KINDS), OTHER]), ROSTERS)
    def test_as_the_model(self, items: list[Item], peer: JID, kind: str, roster: Roster) -> None:
        """The first item in order that concerns a stanza decides, without one it passes."""
        allowed = PrivacyList("any", items).allows(peer, kind, roster)
        self.assertEqual(allowed, model(items, peer, kind, roster))

    def test_not_an_address(self) -> None:
        """A stored rule for something that is no address matches nobody."""
        items = [Item(1, False, "jid", "@@")]
        self.assertTrue(PrivacyList("any", items).allows(JID.parse("a@x"), MESSAGE, {}))
        self.assertEqual(blocklist(PrivacyList("any", items)), {})

    def test_kinds(self) -> None:
        """Limited items know incoming messages and iqs, and notifications both ways (§2.1)."""
        for kind, type, come, go in (
            ("message", "chat", MESSAGE, OTHER),
            ("iq", "get", IQ, OTHER),
            ("iq", "result", IQ, OTHER),
            ("presence", "", PRESENCE_IN, PRESENCE_OUT),
            ("presence", "unavailable", PRESENCE_IN, PRESENCE_OUT),
            ("presence", "subscribe", OTHER, OTHER),
            ("presence", "probe", OTHER, OTHER),
        ):
            stanza = Stanza.make(kind, type=type)
            self.assertEqual((kind_of(stanza, "in"), kind_of(stanza, "out")), (come, go))


class BlocklistTests(SynchronousTestCase):
    """The blocklist as a part of the default list (XEP-0191 §5)."""

    @given(lists(), st.lists(ADDRESSES, max_size=4))
    def test_blocked(self, items: list[Item], addresses: list[JID]) -> None:
        """Blocked addresses are denied whatever else the list says, orders stay unique."""
        before = PrivacyList("any", items)
        after = PrivacyList("any", block(before.items, addresses))
        self.assertEqual(len({item.order for item in after.items}), len(after.items))
        self.assertEqual(set(blocklist(after)), {*blocklist(before), *addresses})
        for address in set(addresses) - set(blocklist(before)):
            self.assertFalse(after.allows(address, MESSAGE, {}))
        added = len(after.items) - len(before.items)
        rest = [(item.allow, item.type, item.value, item.kinds) for item in after.items[added:]]
        same = [(item.allow, item.type, item.value, item.kinds) for item in before.items]
        self.assertEqual(rest, same)

    @given(lists(), st.lists(ADDRESSES, max_size=4, unique=True))
    def test_unblocked(self, items: list[Item], addresses: list[JID]) -> None:
        """What is blocked and unblocked again leaves the rest of the list as it was."""
        before = PrivacyList("any", items).items
        known = blocklist(PrivacyList("any", items))
        new = [address for address in addresses if address not in known]
        after = unblock(block(before, new), new)
        self.assertEqual([i.value for i in after], [i.value for i in before])
        self.assertEqual(blocklist(PrivacyList("any", unblock(after, None))), {})

    def test_room_at_the_front(self) -> None:
        """Where there is room, orders that the user chose stay."""
        (first, second) = block((Item(10, True),), [JID.parse("a@x")])
        self.assertEqual((first.order, second.order), (9, 10))
