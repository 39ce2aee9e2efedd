"""Tests of XMPP addresses (RFC 7622)."""

import copy
import pickle

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from mongoosetw.xmpp.jid import JID, InvalidJID


class ParseTests(SynchronousTestCase):
    """Reading addresses."""

    def assert_parts(self, text: str, local: str | None, domain: str, resource: str | None) -> None:
        jid = JID.parse(text)
        self.assertEqual((jid.local, jid.domain, jid.resource), (local, domain, resource))

    def test_all_parts(self) -> None:
        """A full address has three parts and knows its bare address."""
        self.assert_parts("juliet@example.com/balcony", "juliet", "example.com", "balcony")
        self.assertEqual(str(JID.parse("juliet@example.com/balcony").bare), "juliet@example.com")

    def test_examples_of_the_rfc(self) -> None:
        """The valid addresses of RFC 7622 §3.5 are accepted."""
        for text in (
            "juliet@example.com",
            "juliet@example.com/foo",
            "juliet@example.com/foo bar",
            "juliet@example.com/foo@bar",
            "foo\\20bar@example.com",
            "fußball@example.com",
            "π@example.com",
            "king@example.com/♚",
            "example.com",
            "example.com/foobar",
            "a.example.com/b@example.net",
        ):
            self.assertEqual(str(JID.parse(text)), text)

    def test_counterexamples_of_the_rfc(self) -> None:
        """The invalid addresses of RFC 7622 §3.5 are refused."""
        for text in (
            '"juliet"@example.com',
            "foo bar@example.com",
            "juliet@example.com/",
            "@example.com/",
            "henryⅣ@example.com",
            "♚@example.com",
            "juliet@",
            "/foobar",
        ):
            self.assertRaises(InvalidJID, JID.parse, text)

    def test_case_folding(self) -> None:
        """Local and domain parts ignore case, the resourcepart does not."""
        self.assert_parts("Romeo@EXAMPLE.Net/Orchard", "romeo", "example.net", "Orchard")
        self.assertEqual(JID.parse("Σ@example.com"), JID.parse("σ@example.com"))

    def test_resource_is_cut_first(self) -> None:
        """The first slash ends the address proper, even if an at-sign follows."""
        self.assert_parts("example.com/a@b/c", None, "example.com", "a@b/c")

    def test_domains(self) -> None:
        """A final dot goes, A-labels become U-labels, IP literals are kept."""
        self.assertEqual(JID.parse("example.com.").domain, "example.com")
        self.assertEqual(JID.parse("xn--bcher-kva.example").domain, "bücher.example")
        self.assertEqual(JID.parse("BÜCHER。example").domain, "bücher.example")
        self.assertEqual(JID.parse("a@[2001:DB8::1]").domain, "[2001:db8::1]")
        self.assertEqual(JID.parse("a@127.0.0.1").domain, "127.0.0.1")

    def test_bad_domains(self) -> None:
        """What is no domain name is refused."""
        for domain in ("", ".", "a..b", "-a", "a-", "a b", "[zz]", "xn--", "a@b", "ü" * 64):
            self.assertRaises(InvalidJID, JID.parse, f"x@{domain}")

    def test_width_mapping_cannot_smuggle(self) -> None:
        """Full-width forms of excluded characters are refused after their mapping."""
        self.assertRaises(InvalidJID, JID.parse, "a＠b@example.com")
        self.assertRaises(InvalidJID, JID.of, "a／b", "example.com")

    def test_length_in_bytes(self) -> None:
        """Each part has at most 1023 bytes of UTF-8."""
        JID.of("a" * 1023, "b", "c" * 1023)
        for local, resource in (("a" * 1024, "c"), ("a", "c" * 1024), ("é" * 512, "c")):
            self.assertRaises(InvalidJID, JID.of, local, "b", resource)

    def test_control_characters_and_surrogates(self) -> None:
        """Control characters and lone surrogates are refused, not passed on."""
        for text in ("a\x00@b", "b/\x00", "a@b\n", "b/c\n", "\ud800@b", "b/\ud800", "\ud800"):
            self.assertRaises(InvalidJID, JID.parse, text)

    @given(st.text(max_size=12), st.text(max_size=12), st.text(max_size=12))
    def test_parsing_is_stable(self, local: str, domain: str, resource: str) -> None:
        """Whatever is accepted reads back as the same address."""
        try:
            jid = JID.parse(f"{local}@{domain}/{resource}")
        except InvalidJID:
            return
        self.assertEqual(JID.parse(str(jid)), jid)


class ObjectTests(SynchronousTestCase):
    """Addresses as values."""

    def test_equality_and_hash(self) -> None:
        """Addresses are equal by their prepared text, however they were made."""
        one, other = JID.parse("A@b/c"), JID.of("a", "B").with_resource("c")
        self.assertEqual(one, other)
        self.assertEqual(len({one, other, JID("a", "b", "c")}), 1)
        self.assertNotEqual(one, one.bare)
        self.assertNotEqual(one, "a@b/c")

    def test_bare(self) -> None:
        """A bare address is its own bare address."""
        bare = JID.parse("a@b")
        self.assertTrue(bare.is_bare)
        self.assertIs(bare.bare, bare)
        self.assertFalse(JID.parse("b/c").is_bare)

    def test_shared(self) -> None:
        """An address that is read often is one object; a very long one is not kept."""
        self.assertIs(JID.parse("a@b/shared"), JID.parse("A@b/shared"))
        long = "a@b/" + "c" * 1000
        self.assertIsNot(JID.parse(long), JID.parse(long))
        self.assertEqual(JID.parse(long), JID.parse(long))

    def test_unchangeable(self) -> None:
        """Parts cannot be assigned or deleted."""
        jid = JID.parse("a@b")
        self.assertRaises(AttributeError, setattr, jid, "local", "c")
        self.assertRaises(AttributeError, delattr, jid, "local")

    def test_order(self) -> None:
        """Addresses sort by their text."""
        jids = [JID.parse("b@x"), JID.parse("a@x/1"), JID.parse("a@x")]
        self.assertEqual([str(jid) for jid in sorted(jids)], ["a@x", "a@x/1", "b@x"])

    def test_copies(self) -> None:
        """Pickled and copied addresses are equal to the original."""
        jid = JID.parse("a@b/c")
        self.assertEqual(pickle.loads(pickle.dumps(jid)), jid)
        self.assertEqual(copy.deepcopy(jid), jid)

    def test_with_resource_prepares(self) -> None:
        """A resourcepart that is not allowed is refused there, too."""
        self.assertRaises(InvalidJID, JID.parse("a@b").with_resource, "")
        self.assertEqual(str(JID.parse("a@b/c").with_resource("d")), "a@b/d")
