"""The hello of two nodes, message by message."""

import json

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from mongoosetw.cluster.hello import Agreed, Handshake, Refused
from tests.cluster.memory import member

SECRET = b"a secret of tests"


def pair(
    secret: bytes = SECRET, binding: bytes = b"", other: bytes = b""
) -> tuple[Handshake, Handshake]:
    """The two ends of a hello; ``secret`` and ``binding`` of the one that was called."""
    caller = Handshake(member("a", 0), SECRET, lambda node: None, calling=True, binding=other)
    called = Handshake(member("b", 1), secret, lambda node: None, calling=False, binding=binding)
    return caller, called


def talk(caller: Handshake, called: Handshake) -> tuple[Agreed | None, Agreed | None]:
    """Lets both speak until they are done."""
    data, done = caller.start(), None
    while data or done is None:
        answer, there = called.receive(data)
        if there is not None:
            return done, there
        data, done = caller.receive(answer)
    return done, None


class HandshakeTests(SynchronousTestCase):
    """Two nodes introduce themselves."""

    def test_both_learn_of_each_other(self) -> None:
        """Each end knows the other's name and the version of the link."""
        caller, called = talk(*pair())
        assert caller is not None and called is not None
        self.assertEqual((caller.member, called.member), (member("b", 1), member("a", 0)))
        self.assertEqual((caller.version, called.version), (1, 1))

    def test_byte_by_byte(self) -> None:
        """Messages may arrive in any pieces, and what follows the last one is kept."""
        caller, called = pair()
        hello, _ = called.receive(caller.start())
        proof, _ = caller.receive(hello)
        welcome = b"".join(called.receive(bytes([byte]))[0] for byte in proof)
        ready, _ = caller.receive(welcome)
        _, agreed = called.receive(ready + b"PB")
        assert agreed is not None
        self.assertEqual(agreed.rest, b"PB")

    def test_secret_is_checked_first_by_the_called(self) -> None:
        """Who calls without the secret gets no proof of it to try guesses on."""
        caller, called = pair(secret=b"another")
        hello, _ = called.receive(caller.start())
        proof, _ = caller.receive(hello)
        refused = self.assertRaises(Refused, called.receive, proof)
        self.assertEqual(str(refused), "wrong secret")
        self.assertNotIn(b"proof", refused.tell)
        told = self.assertRaises(Refused, caller.receive, refused.tell)
        self.assertEqual(str(told), "the other node says: wrong secret")

    def test_secret_is_checked_by_the_caller(self) -> None:
        """Who answers without the secret is refused, too: its proof may not be an echo."""
        caller, called = pair()
        hello, _ = called.receive(caller.start())
        proof, _ = caller.receive(hello)
        self.assertRaises(Refused, caller.receive, proof)

    def test_another_tls_session(self) -> None:
        """Who passes messages on between two TLS sessions is refused."""
        with self.assertRaises(Refused):
            talk(*pair(binding=b"one session", other=b"another session"))

    def test_changed_version(self) -> None:
        """Nobody in between can talk two nodes into an older version."""
        caller, called = pair()
        first = caller.start().replace(b"[1, 1]", b"[0, 1]")
        hello, _ = called.receive(first)
        proof, _ = caller.receive(hello)
        self.assertRaises(Refused, called.receive, proof)

    def test_objection(self) -> None:
        """The mesh may refuse a node that has proven itself."""
        caller, _ = pair()
        called = Handshake(
            member("b", 1), SECRET, lambda node: Refused("not you"), calling=False
        )
        with self.assertRaises(Refused) as raised:
            talk(caller, called)
        self.assertEqual(str(raised.exception), "not you")

    @given(st.binary(max_size=64))
    def test_nonsense(self, data: bytes) -> None:
        """Whatever arrives is refused or waited for; nothing else happens."""
        _, called = pair()
        try:
            self.assertEqual(called.receive(data)[1], None)
        except Refused:
            pass

    @given(st.recursive(st.none() | st.integers() | st.text(), st.lists) | st.none())
    def test_nonsense_in_json(self, value: object) -> None:
        """A message of the wrong form is refused at any step."""
        for key in ("hello", "identity", "ready", "refused"):
            data = json.dumps({key: value, "proof": value}).encode()
            _, called = pair()
            with self.assertRaises(Refused):
                called.receive(len(data).to_bytes(2, "big") + data)

    def test_long_message(self) -> None:
        """A stranger cannot make a node keep more than a message's bytes."""
        _, called = pair()
        with self.assertRaises(Refused):
            called.receive(b"\xff\xff")
