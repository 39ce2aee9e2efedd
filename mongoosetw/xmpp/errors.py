"""The errors that RFC 6120 names: of a stanza (§8.3.3) and of a stream (§4.9.3)."""

from typing import Final

# RFC 6120 §8.3.3: the error type that goes with each defined condition.
STANZA_ERROR_TYPES: Final[dict[str, str]] = {
    "bad-request": "modify",
    "conflict": "cancel",
    "feature-not-implemented": "cancel",
    "forbidden": "auth",
    "gone": "cancel",
    "internal-server-error": "cancel",
    "item-not-found": "cancel",
    "jid-malformed": "modify",
    "not-acceptable": "modify",
    "not-allowed": "cancel",
    "not-authorized": "auth",
    "payment-required": "auth",
    "policy-violation": "modify",
    "recipient-unavailable": "wait",
    "redirect": "modify",
    "registration-required": "auth",
    "remote-server-not-found": "cancel",
    "remote-server-timeout": "wait",
    "resource-constraint": "wait",
    "service-unavailable": "cancel",
    "subscription-required": "auth",
    "undefined-condition": "cancel",
    "unexpected-request": "wait",
}

STREAM_CONDITIONS: Final = frozenset(
    {
        "bad-format",
        "bad-namespace-prefix",
        "conflict",
        "connection-timeout",
        "host-gone",
        "host-unknown",
        "improper-addressing",
        "internal-server-error",
        "invalid-from",
        "invalid-namespace",
        "invalid-xml",
        "not-authorized",
        "not-well-formed",
        "policy-violation",
        "remote-connection-failed",
        "reset",
        "resource-constraint",
        "restricted-xml",
        "see-other-host",
        "system-shutdown",
        "undefined-condition",
        "unsupported-encoding",
        "unsupported-feature",
        "unsupported-stanza-type",
        "unsupported-version",
    }
)


class StanzaError(Exception):
    """A stanza is refused; the sender gets an error stanza (RFC 6120 §8.3).

    :param condition: a defined condition of RFC 6120 §8.3.3.
    :param type: ``auth``, ``cancel``, ``continue``, ``modify`` or ``wait``; by default the
        condition's usual type.
    :param text: an explanation for people.
    :param app: an application-specific condition, as serialised XML.
    """

    def __init__(
        self, condition: str, type: str | None = None, text: str | None = None, *, app: bytes = b""
    ) -> None:
        super().__init__(condition)
        self.condition = condition
        self.type = type or STANZA_ERROR_TYPES[condition]
        self.text = text
        self.app = app


class BackendUnavailable(Exception):
    """What ours relies on, such as its database, is away and may be back soon.

    Whoever noticed has logged it; a stanza that needed it is answered by
    ``internal-server-error`` of type ``wait``.
    """


def stanza_error(error: Exception) -> StanzaError:
    """The error that a stanza gets when handling it raised this."""
    if isinstance(error, StanzaError):
        return error
    return StanzaError("internal-server-error", "wait")


class StreamError(Exception):
    """The stream cannot go on; the peer gets ``<stream:error/>`` and the stream is closed.

    :param condition: a defined condition of RFC 6120 §4.9.3.
    :param text: an explanation for people.
    :param app: an application-specific condition, as serialised XML (§4.9.4).
    :param content: of the condition: where to go instead, of ``see-other-host`` (§4.9.3.19).
    """

    def __init__(
        self, condition: str, text: str | None = None, *, app: bytes = b"", content: str = ""
    ) -> None:
        assert condition in STREAM_CONDITIONS, condition
        super().__init__(condition)
        self.condition = condition
        self.text = text
        self.app = app
        self.content = content
