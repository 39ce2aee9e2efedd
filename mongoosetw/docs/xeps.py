"""docs/xeps.md: the extensions that are implemented, and where."""

from mongoosetw.docs import found
from mongoosetw.docs.markdown import GENERATED, blocks, code, table

_INTRODUCTION = """\
Besides RFC 6120 (core), RFC 6121 (instant messaging) and RFC 7622 (addresses). A module has an
extension only while it runs.
"""


def page() -> str:
    """The whole page."""
    rows = (
        (f"[{xep}]({xep.url})", xep.title, xep.version or "-", _where(where))
        for xep, where in found.extensions()
    )
    heading = ("number", "title", "version", "where")
    return blocks(["# Extensions", GENERATED, _INTRODUCTION.rstrip(), table(heading, rows)])


def _where(where: str) -> str:
    return code(where) if "/" in where else f"[{where}](modules/{where}.md)"
