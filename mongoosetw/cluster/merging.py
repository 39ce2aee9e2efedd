"""How the answers of several workers to one command become one answer."""

from collections.abc import Callable, Mapping
from typing import Any, Final, TypeAlias

Answers: TypeAlias = list[tuple[str, Any]]
"""Nodes' names and their answers, at least one."""
Merge: TypeAlias = Callable[[Answers], Any]


def rows(answers: Answers) -> list[dict[str, Any]]:
    """All rows, each with the node that it is from; that node's own one says most."""
    found: dict[tuple[str, str], dict[str, Any]] = {}
    for node, result in answers:
        for row in result:
            at = str(row.get("node", node))
            key = str(row.get("jid")), at
            if at == node or key not in found:
                found[key] = {**row, "node": at}
    return [found[key] for key in sorted(found)]


def lists(answers: Answers) -> dict[str, list[Any]]:
    """Lists by name, put together; what stands in several is named once."""
    found: dict[str, list[Any]] = {}
    for _, result in answers:
        for name, items in result.items():
            known = found.setdefault(name, [])
            known += [item for item in items if item not in known]
    return found


def union(answers: Answers) -> list[Any]:
    """All items, each once."""
    return lists([(node, {"": result}) for node, result in answers])[""]


def alike(answers: Answers) -> Any:
    """The answer that all gave; or, if they differ, each one's by name."""
    first = answers[0][1]
    if all(result == first for _, result in answers):
        return first
    return dict(answers)


def status(answers: Answers) -> dict[str, list[Any]]:
    """The nodes, the links and the events that they have seen, the newest first."""
    found = lists(answers)
    found.get("lately", []).sort(key=lambda event: str(event["when"]), reverse=True)
    return found


def nodes(answers: Answers) -> list[Any]:
    """Every node that any of them knows; linked if all say so."""
    found: dict[str, dict[str, Any]] = {}
    for _, result in answers:
        for node in result:
            known = found.setdefault(node["node"], dict(node))
            known["linked"] = known["linked"] and node["linked"]
            known["number"] = node["number"] if known["number"] is None else known["number"]
    return [found[name] for name in sorted(found)]


MERGES: Final[Mapping[str, Merge]] = {
    "session list": rows,
    "modules": alike,
    "hooks": alike,
    "reload": union,
    "loglevel get": alike,
    "loglevel set": alike,
    "cluster status": status,
    "cluster nodes": nodes,
}
"""Commands that all workers answer; any other one is a matter of any worker."""
