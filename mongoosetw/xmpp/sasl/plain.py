"""SASL PLAIN (RFC 4616)."""

from mongoosetw.xmpp.jid import JID
from mongoosetw.xmpp.sasl.mechanism import Mechanism, authorization, local_name, malformed
from mongoosetw.xmpp.sasl.steps import Challenge, Failure, NeedPassword, Step, Success

__all__ = ["Plain"]


class Plain(Mechanism):
    """The client sends its password; refused on an unprotected stream unless configured."""

    name = "PLAIN"
    _username = ""
    _authzid: JID | None = None

    def respond(self, data: bytes | None) -> Step:
        """Takes authorisation identity, user and password (RFC 4616 §2)."""
        # RFC 6120 §13.8.3: never ask for a password in the clear.
        if not (self.context.secure or self.context.allow_plain_without_tls):
            return Failure("encryption-required", "PLAIN needs TLS")
        if data is None:
            return Challenge(b"")
        if self._username:
            return malformed("the password was sent already")
        return self._parse(data)

    def _parse(self, data: bytes) -> Step:
        # RFC 4616 §2: message = [authzid] UTF8NUL authcid UTF8NUL passwd
        try:
            authzid, authcid, password = data.decode().split("\0")
        except ValueError:
            return malformed("a PLAIN message is authzid NUL authcid NUL password")
        if not authcid or not password:
            return malformed("user name and password must not be empty")
        username = local_name(authcid, self.context.domain)
        if username is None:
            return Failure("not-authorized", "the user name or the password is wrong")
        return self._ask(username, authzid, password)

    def _ask(self, username: str, authzid: str, password: str) -> Step:
        if authzid:
            granted = authorization(authzid, username, self.context.domain)
            if isinstance(granted, Failure):
                return granted
            self._authzid = granted
        self._username = username
        return NeedPassword(username, password)

    def supply_verdict(self, ok: bool) -> Step:
        """Ends the exchange, as the password was right or not."""
        if not self._username:
            return malformed("a verdict was not asked for")
        if not ok:
            return Failure("not-authorized", "the user name or the password is wrong")
        return Success(self._username, self._authzid)
