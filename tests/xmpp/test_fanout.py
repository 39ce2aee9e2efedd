"""One stanza for many recipients."""

from twisted.trial.unittest import SynchronousTestCase

from mongoosetw.xmpp import ns
from mongoosetw.xmpp.fanout import Fanout
from mongoosetw.xmpp.jid import JID
from mongoosetw.xmpp.stanza import Stanza
from mongoosetw.xmpp.whole import parse_stanza

ROMEO = JID.parse("romeo@localhost/a")
JULIET = JID.parse("juliet@localhost")
QUOTED = JID.parse("juliet@localhost/it's")


class FanoutTests(SynchronousTestCase):
    """Copies that differ in their address only."""

    def check(self, stanza: Stanza) -> None:
        """Compares copies with those that are serialised anew."""
        fanout = Fanout(stanza)
        for address in (JULIET, QUOTED):
            copy, expected = fanout.to(address), stanza.copy(to=address)
            read = parse_stanza(copy.to_bytes())
            for got in (copy, read):
                self.assertEqual((got.kind, got.to), (stanza.kind, address))
                self.assertEqual((got.from_, got.type, got.id), (ROMEO, stanza.type, stanza.id))
                self.assertEqual(got.children, expected.children)
                self.assertEqual(got.inner, expected.inner)

    def test_made(self) -> None:
        """A stanza of the server's own goes to each recipient under its address."""
        self.check(Stanza.make("presence", from_=ROMEO, type="unavailable"))
        self.check(Stanza.make("message", from_=ROMEO, to=JULIET, id="1", inner="<body>x</body>"))

    def test_received(self) -> None:
        """A client's stanza goes out as it was written, with the sender that was stamped on it."""
        stanza = parse_stanza(b"<presence id='7'><show>away</show></presence>")
        stanza.stamp(b"<presence from='romeo@localhost/a'", ROMEO)
        self.check(stanza)


class ChildTextTests(SynchronousTestCase):
    """The text of a child, with and without parsing."""

    def text(self, inner: str) -> str | None:
        """The priority in a presence stanza."""
        xml = f"<presence>{inner}</presence>"
        return parse_stanza(xml.encode()).child_text(ns.CLIENT, "priority")

    def test_plain(self) -> None:
        """Plain text is found among other children; without the child there is none."""
        self.assertEqual(self.text("<show>away</show><priority>5</priority>"), "5")
        self.assertEqual(self.text("<priority/>"), "")
        self.assertIsNone(self.text("<show>away</show>"))

    def test_disguised(self) -> None:
        """The child that counts is the direct one in the stanza's namespace, however written."""
        for inner in (
            "<x xmlns='x'><priority>1</priority></x><priority>5</priority>",
            "<priority>5</priority><priority>1</priority>",
            "<priority xmlns='x'>1</priority><priority>5</priority>",
            "<x xmlns='x'><priority>1</priority></x><p:priority xmlns:p='jabber:client'>5"
            "</p:priority>",
            "<x><![CDATA[<priority>1</priority>]]></x><priority>5</priority>",
            "<priorityx>1</priorityx><priority>5</priority>",
            "<priority a='b'>5</priority>",
            "<priority a='&gt;'>5</priority>",
            "<priority >5</priority >",
            "<priority>&#53;</priority>",
            "<priority><![CDATA[5]]></priority>",
        ):
            self.assertEqual(self.text(inner), "5", inner)
