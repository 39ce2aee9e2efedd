"""The hook bus: typed events, ordered handlers, registered and released by owner.

A hook is a slots dataclass: its fields are the arguments and the accumulator. Handlers run
by priority, lowest first, and answer ``None`` (go on) or :data:`STOP`.
"""

import inspect
import logging
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass
from enum import Enum, IntEnum
from typing import Any, ClassVar, Final, Literal, TypeVar, cast

from twisted.internet.defer import CancelledError, Deferred

from mongoosetw.xmpp.errors import BackendUnavailable, StanzaError, StreamError

logger = logging.getLogger(__name__)


class Stop(Enum):
    """The type of :data:`STOP`."""

    STOP = "stop"


STOP: Final = Stop.STOP
"""Answered by a handler that ends the chain."""

Outcome = Literal[Stop.STOP] | None


class Order(IntEnum):
    """Named priorities; MongooseIM's numbers, so that its documentation carries over."""

    FIRST = 1
    CHECK = 10
    EARLY = 20
    CHANGE = 40
    DEFAULT = 50
    STORE = 60
    INBOX = 70
    COPY = 89
    LATE = 90
    LAST = 100


@dataclass(slots=True)
class Hook:
    """Something that happens, which modules may see, change or stop.

    :cvar may_wait: coroutine handlers are accepted.
    :cvar fails_closed: a handler that raises ends the chain with an error (checks and
        filters); otherwise the chain goes on without it (notifications).
    :cvar repeatable: handlers may be called again, and one whose backend is away ends the chain
        with that: whoever has fired the hook does it again later.
    :cvar mongooseim: what MongooseIM calls it, where it has the like.
    """

    may_wait: ClassVar[bool] = False
    fails_closed: ClassVar[bool] = False
    repeatable: ClassVar[bool] = False
    mongooseim: ClassVar[str] = ""


H = TypeVar("H", bound=Hook)
Handler = Callable[[Any], Outcome | Awaitable[Outcome]]


class HookFailed(Exception):
    """A handler of a hook that fails closed has raised; already logged with its owner."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One registered handler."""

    priority: int
    owner: str
    call: Handler


class HookBus:
    """The handlers of one host, or the global ones.

    Changes become visible together, by :meth:`publish`; a chain that runs meanwhile goes
    on with the handlers it began with.

    :param published: called when changes have become visible.
    """

    def __init__(self, published: Callable[[], object] = lambda: None) -> None:
        self._published = published
        self._registered: dict[type[Hook], list[Entry]] = {}
        self._chains: dict[type[Hook], tuple[Entry, ...]] = {}

    def add(self, hook: type[H], priority: int, owner: str, call: Callable[[H], Any]) -> None:
        """Registers a handler. Where the hook may wait, it may be ``async def``.

        A plain function may also return an awaitable when it has to wait, and an outcome at
        once when it has not: the chain then runs without a coroutine.

        :raises TypeError: a coroutine handler for a hook that may not wait.
        """
        if inspect.iscoroutinefunction(call) and not hook.may_wait:
            raise TypeError(f"{hook.__name__} may not wait, but {call!r} is a coroutine function")
        entries = self._registered.setdefault(hook, [])
        entries.append(Entry(int(priority), owner, call))
        entries.sort(key=lambda entry: entry.priority)

    def remove_owner(self, owner: str) -> None:
        """Removes all handlers of a module."""
        for entries in self._registered.values():
            entries[:] = [entry for entry in entries if entry.owner != owner]

    def publish(self) -> None:
        """Makes what was added and removed take effect, in one step."""
        registered = self._registered.items()
        self._chains = {hook: tuple(entries) for hook, entries in registered if entries}
        self._published()

    def handled(self, hook: type[Hook]) -> bool:
        """Whether anybody handles this hook; ask before building a costly event."""
        return hook in self._chains

    def describe(self) -> list[dict[str, object]]:
        """All handlers in their order, for ``mongoosectl hooks``."""
        return [
            {
                "hook": hook.__name__,
                "priority": entry.priority,
                "owner": entry.owner,
                "handler": getattr(entry.call, "__qualname__", repr(entry.call)),
                "doc": _first_line(entry.call),
            }
            for hook, chain in sorted(self._chains.items(), key=lambda item: item[0].__name__)
            for entry in chain
        ]

    def fire(self, event: Hook) -> Deferred[Outcome] | Outcome:
        """Runs the chain; a Deferred only if a handler really has to wait.

        :raises StanzaError: a handler refused the stanza.
        :raises HookFailed: a handler failed, and the hook fails closed.
        :raises BackendUnavailable: a handler could not do its part, and the hook is repeatable.
        """
        chain = self._chains.get(type(event))
        if chain is None:
            return None
        for entry in chain:
            try:
                outcome = entry.call(event)
            except (StanzaError, StreamError):
                raise
            except Exception as error:  # boundary: a module's fault stays the module's
                outcome = _failed(event, entry, error)
            if outcome is None:
                continue
            if outcome is STOP:
                return STOP
            return begin(_wait(event, chain, entry, outcome))
        return None

    async def run(self, event: Hook) -> Outcome:
        """Runs the chain, waiting where handlers wait; raises as :meth:`fire` does."""
        outcome = self.fire(event)
        return await outcome if isinstance(outcome, Deferred) else outcome


