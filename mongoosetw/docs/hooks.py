"""docs/hooks.md: what happens in the server that a module may see, change or stop."""

from collections.abc import Iterator
from dataclasses import fields
from typing import Any

from mongoosetw.docs import found
from mongoosetw.docs.markdown import (
    GENERATED,
    blocks,
    code,
    described,
    prose,
    summary,
    table,
    type_name,
)
from mongoosetw.hooks.bus import Hook, Order

_INTRODUCTION = """\
A module declares a handler with `@on(Hook, priority)`; see the
[tutorial](tutorial/first-module.md). Handlers run by priority, the lowest first, and answer `None`
(go on) or `STOP`. A hook's fields are what handlers are told and what they may change.

Where a hook may wait, handlers may be `async`, or return an awaitable where they have to wait; the
stanza, and all that its stream brings after it, waits with them. A handler that raises is logged
with its module's name. What becomes of the chain is said with each hook; `StanzaError` and
`StreamError` always end it, and reach the sender of the stanza.

`mongoosectl hooks` shows the chains of a running server.
"""


def page() -> str:
    """The whole page."""
    orders = table(("priority", "name"), ((str(int(o)), code(f"Order.{o.name}")) for o in Order))
    return blocks(["# Hooks", GENERATED, _INTRODUCTION.rstrip(), orders, *_sections()])


def _sections() -> Iterator[str]:
    uses = found.uses()
    for source, classes in found.hooks():
        yield f"## {source.__name__}"
        yield prose(source)
        for cls in classes:
            yield from _hook(cls, uses.get(cls, []))


def _hook(cls: type[Hook], uses: list[found.Use]) -> Iterator[str]:
    yield f"### {cls.__name__}"
    yield prose(cls)
    yield _facts(cls)
    yield _fields(cls)
    yield table(
        ("priority", "module", "what it does"),
        (
            (str(use.priority), _link(use.module.name), summary(getattr(use.module, use.method)))
            for use in uses
        ),
    )


def _link(module: str) -> str:
    return f"[{module}](modules/{module}.md)"


def _facts(cls: type[Hook]) -> str:
    waits = "Handlers may wait." if cls.may_wait else "Handlers may not wait."
    fails = "ends with an error" if cls.fails_closed else "goes on without it"
    facts = f"{waits} If one raises, the chain {fails}."
    if cls.repeatable:
        facts += " If its database is away, all are called again later."
    return f"{facts} MongooseIM: {cls.mongooseim}." if cls.mongooseim else facts


def _fields(cls: type[Any]) -> str:
    meanings = described(cls)
    rows = [(code(f.name), code(type_name(f.type)), meanings.get(f.name, "")) for f in fields(cls)]
    if not meanings:
        return table(("field", "type"), (row[:2] for row in rows))
    return table(("field", "type", "meaning"), rows)
