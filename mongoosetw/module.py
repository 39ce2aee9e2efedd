"""Modules: what a feature declares on its class, and what the core gives its instance.

Everything declared is registered by the core when the module starts and released with it;
``start`` and ``stop`` are for what declarations cannot say.
"""

import inspect
import logging
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Final, Generic, TypeVar

from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import LoopingCall
from twisted.words.xish import domish

from mongoosetw import metrics
from mongoosetw.cluster.caches import SharedCache
from mongoosetw.hooks.bus import Hook
from mongoosetw.hooks.c2s import SessionLike
from mongoosetw.storage.keyvalue import KeyValue, Map, open_keyvalue, open_map
from mongoosetw.xmpp.jid import JID
from mongoosetw.xmpp.stanza import Stanza
from mongoosetw.xmpp.xep import XEP as XEP

if TYPE_CHECKING:  # types only
    from mongoosetw.host import Host
    from mongoosetw.storage.database import Database
    from mongoosetw.storage.schema import Schema

DOMAIN: Final = "domain"
"""Target of an iq that is addressed to the served domain itself."""
BARE: Final = "bare"
"""Target of an iq that is addressed to an account, or has no ``to`` (RFC 6120 §10.3.3)."""


@dataclass(frozen=True, slots=True)
class Needs:
    """Another module that this one uses; without ``hard`` it is only started earlier."""

    name: str
    hard: bool = True


@dataclass(frozen=True)
class NoOptions:
    """For a module that has no options."""


@dataclass(slots=True)
class IQ:
    """An iq request (RFC 6120 §8.2.3) with its one payload, for a handler.

    :ivar user: the account that is addressed: the sender's own without a ``to``.
    :ivar session: the sender's session, if it is a client of this node.
    """

    stanza: Stanza
    from_: JID
    to: JID | None
    type: str
    payload: domish.Element
    host: "Host"
    session: SessionLike | None

    @property
    def user(self) -> JID:
        """Bare JID of the account that the request is for."""
        return self.from_.bare if self.to is None else self.to.bare


IQHandler = Callable[[IQ], Any]
O_co = TypeVar("O_co", covariant=True)
F = TypeVar("F", bound=Callable[..., Any])
_MARK: Final = "_mongoosetw_declarations"


@dataclass(frozen=True, slots=True)
class HookDeclaration:
    """Made by :func:`on`."""

    hook: type[Hook]
    priority: int


@dataclass(frozen=True, slots=True)
class IQDeclaration:
    """Made by :func:`on_iq`."""

    types: tuple[str, ...]
    namespace: str
    tag: str
    targets: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class JobDeclaration:
    """Made by :func:`every`."""

    interval: float | str


@dataclass(frozen=True, slots=True)
class CommandDeclaration:
    """Made by :func:`command`."""

    name: str
    parameters: tuple[str, ...]

    @property
    def usage(self) -> str:
        """How to call it."""
        words = [
            f"[{p} {p.strip('-').upper()}]" if p.startswith("--")
            else f"[{p.rstrip('?').upper()}]" if p.endswith("?")
            else p.upper()
            for p in self.parameters
        ]  # fmt: skip
        return " ".join([self.name, *words])


def _declare(function: F, declaration: object) -> F:
    function.__dict__.setdefault(_MARK, []).append(declaration)
    return function


def on(hook: type[Hook], priority: int = 50) -> Callable[[F], F]:
    """Declares a method as a handler of a hook; lower priorities run first."""
    return lambda function: _declare(function, HookDeclaration(hook, int(priority)))


def on_iq(
    types: str | tuple[str, ...],
    namespace: str,
    tag: str,
    *,
    to: str | tuple[str, ...] = (DOMAIN, BARE),
) -> Callable[[F], F]:
    """Declares a method as the handler of iq requests with this payload.

    It returns the payload of the result (bytes, str, an element, ``None`` for none) or
    raises StanzaError; it may be ``async``.
    """
    kinds = (types,) if isinstance(types, str) else types
    targets = (to,) if isinstance(to, str) else to
    return lambda function: _declare(function, IQDeclaration(kinds, namespace, tag, targets))


def every(interval: float | str) -> Callable[[F], F]:
    """Declares a method that runs every so many seconds, or as often as an option says."""
    return lambda function: _declare(function, JobDeclaration(interval))


