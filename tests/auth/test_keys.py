"""Tests of credentials and their text."""

from twisted.trial.unittest import SynchronousTestCase

from mongoosetw.auth.keys import Credentials, InvalidPassword, KeyPolicy, derive

QUICK = KeyPolicy(iterations=8)
SHA1 = "QSXCR+Q6sek8bf92|6dlGYMOdZcOPutkcNY8U2g7vK9Y=|D+CSWLOshSulAsxiupA+qs2/fTE="


class CredentialsTests(SynchronousTestCase):
    """Keys of one password."""

    def test_verify(self) -> None:
        """The right password opens, a wrong or impossible one does not."""
        credentials = Credentials.derive("secret", QUICK)
        self.assertTrue(credentials.verify("secret"))
        for wrong in ("Secret", "", "\x00"):
            self.assertFalse(credentials.verify(wrong))

    def test_salts_differ(self) -> None:
        """Two accounts with one password share no key."""
        one, other = (Credentials.derive("secret", QUICK) for _ in range(2))
        self.assertNotEqual(one.keys["sha256"].stored_key, other.keys["sha256"].stored_key)

    def test_impossible_password(self) -> None:
        """An empty password has no keys."""
        self.assertRaises(InvalidPassword, Credentials.derive, "", QUICK)

    def test_outdated(self) -> None:
        """Fewer rounds or hashes than the policy asks for are outdated, more are not."""
        credentials = Credentials.derive("secret", QUICK)
        self.assertFalse(credentials.outdated(KeyPolicy(("sha1",), 4)))
        self.assertTrue(credentials.outdated(KeyPolicy(("sha1",), 9)))
        self.assertTrue(credentials.outdated(KeyPolicy(("sha384",), 4)))


class TextTests(SynchronousTestCase):
    """The column pass_details."""

    def test_round_trip(self) -> None:
        """What is written is read back."""
        policy = KeyPolicy(("sha1", "sha224", "sha256", "sha384", "sha512"), 8)
        credentials = Credentials.derive("secret", policy)
        self.assertEqual(Credentials.from_text(credentials.to_text()), credentials)

    def test_format(self) -> None:
        """The text is the one that MongooseIM writes."""
        salt = b"A%\xc2G\xe4:\xb1\xe9<m\xffv"
        keys = {"sha1": derive("pencil", "sha1", 4096, salt)}
        text = f"==MULTI_SCRAM==,4096,===SHA1==={SHA1}"
        self.assertEqual(Credentials(4096, keys).to_text(), text)
        self.assertTrue(Credentials.from_text(text).verify("pencil"))

    def test_older_format(self) -> None:
        """The text of older versions, for SHA-1 alone, is read."""
        salt, stored, server = SHA1.split("|")
        text = f"==SCRAM==,{stored},{server},{salt},4096"
        self.assertTrue(Credentials.from_text(text).verify("pencil"))

    def test_unreadable(self) -> None:
        """Anything else is refused, without showing it."""
        for text in (
            "",
            "secret",
            "==MULTI_SCRAM==",
            "==MULTI_SCRAM==,8",
            "==MULTI_SCRAM==,x,==SHA256==AA==|AA==|AA==",
            "==MULTI_SCRAM==,8,==SHA256==AA==|AA==",
            "==MULTI_SCRAM==,8,==SHA256==*|AA==|AA==",
            "==MULTI_SCRAM==,8,==MD5==AA==|AA==|AA==",
            "==SCRAM==,AA==",
        ):
            self.assertRaises(ValueError, Credentials.from_text, text)
