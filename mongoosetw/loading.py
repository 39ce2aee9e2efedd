"""Finds modules, orders them by what they need, starts, stops and reloads them on a host."""

import importlib
import inspect
import logging
import pkgutil
from collections.abc import Container, Iterable, Mapping
from importlib.metadata import entry_points
from typing import TYPE_CHECKING, Any

from twisted.internet.task import LoopingCall
from twisted.python.failure import Failure

from mongoosetw.config.load import ModuleConfig
from mongoosetw.module import HookDeclaration, IQDeclaration, JobDeclaration, Module

if TYPE_CHECKING:  # types only
    from mongoosetw.host import Host

logger = logging.getLogger(__name__)
_GROUP = "mongoosetw.modules"


class LoadError(Exception):
    """A module cannot be found, or what it needs is missing; the text says which and why."""


def find(name: str) -> type[Module[Any]]:
    """The class of a module: by entry point, then ``modules.<name>``, or ``package:Class``.

    :raises LoadError: there is none, or two distributions offer one.
    """
    if ":" in name:
        return _from_path(name)
    offered = [e for e in entry_points(group=_GROUP) if e.name == name]
    if len(offered) > 1:
        packages = ", ".join(e.dist.name if e.dist else e.value for e in offered)
        raise LoadError(f"{name} is offered by more than one package: {packages}")
    if offered:
        return _checked(name, offered[0].load())
    try:
        package = importlib.import_module(f"modules.{name}")
    except ModuleNotFoundError as error:
        if error.name not in ("modules", f"modules.{name}"):
            raise
        raise LoadError(f"there is no module {name}") from None
    for member in vars(package).values():
        if inspect.isclass(member) and issubclass(member, Module) and _is_named(member, name):
            return member
    raise LoadError(f"modules.{name} defines no module of that name")


def _is_named(cls: type[Module[Any]], name: str) -> bool:
    return getattr(cls, "name", "") == name


def _from_path(path: str) -> type[Module[Any]]:
    package, _, attribute = path.partition(":")
    try:
        return _checked(path, getattr(importlib.import_module(package), attribute))
    except (ModuleNotFoundError, AttributeError) as error:
        raise LoadError(f"{path}: {error}") from None


def _checked(name: str, found: Any) -> type[Module[Any]]:
    if not (inspect.isclass(found) and issubclass(found, Module)):
        raise LoadError(f"{name}: {found!r} is not a module")
    return found


def shipped() -> list[str]:
    """The names of the modules that come with the server, sorted."""
    package = importlib.import_module("modules")
    found = (module.name for module in pkgutil.iter_modules(package.__path__))
    return sorted(name for name in found if name.startswith("mod_"))


def options_of(name: str) -> type | None:
    """The options' dataclass of a module, ``None`` if there is no such module."""
    try:
        return find(name).options_class
    except LoadError:
        return None


def in_order(wanted: Mapping[str, type[Module[Any]]]) -> list[str]:
    """The names, every module behind those that it needs.

    :raises LoadError: a needed module is not there, or modules need one another in a circle.
    """
    ordered: list[str] = []

    def visit(name: str, path: tuple[str, ...]) -> None:
        if name in path:
            raise LoadError(f"modules need one another: {' -> '.join((*path, name))}")
        for need in wanted[name].requires:
            if need.name in wanted:
                visit(need.name, (*path, name))
            elif need.hard:
                raise LoadError(f"{name} needs {need.name}, which is not configured")
        if name not in ordered:
            ordered.append(name)

    for name in wanted:
        visit(name, ())
    return ordered


def check_modules(configured: Mapping[str, ModuleConfig]) -> None:
    """Finds out whether modules could be started together.

    :raises LoadError: one is missing.
    """
    wanted = with_needs(configured)
    in_order({name: find(module.class_path or name) for name, module in wanted.items()})


