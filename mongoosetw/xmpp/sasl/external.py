"""SASL EXTERNAL with client certificates (RFC 4422 appendix A, XEP-0178)."""

from mongoosetw.xmpp.jid import JID, InvalidJID
from mongoosetw.xmpp.sasl.mechanism import Mechanism, SaslContext, malformed
from mongoosetw.xmpp.sasl.steps import Challenge, Failure, Step, Success
from mongoosetw.xmpp.xep import XEP

__all__ = ["External", "certified_accounts"]

XEPS = (XEP(178, "1.2"),)


class External(Mechanism):
    """The client is one of the addresses that its certificate names.

    Whether the account exists is for the driver to check.
    """

    name = "EXTERNAL"

    def respond(self, data: bytes | None) -> Step:
        """Takes the authorisation identity, or none where the certificate has one address."""
        if data is None:
            return Challenge(b"")
        try:
            text = data.decode()
        except UnicodeDecodeError:
            return malformed("the authorization identity is not UTF-8")
        return self._named(text) if text else self._only()

    def _named(self, text: str) -> Step:
        # RFC 6120 §6.5.6
        try:
            wanted = JID.parse(text)
        except InvalidJID:
            return Failure("invalid-authzid", "the authorization identity is no XMPP address")
        own = certified_accounts(self.context)
        if not own:
            return Failure("not-authorized", "the certificate names no account of this domain")
        if wanted.local is None or wanted not in own:
            return Failure("invalid-authzid", "the certificate does not name this account")
        return Success(wanted.local, wanted)

    def _only(self) -> Step:
        # XEP-0178 §2: without an authorization identity the certificate must name one account.
        own = _by_address(self.context)
        if len(own) != 1:
            own = _by_common_name(self.context) or own
        if not own:
            return Failure("not-authorized", "the certificate names no account of this domain")
        if len(own) > 1 or own[0].local is None:
            return Failure("invalid-authzid", "the certificate names several accounts: choose one")
        return Success(own[0].local)


def certified_accounts(context: SaslContext) -> list[JID]:
    """The accounts of the domain that the client's certificate names, each once."""
    return list(dict.fromkeys([*_by_address(context), *_by_common_name(context)]))


def _by_address(context: SaslContext) -> list[JID]:
    found = (jid.bare for jid in context.certificate_jids)
    return list(dict.fromkeys(jid for jid in found if _is_account(jid, context)))


def _by_common_name(context: SaslContext) -> list[JID]:
    """A common name is an address, or the name of a user of the domain."""
    name = context.common_name
    if not name:
        return []
    try:
        jid = JID.parse(name) if "@" in name else JID.of(name, context.domain)
    except InvalidJID:
        return []
    return [jid.bare] if _is_account(jid, context) else []


def _is_account(jid: JID, context: SaslContext) -> bool:
    return context.secure and jid.local is not None and jid.domain == context.domain
