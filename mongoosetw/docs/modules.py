"""docs/modules/: a page for each module, in the form of MongooseIM's."""

import tomllib
from collections.abc import Iterator
from dataclasses import MISSING, fields
from typing import Any

from mongoosetw.config.options import INFINITY
from mongoosetw.config.reading import show
from mongoosetw.docs import configuration, found, metrics
from mongoosetw.docs.markdown import GENERATED, anchor, blocks, code, prose, summary, table
from mongoosetw.metrics import declared
from mongoosetw.module import (
    DOMAIN,
    CommandDeclaration,
    HookDeclaration,
    IQDeclaration,
    JobDeclaration,
    Module,
)

_INDEX = """\
Each runs on a host whose configuration has its section, `[modules.NAME]`, and can be switched on
and off while the server runs (`mongoosectl reload`).
"""


def index() -> str:
    """The list of all modules."""
    rows = (
        (f"[{name}]({name}.md)", summary(cls), ", ".join(f"[{x}]({x.url})" for x in cls.xeps))
        for name, cls in found.modules().items()
    )
    heading = ("module", "what it is", "extensions")
    return blocks(["# Modules", GENERATED, _INDEX.rstrip(), table(heading, rows)])


def page(name: str, cls: type[Module[Any]]) -> str:
    """The page of one module.

    :param name: as it is configured.
    """
    return blocks(
        [
            f"# {name}",
            GENERATED,
            prose(cls),
            _extensions(cls),
            _needs(cls),
            *_section("Options", _options(name, cls)),
            *_section("Example configuration", _example(name, cls)),
            *_section("Hooks", _hooks(cls)),
            *_section("IQ requests", _requests(cls)),
            *_section("Service discovery", _features(cls)),
            *_section("Commands", _commands(cls)),
            *_section("Periodic jobs", _jobs(cls)),
            *_section("Metrics", _metrics(cls)),
            *_section("Tables", _tables(cls)),
        ]
    )


def _section(heading: str, content: str) -> Iterator[str]:
    if content:
        yield f"## {heading}"
        yield content


def _extensions(cls: type[Module[Any]]) -> str:
    rows = ((f"[{xep}]({xep.url})", xep.title, xep.version or "-") for xep in cls.xeps)
    return table(("extension", "title", "version"), rows)


def _needs(cls: type[Module[Any]]) -> str:
    hard = ", ".join(f"[{need.name}]({need.name}.md)" for need in cls.requires if need.hard)
    soft = ", ".join(f"[{need.name}]({need.name}.md)" for need in cls.requires if not need.hard)
    return " ".join(
        text
        for text, names in ((f"Needs {hard}.", hard), (f"Uses {soft} where configured.", soft))
        if names
    )


def _options(name: str, cls: type[Module[Any]]) -> str:
    if not fields(cls.options_class):
        return "None."
    text = configuration.render(cls.options_class, f"[modules.{name}]").strip("\n")
    return text.replace("\n## ", "\n### ").removeprefix("## ")


def _example(name: str, cls: type[Module[Any]]) -> str:
    """The section with what the module gives as an example, and the defaults of all else.

    Tables without an example are left out.
    """
    lines = [f"[modules.{name}]", *cls.example.strip().splitlines()]
    given = tomllib.loads(cls.example)
    for item in fields(cls.options_class):
        default = item.default
        if default is MISSING or default is None or item.metadata["option"].is_section:
            continue
        if item.name in given:
            continue
        shown = '"infinity"' if default == INFINITY else show(default)
        lines.append(f"{item.name} = {shown}")
    return "\n".join(["```toml", *lines, "```"])


def _hooks(cls: type[Module[Any]]) -> str:
    handlers = (
        (d.hook, d.priority, method)
        for method, d in cls.declarations()
        if isinstance(d, HookDeclaration)
    )
    rows = (
        (
            f"[{hook.__name__}](../hooks.md#{anchor(hook.__name__)})",
            str(priority),
            summary(getattr(cls, method)),
        )
        for hook, priority, method in sorted(handlers, key=lambda h: (h[0].__name__, h[1]))
    )
    return table(("hook", "priority", "what the module does"), rows)


def _requests(cls: type[Module[Any]]) -> str:
    rows = sorted(
        (
            ", ".join(d.types),
            code(f"<{d.tag} xmlns='{d.namespace}'/>"),
            " or ".join("the domain" if t == DOMAIN else "an account" for t in d.targets),
            summary(getattr(cls, method)),
        )
        for method, d in cls.declarations()
        if isinstance(d, IQDeclaration)
    )
    return table(("type", "payload", "addressed to", "what the module does"), rows)


def _features(cls: type[Module[Any]]) -> str:
    rows = [(code(feature), "the domain") for feature in cls.features]
    rows += [(code(feature), "each account") for feature in cls.user_features]
    return table(("feature", "announced by"), rows)


def _commands(cls: type[Module[Any]]) -> str:
    short = cls.name.removeprefix("mod_")
    rows = sorted(
        (code(f"mongoosectl {short} {d.usage}"), summary(getattr(cls, method)))
        for method, d in cls.declarations()
        if isinstance(d, CommandDeclaration)
    )
    return table(("command", "what it does"), rows)


def _jobs(cls: type[Module[Any]]) -> str:
    rows = (
        (_every(d.interval), summary(getattr(cls, method)))
        for method, d in cls.declarations()
        if isinstance(d, JobDeclaration)
    )
    return table(("every", "what the module does"), rows)


def _every(interval: float | str) -> str:
    return f"option {code(interval)}" if isinstance(interval, str) else f"{interval:g} seconds"


def _metrics(cls: type[Module[Any]]) -> str:
    items = (
        found.FoundMetric(metric, cls.__module__, cls.name, ("host_type", *metric.label_names))
        for metric in sorted(declared(cls).values(), key=lambda metric: metric.name)
    )
    return metrics.listing(items)


def _tables(cls: type[Module[Any]]) -> str:
    if cls.schema is None:
        return ""
    rows = (
        (code(item.name), ", ".join(_column(column) for column in item.columns))
        for item in cls.schema.tables
    )
    return table(("table", "columns (key in bold)"), rows)


def _column(column: Any) -> str:
    name = code(column.name)
    return f"**{name}** {column.type}" if column.primary_key else f"{name} {column.type}"

