"""SASL ANONYMOUS (RFC 4505, XEP-0175)."""

import hashlib

from mongoosetw.xmpp.sasl.mechanism import Mechanism
from mongoosetw.xmpp.sasl.steps import Step, Success
from mongoosetw.xmpp.xep import XEP

__all__ = ["Anonymous"]

XEPS = (XEP(175, "1.2"),)


class Anonymous(Mechanism):
    """The client gets a temporary account with an unpredictable name."""

    name = "ANONYMOUS"

    def respond(self, data: bytes | None) -> Step:
        """Succeeds at once, whatever the client says of itself."""
        # XEP-0175 §2: the server ignores the trace data and chooses the localpart. RFC 4505 §2 lets
        # the client leave the data out, so that no empty challenge is needed.
        return Success(hashlib.sha256(self.context.nonce().encode()).hexdigest()[:24])
