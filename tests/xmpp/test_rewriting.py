"""Elements that are written anew, and trees that can be written."""

from twisted.trial.unittest import SynchronousTestCase

from mongoosetw.xmpp import ns
from mongoosetw.xmpp.rewriting import self_contained
from mongoosetw.xmpp.tree import parse_element

USUAL: dict[str | None, str] = {None: ns.CLIENT, "stream": ns.STREAM}


class SelfContainedTests(SynchronousTestCase):
    """The rewritten element means the same and needs nothing around it."""

    def assert_rewritten(self, raw: str, wanted: str, inner: str, **prefixes: str) -> None:
        """Compares the outcome and the place of its content."""
        text, (start, end) = self_contained(raw.encode(), {**USUAL, **prefixes})
        self.assertEqual(text.decode(), wanted)
        self.assertEqual(text[start:end].decode(), inner)

    def test_prefix_of_the_stanza(self) -> None:
        """Prefixes that the stanza's tag declares become default namespaces of the content."""
        self.assert_rewritten(
            "<message xmlns:x='a:b' to='c'><x:y><x:z/></x:y></message>",
            "<message to='c'><y xmlns='a:b'><z></z></y></message>",
            "<y xmlns='a:b'><z></z></y>",
        )

    def test_prefix_for_the_stanza(self) -> None:
        """A stanza that has a prefix itself loses it."""
        self.assert_rewritten(
            "<c:iq xmlns:c='jabber:client'><c:q/></c:iq>", "<iq><q></q></iq>", "<q></q>"
        )

    def test_prefix_of_the_header(self) -> None:
        """Prefixes that were declared around it are written out."""
        self.assert_rewritten(
            "<message><p:x p:a='1'/></message>",
            "<message><x xmlns='q' xmlns:n0='q' n0:a='1'></x></message>",
            "<x xmlns='q' xmlns:n0='q' n0:a='1'></x>",
            p="q",
        )

    def test_characters(self) -> None:
        """Special characters, white space in values, CDATA and xml:lang are kept."""
        self.assert_rewritten(
            "<a xmlns=\"u'&lt;v\" xml:lang='en' b='&#10;&quot;'>&#13;<![CDATA[<b>]]>\n</a>",
            "<a xmlns='u&#x27;&lt;v' xml:lang='en' b='&#10;&quot;'>&#13;&lt;b&gt;\n</a>",
            "&#13;&lt;b&gt;\n",
        )

    def test_no_namespace(self) -> None:
        """An element without a namespace stays without."""
        self.assert_rewritten(
            "<message><x xmlns=''/></message>",
            "<message><x xmlns=''></x></message>",
            "<x xmlns=''></x>",
        )


class TreeTests(SynchronousTestCase):
    """Elements as trees."""

    def test_quote_in_a_namespace(self) -> None:
        """A namespace with a quote cannot break out of its attribute when it is written."""
        xml = b"<a><x xmlns=\"'/&gt;&lt;evil/&gt;\" xmlns:p='u&amp;v' p:y='1'/></a>"
        element = parse_element(xml)
        again = parse_element(element.toXml(defaultUri=ns.CLIENT).encode())
        self.assertEqual([child.name for child in again.elements()], ["x"])

    def test_not_one_element(self) -> None:
        """Anything but one well-formed element is refused."""
        for bad in (b"", b"text", b"<a>", b"<a/><b/>", b"<a></b>"):
            self.assertRaises(ValueError, parse_element, bad)

    def test_large(self) -> None:
        """An element that the stream's limits let through has no further limits."""
        self.assertEqual(len(parse_element(b"<a>" + b"<b/>" * 150_000 + b"</a>").children), 150_000)