def with_needs(
    configured: Mapping[str, ModuleConfig], running: Container[str] = ()
) -> dict[str, ModuleConfig]:
    """The configured modules, and those that they need that neither are configured nor run.

    Such a one gets the options of who needs it if they are of its kind, else its defaults; a
    module that is only used if it is there is not started.

    :raises LoadError: one cannot be found.
    """
    wanted = dict(configured)
    waiting = list(configured.values())
    while waiting:
        module = waiting.pop()
        for need in find(module.class_path or module.name).requires:
            if need.hard and need.name not in wanted and need.name not in running:
                kind = find(need.name).options_class
                options = module.options if type(module.options) is kind else kind()
                wanted[need.name] = ModuleConfig(need.name, options)
                waiting.append(wanted[need.name])
    return wanted


async def start_modules(host: "Host", configured: Mapping[str, ModuleConfig]) -> None:
    """Starts the modules of a host, with what they need, and publishes their handlers in one step.

    :raises LoadError: one is missing; nothing was started then.
    """
    configured = with_needs(configured, host.modules)
    classes = {name: find(module.class_path or name) for name, module in configured.items()}
    for name in in_order({**_classes(host), **classes}):
        if name in classes:
            await _start(host, classes[name], configured[name].options)
    host.hooks.publish()


def _classes(host: "Host") -> dict[str, type[Module[Any]]]:
    return {name: type(module) for name, module in host.modules.items()}


async def _start(host: "Host", cls: type[Module[Any]], options: Any) -> None:
    if cls.schema is not None:
        await host.server.ensure_schema(cls.schema)
    module = cls(host, options)
    started = module.start()
    if started is not None:
        await started
    host.modules[cls.name] = module
    _register(host, module)
    logger.info("module_started module=%s host=%s", cls.name, host.domain)


def _register(host: "Host", module: Module[Any]) -> None:
    for name, declaration in module.declarations():
        method = getattr(module, name)
        if isinstance(declaration, HookDeclaration):
            host.hooks.add(declaration.hook, declaration.priority, module.name, method)
        elif isinstance(declaration, IQDeclaration):
            for type_ in declaration.types:
                for target in declaration.targets:
                    key = (type_, declaration.namespace, declaration.tag, target)
                    host.add_iq_handler(key, module.name, method)
        elif isinstance(declaration, JobDeclaration):
            _start_job(module, declaration.interval, method)


def _start_job(module: Module[Any], interval: float | str, method: Any) -> None:
    seconds = getattr(module.options, interval) if isinstance(interval, str) else interval
    job = LoopingCall(method)
    job.clock = module.clock
    module.jobs.append(job)
    running = job.start(float(seconds), now=False)

    def failed(failure: Failure) -> None:
        logger.error("job_failed module=%s", module.name, exc_info=failure.value)

    running.addErrback(failed)


async def stop_modules(host: "Host", names: Iterable[str] | None = None) -> None:
    """Stops modules, the last started first: handlers go, then ``stop`` runs, then timers."""
    going = [n for n in reversed(host.modules) if names is None or n in set(names)]
    for name in going:
        host.hooks.remove_owner(name)
        host.remove_iq_handlers(name)
    host.hooks.publish()
    for name in going:
        module = host.modules.pop(name)
        stopped = module.stop()
        if stopped is not None:
            await stopped
        module.release()
        logger.info("module_stopped module=%s host=%s", name, host.domain)


async def reload_modules(
    host: "Host", old: Mapping[str, ModuleConfig], new: Mapping[str, ModuleConfig]
) -> None:
    """Brings the running modules to a new configuration; those that did not change go on.

    :raises LoadError: a module is missing; nothing was changed then.
    """
    old, new = with_needs(old), with_needs(new)
    classes = {name: find(module.class_path or name) for name, module in new.items()}
    in_order(classes)
    changed = {name for name in new if old.get(name) != new[name]}
    gone = set(old) - set(new)
    for name in changed & set(host.modules):
        host.modules[name].restarting = True
    await stop_modules(host, gone | changed)
    await start_modules(host, {name: new[name] for name in new if name in changed})
