"""SASL EXTERNAL with client certificates (RFC 4422 appendix A, XEP-0178)."""

from mongoosetw.xmpp.jid import JID, InvalidJID
from mongoosetw.xmpp.sasl.mechanism import Mechanism, malformed
from mongoosetw.xmpp.sasl.steps import Challenge, Failure, Step, Success
from mongoosetw.xmpp.xep import XEP

__all__ = ["External"]

XEPS = (XEP(178, "1.2"),)


class External(Mechanism):
    """The client is one of the addresses that its certificate names.

    Whether the account exists is for the driver to check.
    """

    name = "EXTERNAL"

    def respond(self, data: bytes | None) -> Step:
        if data is None:
            return Challenge(b"")
        try:
            text = data.decode()
        except UnicodeDecodeError:
            return malformed("the authorization identity is not UTF-8")
        return self._named(text) if text else self._only()

    def _own(self) -> list[JID]:
        """The certificate's accounts on this domain, each once."""
        found = (jid.bare for jid in self.context.certificate_jids)
        return list(dict.fromkeys(j for j in found if j.local and j.domain == self.context.domain))

    def _named(self, text: str) -> Step:
        # RFC 6120 §6.5.6
        try:
            wanted = JID.parse(text)
        except InvalidJID:
            return Failure("invalid-authzid", "the authorization identity is no XMPP address")
        own = self._own() if self.context.secure else []
        if not own:
            return Failure("not-authorized", "the certificate names no account of this domain")
        if wanted.local is None or wanted not in own:
            return Failure("invalid-authzid", "the certificate does not name this account")
        return Success(wanted.local, wanted)

    def _only(self) -> Step:
        # XEP-0178 §2: without an authorization identity the certificate must name one account.
        own = self._own() if self.context.secure else []
        if not own:
            return Failure("not-authorized", "the certificate names no account of this domain")
        if len(own) > 1 or own[0].local is None:
            return Failure("invalid-authzid", "the certificate names several accounts: choose one")
        return Success(own[0].local)
