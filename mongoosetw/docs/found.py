"""Finds what the code declares: hooks, modules, metrics, extensions. Nothing is listed by hand."""

import importlib
import inspect
import pkgutil
from collections.abc import Iterator
from dataclasses import dataclass
from types import ModuleType
from typing import Any

from mongoosetw.hooks.bus import Hook
from mongoosetw.loading import find, shipped
from mongoosetw.metrics import Declaration, declared
from mongoosetw.module import HookDeclaration, Module
from mongoosetw.xmpp.xep import XEP

_RUNS_WHEN_IMPORTED = "__main__"


@dataclass(frozen=True, slots=True)
class Use:
    """A module's handler of a hook."""

    module: type[Module[Any]]
    priority: int
    method: str


@dataclass(frozen=True, slots=True)
class FoundMetric:
    """A declared metric.

    :ivar where: Python module that declares it.
    :ivar module: name of the server's module that counts it, empty for the core.
    :ivar labels: of every series.
    """

    metric: Declaration[Any]
    where: str
    module: str
    labels: tuple[str, ...]


def sources(*packages: str) -> Iterator[ModuleType]:
    """Every Python module of some packages, by name; imports them."""
    for package in packages:
        top = importlib.import_module(package)
        yield top
        names = (m.name for m in pkgutil.walk_packages(top.__path__, f"{package}."))
        for name in sorted(names):
            if not name.endswith(_RUNS_WHEN_IMPORTED):
                yield importlib.import_module(name)


def modules() -> dict[str, type[Module[Any]]]:
    """The modules that come with the server, by name."""
    return {name: find(name) for name in shipped()}


def _defined(source: ModuleType, kind: type) -> Iterator[type[Any]]:
    for thing in vars(source).values():
        if inspect.isclass(thing) and issubclass(thing, kind):
            if thing.__module__ == source.__name__:
                yield thing


def hooks() -> list[tuple[ModuleType, list[type[Hook]]]]:
    """The hook classes, by the Python module that defines them and in its order."""
    found = [(source, list(_defined(source, Hook))) for source in sources("mongoosetw", "modules")]
    return [(s, classes) for s, classes in found if classes and s.__name__ != Hook.__module__]


def uses() -> dict[type[Hook], list[Use]]:
    """The modules' handlers of each hook, in the order in which they run."""
    found: dict[type[Hook], list[Use]] = {}
    for cls in modules().values():
        for method, declaration in cls.declarations():
            if isinstance(declaration, HookDeclaration):
                use = Use(cls, declaration.priority, method)
                found.setdefault(declaration.hook, []).append(use)
    for handlers in found.values():
        handlers.sort(key=lambda use: use.priority)
    return found


def metrics() -> list[FoundMetric]:
    """All metrics by name: attributes of classes count by host type, constants by node."""
    found: dict[int, FoundMetric] = {}
    for source in sources("mongoosetw", "modules"):
        for thing in vars(source).values():
            if isinstance(thing, Declaration):
                item = FoundMetric(thing, source.__name__, "", thing.label_names)
                found.setdefault(id(thing), item)
        for cls in _defined(source, object):
            for thing in declared(cls).values():
                labels = ("host_type", *thing.label_names)
                module = cls.name if issubclass(cls, Module) else ""
                item = FoundMetric(thing, source.__name__, module, labels)
                found.setdefault(id(thing), item)
    return sorted(found.values(), key=lambda item: item.metric.name)


def extensions() -> list[tuple[XEP, str]]:
    """Every declared extension, and the module's name or the core's file that has it."""
    found = [(xep, name) for name, cls in modules().items() for xep in cls.xeps]
    for source in sources("mongoosetw"):
        path = source.__name__.replace(".", "/") + ".py"
        found += [(xep, path) for xep in getattr(source, "XEPS", ())]
    return sorted(found, key=lambda pair: (pair[0].number, pair[1]))
