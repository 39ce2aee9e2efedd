"""Doubles that the tests of accounts share."""

from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from mongoosetw.auth.cache import AccountCache
from mongoosetw.auth.keys import KeyPolicy
from mongoosetw.auth.memory import MemoryBackend
from mongoosetw.auth.stored import Secret, run_in_place
from mongoosetw.xmpp.jid import JID

T = TypeVar("T")

ROMEO = JID.parse("romeo@example.com")
JULIET = JID.parse("juliet@example.com")
QUICK = KeyPolicy(iterations=8)


class CountingBackend(MemoryBackend):
    """Accounts in memory that count how often rows are read, and may let others run meanwhile."""

    def __init__(self, policy: KeyPolicy = QUICK, **named: Any) -> None:
        super().__init__(policy, run_in_thread=run_in_place, **named)
        self.loads = 0
        self.while_loading: Callable[[], None] = lambda: None

    async def load(self, user: JID) -> Secret | None:
        """The row, after which `while_loading` has run."""
        self.loads += 1
        secret = await super().load(user)
        self.while_loading()
        return secret


def backend(seconds: Callable[[], float] = lambda: 0.0, **named: Any) -> CountingBackend:
    """A back end with quick keys, on a clock of the test."""
    return CountingBackend(cache=AccountCache(seconds=seconds), **named)


class AsyncTestCase(SynchronousTestCase):
    """Runs coroutines that never really wait."""

    def done(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """The coroutine's result."""
        result: T = self.successResultOf(Deferred.fromCoroutine(coroutine))
        return result

    def raises(self, kind: type[Exception], coroutine: Coroutine[Any, Any, Any]) -> Exception:
        """The exception of this kind that the coroutine raises."""
        error = self.failureResultOf(Deferred.fromCoroutine(coroutine), kind).value
        assert isinstance(error, kind)
        return error
