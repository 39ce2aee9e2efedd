"""What a SASL mechanism asks its driver to do next."""

from dataclasses import dataclass

from mongoosetw.xmpp.jid import JID

__all__ = ["Challenge", "Failure", "NeedKeys", "NeedPassword", "Step", "Success"]


@dataclass(frozen=True, slots=True)
class Challenge:
    """Send `data` (not yet base64) as a challenge and wait for the response (RFC 6120 §6.4.3)."""

    data: bytes


@dataclass(frozen=True, slots=True)
class Success:
    """The client is `username` of the domain; `data`, if not None, goes with the success."""

    username: str
    authzid: JID | None = None
    data: bytes | None = None


@dataclass(frozen=True, slots=True)
class Failure:
    """The exchange failed with a `condition` of RFC 6120 §6.5; `text` is for people."""

    condition: str
    text: str = ""


@dataclass(frozen=True, slots=True)
class NeedKeys:
    """Look up the SCRAM keys of `username` for `hash_name`, then call ``supply_keys``."""

    username: str
    hash_name: str


@dataclass(frozen=True, slots=True)
class NeedPassword:
    """Check `password` for `username`, then call ``supply_verdict``."""

    username: str
    password: str

    def __repr__(self) -> str:
        # The password must never reach a log or a traceback.
        return f"NeedPassword(username={self.username!r})"


Step = Challenge | Success | Failure | NeedKeys | NeedPassword
"""Any of the answers of a mechanism."""
