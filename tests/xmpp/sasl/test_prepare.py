"""Tests of password preparation."""

from twisted.trial.unittest import SynchronousTestCase

from mongoosetw.xmpp.sasl.prepare import InvalidPassword, prepare_password


class PrepareTests(SynchronousTestCase):
    """SASLprep and OpaqueString."""

    def test_examples_of_rfc_4013(self) -> None:
        """The examples of RFC 4013 §3 come out as printed there."""
        for text, prepared in (
            ("I\u00adX", "IX"),
            ("user", "user"),
            ("USER", "USER"),
            ("\u00aa", "a"),
            ("\u2168", "IX"),
        ):
            self.assertEqual(prepare_password(text), prepared)

    def test_spaces(self) -> None:
        """Every kind of space is the plain one, wherever it stands."""
        self.assertEqual(prepare_password(" a\u00a0b\u3000"), " a b ")

    def test_refused(self) -> None:
        """Empty passwords and control characters are refused."""
        for text in ("", "\x07", "a\x00b", "\u00ad", "\ud800"):
            self.assertRaises(InvalidPassword, prepare_password, text)

    def test_newer_characters(self) -> None:
        """Characters younger than SASLprep may be used."""
        self.assertEqual(prepare_password("🐎 staple"), "🐎 staple")
