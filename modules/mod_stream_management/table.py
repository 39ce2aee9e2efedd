"""Which session a client may resume, and what is left of those that are over."""

import secrets
from typing import Final, Protocol

from modules.mod_stream_management.ledger import SessionLedger
from mongoosetw.xmpp.jid import JID

_STALE_LIMIT: Final = 100_000


def new_resume_id(sid: int) -> str:
    """An id that nobody can guess; in front of the dash it carries the session's own (hex).

    A session's id tells which node made it, in its lowest eight bits (see ``mongoosetw.ids``).
    """
    return f"{sid:x}-{secrets.token_urlsafe(18)}"


class ResumptionTable(Protocol):
    """Finds the session of a resumption id."""

    def add(self, ledger: SessionLedger) -> None:
        """Notes the session of a ledger under its resumption id."""

    def find(self, resume_id: str) -> SessionLedger | None:
        """The ledger that is noted under an id."""

    def remove(self, ledger: SessionLedger) -> None:
        """Forgets a session; harmless when it is not there."""


class MemoryTable:
    """The sessions of this node."""

    def __init__(self) -> None:
        self._ledgers: dict[str, SessionLedger] = {}

    def add(self, ledger: SessionLedger) -> None:
        """Notes the session of a ledger under its resumption id."""
        self._ledgers[ledger.resume_id] = ledger

    def find(self, resume_id: str) -> SessionLedger | None:
        """The ledger that is noted under an id."""
        return self._ledgers.get(resume_id)

    def remove(self, ledger: SessionLedger) -> None:
        """Forgets a session; harmless when it is not there."""
        self._ledgers.pop(ledger.resume_id, None)


class StaleCounts:
    """How many stanzas were handled of sessions that are over (XEP-0198 §5)."""

    def __init__(self) -> None:
        self._counts: dict[str, tuple[JID, int, float]] = {}  # oldest first

    def remember(self, resume_id: str, user: JID, h: int, now: float) -> None:
        """Notes a count; the oldest makes room when there are too many."""
        if len(self._counts) >= _STALE_LIMIT:
            del self._counts[next(iter(self._counts))]
        self._counts[resume_id] = (user, h, now)

    def recall(self, resume_id: str, user: JID) -> int | None:
        """The count of a session, if it was this user's and is remembered."""
        owner, h, _ = self._counts.get(resume_id, (None, 0, 0.0))
        return h if owner == user else None

    def forget_before(self, horizon: float) -> None:
        """Forgets the counts that were noted before a time."""
        self._counts = {key: value for key, value in self._counts.items() if value[2] >= horizon}
