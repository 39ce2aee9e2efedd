"""SASL messages of every kind: a mechanism answers them, it never raises."""

import re

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from mongoosetw.xmpp.jid import JID
from mongoosetw.xmpp.sasl import (
    DEFAULT_MECHANISMS,
    Challenge,
    Failure,
    Mechanism,
    NeedKeys,
    NeedPassword,
    SaslContext,
    ScramKeys,
    Step,
    Success,
    create,
)

CONTEXT = SaslContext(
    "example.com",
    secure=True,
    bindings={"tls-exporter": lambda: b"exporter", "tls-server-end-point": lambda: b"end point"},
    certificate_jids=(JID.parse("romeo@example.com"),),
    nonce=lambda: "server",
)
KEYS = ScramKeys(b"salt", 4096, b"k" * 20, b"s" * 20)
MECHANISMS = st.sampled_from([*DEFAULT_MECHANISMS, "EXTERNAL"])
PIECES = st.sampled_from(
    "n,, y,, p=tls-exporter,, p=tls-server-end-point,, p=,, n,a=romeo@example.com, n= n=romeo "
    "n==2C ,r= ,r=nonce r=nonceserver c=biws, c=!!, ,p=AAAA ,p= ,m=x \0 \0romeo\0pw @ / = , é ١ "
    "romeo@example.com romeo@other juliet@example.com \ud7ff".split(" ")
).map(str.encode)
MESSAGES = st.one_of(
    st.none(),
    st.binary(max_size=40),
    st.text(max_size=40).map(lambda text: text.encode("utf-8", "surrogatepass")),
    st.lists(PIECES, max_size=6).map(b"".join),
)


def answer(mechanism: Mechanism, data: bytes | None, known: bool) -> Step:
    """What a mechanism answers in the end, its questions answered."""
    step = mechanism.respond(data)
    while isinstance(step, NeedKeys | NeedPassword):
        if isinstance(step, NeedKeys):
            step = mechanism.supply_keys(KEYS if known else None)
        else:
            step = mechanism.supply_verdict(known)
    return step


class AnyMessageTests(SynchronousTestCase):
    """Exchanges of messages that make sense or do not."""

    @settings(max_examples=200)
    @given(MECHANISMS, st.lists(MESSAGES, min_size=1, max_size=3), st.booleans())
    def test_answered(self, name: str, messages: list[bytes | None], known: bool) -> None:
        """Each message is answered; nobody gets in who has proven nothing."""
        mechanism = create(name, CONTEXT)
        for message in messages:
            step = answer(mechanism, message, known)
            if isinstance(step, Challenge):
                continue
            if isinstance(step, Failure):
                self.assertTrue(re.fullmatch("[a-z-]+", step.condition))
            if isinstance(step, Success):
                self.assertFalse(name.startswith("SCRAM"))
                self.assertTrue(known or name in ("ANONYMOUS", "EXTERNAL"))
                self.assertIsNotNone(JID.of(step.username, "example.com"))
            break
