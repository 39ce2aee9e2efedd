"""What one other node is told of the sessions of this one: all in portions, then the changes."""

from collections import deque
from collections.abc import Callable, Sequence
from typing import Final

from mongoosetw.cluster.sessions.changes import NUMBERED, Kind, opened, pack
from mongoosetw.cluster.sessions.copy import Copy
from mongoosetw.cluster.sessions.found import is_there
from mongoosetw.hooks.c2s import SessionLike

PORTION: Final = 500
"""Sessions that are told at once; the other node takes some milliseconds for them."""
AHEAD: Final = 4
"""Portions that may be on their way."""


class _Run:
    """Sessions that are told in portions, and what ends them."""

    __slots__ = ("kind", "name", "position", "sessions")

    def __init__(self, sessions: Sequence[SessionLike], kind: Kind, name: bytes = b"") -> None:
        self.sessions = sessions
        self.position = 0
        self.kind = kind
        self.name = name

    def portion(self) -> bytes:
        """The next sessions as they are now; those that are closed by now are left out."""
        some = self.sessions[self.position : self.position + PORTION]
        return b"".join(opened(s) for s in some if is_there(s))

    @property
    def done(self) -> bool:
        """Whether all were told."""
        return self.position >= len(self.sessions)


class Feed:
    """What a node is told over one link.

    :param send: queues a frame; False if there is no room for it.
    :param extend: adds a record to the frame that was queued last; False if that has left.
    :param copy: what has arrived from the other node.
    :ivar number: of the last frame that said something new.
    :ivar behind: there was no room for a change: all has to be told anew.
    """

    def __init__(
        self,
        send: Callable[[bytes], bool],
        extend: Callable[[bytes], bool],
        copy: Copy,
    ) -> None:
        self._send = send
        self._extend = extend
        self._copy = copy
        self._acknowledged = 0
        self._end = 0
        self._runs: deque[_Run] = deque()
        self._portions: deque[int] = deque()
        self._unseen: dict[SessionLike, int] = {}
        self._owing = False
        self._last: Kind | None = None
        self.number = 0
        self.told = 0
        self.behind = False

    # -- what is sent

    def _put(self, kind: Kind, body: bytes = b"") -> bool:
        number = self.number + (kind in NUMBERED)
        seen = self._copy.seen
        if not self._send(pack(kind, number, seen, body)):
            return False
        self.number = number
        self.told = seen
        self._last = kind
        return True

    def begin(self, sessions: Sequence[SessionLike]) -> None:
        """Tells all sessions, from the start."""
        self._runs.clear()
        self._unseen.clear()
        self.behind = not self._put(Kind.BEGIN)
        if not self.behind:
            self._runs.append(_Run(sessions, Kind.COMPLETE))

    def begin_domain(self, domain: str, sessions: Sequence[SessionLike]) -> None:
        """Tells those of a domain, which the node did not serve before."""
        self._runs.append(_Run(sessions, Kind.DOMAIN, domain.encode()))

    def tell(
        self, record: bytes, appeared: SessionLike | None = None, kind: Kind = Kind.CHANGES
    ) -> None:
        """Tells a change.

        :param appeared: the session, if the change makes it available.
        """
        if self.behind:
            return
        # Records share a frame if it says of both what had arrived
        joins = self._last is kind and self.told == self._copy.seen and self._extend(record)
        if not joins and not self._put(kind, record):
            self.behind = True
            self._runs.clear()
        elif appeared is not None:
            self._unseen.pop(appeared, None)
            self._unseen[appeared] = self.number

    def ask(self, domain: str = "") -> bool:
        """Asks for all sessions of the other node, or those of a domain."""
        return self._put(Kind.ASK, domain.encode())

    def acknowledge(self) -> None:
        """Tells how much has arrived; the other node may wait for that."""
        self._owing = not self._put(Kind.SEEN)

    @property
    def busy(self) -> bool:
        """Whether :meth:`pump` has something to do, now or later."""
        return self.behind or bool(self._runs) or self._owing

    def pump(self) -> None:
        """Tells the next portion, unless too many are on their way."""
        if self._owing:
            self.acknowledge()
        if not self._runs or len(self._portions) >= AHEAD:
            return
        run = self._runs[0]
        if not run.done:
            portion = run.portion()
            if portion and not self._put(Kind.PORTION, portion):
                return  # later
            run.position += PORTION
            self._portions.append(self.number)
        if run.done and self._put(run.kind, run.name):
            self._end = self.number
            self._runs.popleft()

    # -- what the other node has seen

    def seen(self, number: int) -> None:
        """The node has seen what was sent up to this number."""
        if number > self.number:
            return  # of an earlier link
        self._acknowledged = max(self._acknowledged, number)
        while self._portions and self._portions[0] <= number:
            self._portions.popleft()
        while self._unseen:
            session, told = next(iter(self._unseen.items()))  # in the order of their numbers
            if told > number:
                break
            del self._unseen[session]

    def has_seen(self, number: int) -> bool:
        """Whether the node is known to have seen a frame."""
        return self._acknowledged >= number

    @property
    def whole(self) -> bool:
        """Whether all sessions were told, also those that are on their way."""
        return not self.behind and not self._runs

    @property
    def settled(self) -> bool:
        """Whether the node knows all sessions but those of :meth:`missed`."""
        return self.whole and self._acknowledged >= self._end

    def missed(self) -> list[SessionLike]:
        """Sessions that are available and that the node did not know as such."""
        return list(self._unseen)

    def forget(self, session: SessionLike) -> None:
        """A session is not available any more."""
        self._unseen.pop(session, None)
