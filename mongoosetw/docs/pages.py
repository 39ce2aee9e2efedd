"""All pages, and whether the files are what they should be."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

from mongoosetw.docs import configuration, found, hooks, metrics, modules, xeps
from mongoosetw.loading import LoadError, find

_PAGES: Final[dict[str, Callable[[], str]]] = {
    "configuration": configuration.page,
    "hooks": hooks.page,
    "metrics": metrics.page,
    "modules": modules.index,
    "xeps": xeps.page,
}


class PageUnknown(Exception):
    """There is no such page; the text says why."""


def names() -> list[str]:
    """What :func:`text` can be asked for."""
    return [*_PAGES, *found.modules()]


def text(name: str) -> str:
    """One page: a reference, or a module's by its name or ``package:Class``.

    :raises PageUnknown: there is neither.
    """
    if name in _PAGES:
        return _PAGES[name]()
    try:
        cls = find(name)
    except LoadError as error:
        raise PageUnknown(f"no page {name!r}: {error}") from None
    return modules.page(cls.name, cls)


def pages() -> Iterator[tuple[str, str]]:
    """Each page's path below docs/, and its text."""
    for name, page in _PAGES.items():
        yield "modules/README.md" if name == "modules" else f"{name}.md", page()
    for name, cls in found.modules().items():
        yield f"modules/{name}.md", modules.page(name, cls)


def stale(folder: Path) -> list[Path]:
    """The files that differ from what is declared, that are missing, or whose module is gone."""
    texts = {folder / name: text for name, text in pages()}
    left = [path for path in (folder / "modules").glob("*.md") if path not in texts]
    return left + [path for path, text in texts.items() if _read(path) != text]


def _read(path: Path) -> str | None:
    return path.read_text(encoding="utf-8") if path.exists() else None


def write(folder: Path) -> None:
    """Writes what is stale, removes what is left."""
    texts = {folder / name: text for name, text in pages()}
    (folder / "modules").mkdir(parents=True, exist_ok=True)
    for path in stale(folder):
        if path in texts:
            path.write_text(texts[path], encoding="utf-8")
        else:
            path.unlink()
