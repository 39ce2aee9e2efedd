"""Questions to the other nodes: how many sessions they have, and whose, if Redis is away."""

import logging
from collections.abc import Callable, Iterable, Sequence
from typing import Final

from twisted.internet.defer import Deferred, DeferredList, FirstError, gatherResults

from mongoosetw.cluster.mesh import Node
from mongoosetw.cluster.sessions.calls import CallFailed, Calls
from mongoosetw.cluster.sessions.changes import BadFrame, Opened, opened, records
from mongoosetw.cluster.sessions.redis_others import Others
from mongoosetw.cluster.sessions.redis_store import AT_ONCE
from mongoosetw.cluster.sessions.redis_upkeep import AGAIN, Tasks
from mongoosetw.cluster.sessions.remote import RemoteSession
from mongoosetw.hooks.c2s import SessionLike
from mongoosetw.storage.redis import RedisUnavailable
from mongoosetw.xmpp.jid import JID

logger = logging.getLogger(__name__)
CALL: Final = "sessions"
"""The question which sessions users have."""
COUNT: Final = "session-count"
"""The question how many sessions of a domain a node has."""
ASK_TIMEOUT: Final = 2.0

Found = Callable[[Iterable[RemoteSession]], object]


class Asking:
    """Asks, and answers. A node that does not answer is asked again, later.

    :param follows: whether the sessions of a user are to be known.
    :param own: the sessions of a user on this node.
    :param count: how many sessions of a domain this node has.
    :param found: told of sessions that should have been known before.
    """

    def __init__(
        self,
        calls: Calls,
        tasks: Tasks,
        others: Others,
        follows: Callable[[JID], bool],
        own: Callable[[JID], Sequence[SessionLike]],
        count: Callable[[str], int],
        found: Found,
    ) -> None:
        self._calls = calls
        self._tasks = tasks
        self._others = others
        self._follows = follows
        self._own = own
        self._found = found
        self._unanswered: dict[str, set[JID]] = {}
        calls.serve(CALL, self._answer)
        calls.serve(COUNT, lambda node, question: b"%d" % count(question.decode()))

    async def count(self, domain: str) -> int:
        """How many sessions of a domain the other nodes have.

        :raises RedisUnavailable: one does not answer.
        """
        question, nodes = domain.encode(), list(self._others.peers)
        answers = [self._calls.call(node, COUNT, question, ASK_TIMEOUT) for node in nodes]
        try:
            return sum(map(int, await gatherResults(answers)))
        except FirstError as error:
            raise RedisUnavailable(str(error.subFailure.value)) from None

    def is_unanswered(self, node: str, user: JID) -> bool:
        """Whether a node has yet to say which sessions a user has there."""
        return user in self._unanswered.get(node, ())

    async def ask_all(self, users: Sequence[JID]) -> None:
        """Asks all nodes."""
        nodes = list(self._others.peers)
        await DeferredList([Deferred.fromCoroutine(self.ask(node, users)) for node in nodes])

    async def ask(
        self, node: str, users: Sequence[JID], found: Found = lambda sessions: None
    ) -> None:
        """Asks a node.

        :param found: told of the available sessions there are, be they known or not.
        """
        for start in range(0, len(users), AT_ONCE):
            some = users[start : start + AT_ONCE]
            try:
                answer = await self._calls.call(node, CALL, _question(some), ASK_TIMEOUT)
                told = [r for r in records(answer) if isinstance(r, Opened)]
            except (CallFailed, BadFrame) as error:
                logger.warning("sessions_not_asked peer=%s reason=%s", node, error)
                self._postpone(node, users[start:])
                return
            self._unanswered.get(node, set()).difference_update(some)
            taken = [self._others.answered(node, record) for record in told]
            found(filter(None, taken))

    def _postpone(self, node: str, users: Sequence[JID]) -> None:
        if node in self._others.peers:
            self._unanswered.setdefault(node, set()).update(users)
            self._tasks.later(AGAIN, self._ask_later, node, users)

    def _ask_later(self, node: str, users: Sequence[JID]) -> None:
        left = [user for user in users if self._follows(user) and self.is_unanswered(node, user)]
        if node in self._others.peers and left:
            self._tasks.run(self.ask(node, left, self._found))

    def forget(self, node: str) -> None:
        """A link is down: when there is a new one all is read anew."""
        self._unanswered.pop(node, None)

    def _answer(self, node: Node, question: bytes) -> bytes:
        """Another node asks."""
        users = map(JID.parse, question.decode().split("\n"))
        return b"".join(opened(session) for user in users for session in self._own(user))


def _question(users: Sequence[JID]) -> bytes:
    return "\n".join(map(str, users)).encode()