def _first_line(thing: object) -> str:
    return (inspect.getdoc(thing) or "").partition("\n")[0]


async def _wait(
    event: Hook, chain: tuple[Entry, ...], waiting: Entry, awaited: Awaitable[Outcome]
) -> Outcome:
    """Goes on with a chain at the handler that has to wait."""
    outcome = await _awaited(event, waiting, awaited)
    position = next(i for i, entry in enumerate(chain) if entry is waiting)
    for entry in chain[position + 1 :]:
        if outcome is STOP:
            break
        try:
            answer = entry.call(event)
        except (StanzaError, StreamError):
            raise
        except Exception as error:  # boundary: a module's fault stays the module's
            answer = _failed(event, entry, error)
        if answer is None or answer is STOP:
            outcome = answer
        else:
            outcome = await _awaited(event, entry, answer)
    return outcome


async def _awaited(event: Hook, entry: Entry, awaited: Awaitable[Outcome]) -> Outcome:
    try:
        return await awaited
    except (StanzaError, StreamError, CancelledError):
        raise
    except Exception as error:  # boundary: a module's fault stays the module's
        return _failed(event, entry, error)


def _failed(event: Hook, entry: Entry, error: Exception) -> Outcome:
    name = type(event).__name__
    if isinstance(error, BackendUnavailable):
        logger.info("hook_without_backend hook=%s owner=%s reason=%s", name, entry.owner, error)
        if event.repeatable:
            raise error
    else:
        logger.error("hook_failed hook=%s owner=%s", name, entry.owner, exc_info=error)
    if event.fails_closed:
        raise HookFailed(f"{name} {entry.owner}") from error
    return None


T = TypeVar("T")


def begin(coroutine: Coroutine[Any, Any, T]) -> "Deferred[T] | T":
    """Starts a coroutine at once; its result if it did not wait, else a Deferred of it.

    Much cheaper than ``Deferred.fromCoroutine`` for a coroutine that mostly does not wait.
    """
    try:
        waited = coroutine.send(None)
    except StopIteration as stop:
        return cast(T, stop.value)
    return Deferred.fromCoroutine(_resume(coroutine, cast("Deferred[Any]", waited)))


def started(coroutine: Coroutine[Any, Any, None]) -> "Deferred[None] | None":
    """Starts a coroutine at once; a Deferred if it has to wait."""
    outcome = begin(coroutine)
    return outcome if isinstance(outcome, Deferred) else None


async def _resume(coroutine: Coroutine[Any, Any, T], waited: "Deferred[Any]") -> T:
    """Goes on with a coroutine that was started by hand."""
    while True:
        try:
            value = await waited
        except GeneratorExit:  # nobody waits any more, for this nor for that
            coroutine.close()
            raise
        except BaseException as error:  # handed on to where it belongs, and raised there
            try:
                waited = coroutine.throw(error)
            except StopIteration as stop:
                return cast(T, stop.value)
        else:
            try:
                waited = coroutine.send(value)
            except StopIteration as stop:
                return cast(T, stop.value)