def command(name: str, *parameters: str) -> Callable[[F], F]:
    """Declares a method as a command of ``mongoosectl``: ``mongoosectl MODULE NAME …``.

    It takes a dictionary of texts and returns what JSON can say, or raises
    :class:`mongoosetw.control.CommandError`; it may be ``async``. A parameter ``jid`` or
    ``domain`` chooses the host; without, the command runs on every host of the module.

    :param parameters: ``place``, ``place?`` (may be left out) and ``--option``.
    """
    return lambda function: _declare(function, CommandDeclaration(name, parameters))


class Timer:
    """A call to come that belongs to a module: cancelled when the module stops."""

    __slots__ = ("_call", "_owned")

    def __init__(self, owned: "set[Timer]") -> None:
        self._owned = owned
        self._call: Any = None

    def schedule(
        self, clock: IReactorTime, seconds: float, function: Callable[..., Any], *args: Any
    ) -> None:
        """Arranges the call."""
        self._owned.add(self)

        def run() -> None:
            self._call = None
            self._owned.discard(self)
            function(*args)

        self._call = clock.callLater(seconds, run)

    def cancel(self) -> None:
        """Calls it off; harmless when it has run."""
        self._owned.discard(self)
        if self._call is not None:
            self._call.cancel()
            self._call = None


class Module(Generic[O_co]):
    """One feature on one host.

    :cvar name: the name in the configuration, ``mod_…``.
    :cvar features: disco features of the server; ``user_features``: of each account.
    :cvar requires: other modules, started before this one.
    :cvar schema: the module's tables.
    :cvar example: lines of its section, where an option has no default: for its page and tests.
    :ivar restarting: for :meth:`stop`: the module is started again at once, with other options.
    """

    name: ClassVar[str]
    options_class: ClassVar[type] = NoOptions
    xeps: ClassVar[tuple[XEP, ...]] = ()
    features: ClassVar[tuple[str, ...]] = ()
    user_features: ClassVar[tuple[str, ...]] = ()
    requires: ClassVar[tuple[Needs, ...]] = ()
    schema: ClassVar["Schema | None"] = None
    example: ClassVar[str] = ""

    def __init__(self, host: "Host", options: O_co) -> None:
        self.host = host
        self.options: O_co = options
        self.clock: IReactorTime = host.server.clock
        self.log = logging.getLogger(f"mongoosetw.modules.{self.name}")
        metrics.expose(self)
        self.jobs: list[LoopingCall] = []
        self.restarting = False
        self._timers: set[Timer] = set()
        self._shared: list[SharedCache] = []

    @property
    def db(self) -> "Database":
        """The server's database."""
        return self.host.server.db

    def start(self) -> Awaitable[None] | None:
        """Runs when options, tables and metrics are ready, before any handler is called."""
        return None

    def stop(self) -> Awaitable[None] | None:
        """Runs when handlers are no longer called."""
        return None

    def later(self, seconds: float, function: Callable[..., Any], *args: Any) -> Timer:
        """Calls ``function`` after so many seconds, unless the module is stopped before."""
        timer = Timer(self._timers)
        timer.schedule(self.clock, seconds, function, *args)
        return timer

    def open_keyvalue(self, store: str) -> KeyValue:
        """A stored JSON value for each owner, in the core's generic table."""
        return open_keyvalue(self.db, self.name, store, self.host.domain)

    def open_map(self, store: str) -> Map:
        """A stored mapping of keys to JSON values for each owner."""
        return open_map(self.db, self.name, store, self.host.domain)

    def share_cache(
        self, forget: Callable[[str], object], forget_all: Callable[[], object], name: str = ""
    ) -> SharedCache:
        """Declares a cache of data that other nodes may change, too, until the module stops.

        Tell the other nodes of a change, when it is committed, by the result's ``changed(key)``.

        :param forget: drops what is remembered of a key, and what is just being loaded of it.
        :param forget_all: drops everything.
        :param name: tells several caches of a module apart.
        """
        whole = " ".join(filter(None, (self.name, name, self.host.domain)))
        shared = self.host.server.caches.share(whole, forget, forget_all)
        self._shared.append(shared)
        return shared

    def release(self) -> None:
        """Ends all timers, periodic jobs and gauges; called by the core after :meth:`stop`."""
        metrics.release(self)
        for shared in self._shared:
            shared.end()
        for job in self.jobs:
            if job.running:
                job.stop()
        for timer in list(self._timers):
            timer.cancel()

    @classmethod
    def declarations(cls) -> Iterator[tuple[str, object]]:
        """All that is declared with ``@on``, ``@on_iq`` and ``@every``: method name and what."""
        for name, member in inspect.getmembers(cls, callable):
            for declaration in getattr(member, _MARK, ()):
                yield name, declaration
