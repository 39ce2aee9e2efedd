"""What one other node has told of its sessions."""

from mongoosetw.cluster.sessions.remote import RemoteSession


class Copy:
    """The sessions of a node, as far as they are known.

    :ivar seen: how many frames that say something new have arrived on the link.
    :ivar begun: whether what arrives follows on something; else all has to be asked for anew.
    :ivar complete: whether all sessions are known.
    :ivar awaited: domains that are served here since a moment ago, and were asked for.
    :ivar sessions: by sid, also those that have lost their address to another one.
    """

    def __init__(self) -> None:
        self.seen = 0
        self.begun = False
        self.complete = False
        self.awaited: set[str] = set()
        self.sessions: dict[int, RemoteSession] = {}
        self._stale: set[int] = set()

    def begin(self, number: int) -> None:
        """All sessions are told from the start; those that are not told again are gone."""
        self.seen = number
        self.begun = True
        self.complete = False
        self.awaited.clear()
        self._stale = set(self.sessions)

    def follows(self, number: int) -> bool:
        """Whether a frame is the next one."""
        if not self.begun or number != self.seen + 1:
            self.begun = False
            return False
        self.seen = number
        return True

    def find(self, sid: int) -> RemoteSession | None:
        """A known session, which was told again."""
        if self._stale:
            self._stale.discard(sid)
        return self.sessions.get(sid)

    def end(self) -> list[RemoteSession]:
        """All were told.

        :returns: those that are gone.
        """
        self.complete = True
        stale, self._stale = self._stale, set()
        return [self.sessions.pop(sid) for sid in stale if sid in self.sessions]
